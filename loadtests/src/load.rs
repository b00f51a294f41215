//! The senders. Open loop: each request has its moment, whatever became of the others, and is timed from that moment; a
//! service that stands still for a second is a second late for everything that was due then. Closed loop: so many
//! callers, each of whom sends its next request once it is answered; for finding out what a service carries.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{answers::Fate, plan::Operation, scenario::Flow};

/// Requests under way at once above which the sender gives up its schedule: what is dropped is counted, and a run with
/// any is none.
pub const ROOM: usize = 8192;

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Which.
    pub number: u64,
    pub operation: Operation,
    pub fate: Fate,
    /// The answer in a few words.
    pub said: String,
    /// From the start of the load to its moment.
    pub due: Duration,
    /// From its moment to when it was sent.
    pub behind: Duration,
    /// From its moment to its answer.
    pub took: Duration,
}

/// All of a load.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// In the order of their answers.
    pub replies: Vec<Reply>,
    /// Moments at which nothing was sent, because too much was under way.
    pub dropped: u64,
    /// From the first moment to the end of the last stage.
    pub seconds: f64,
}

/// The moments of a schedule, from its start.
pub fn moments(flows: &[Flow]) -> impl Iterator<Item = Duration> {
    let mut begin = 0.0;
    let stages: Vec<(f64, Flow)> = flows
        .iter()
        .map(|flow| {
            let began = begin;
            begin += flow.seconds;
            (began, *flow)
        })
        .collect();
    stages.into_iter().flat_map(|(began, Flow { rate, seconds })| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count above 0")]
        let count = (rate * seconds).round() as u32;
        (0..count).map(move |n| Duration::from_secs_f64(began + f64::from(n) / rate))
    })
}

/// Sends by a schedule and waits for every answer. `ask` makes request `number`, due at an instant.
pub async fn open_loop<A, F>(flows: &[Flow], room: usize, ask: A) -> Load
where
    A: Fn(u64) -> F,
    F: Future<Output = (Operation, Fate, String)> + Send + 'static,
{
    let (start, mut load, mut under_way) = (Instant::now(), Load::default(), JoinSet::new());
    for (number, offset) in (0..).zip(moments(flows)) {
        let due = start + offset;
        sleep_until(due).await;
        while let Some(done) = under_way.try_join_next() {
            load.replies.extend(done.ok());
        }
        if under_way.len() >= room {
            load.dropped += 1;
            continue;
        }
        let asked = ask(number);
        under_way.spawn(async move {
            let behind = due.elapsed();
            let (operation, fate, said) = asked.await;
            Reply { number, operation, fate, said, due: offset, behind, took: due.elapsed() }
        });
    }
    load.seconds = flows.iter().map(|f| f.seconds).sum();
    sleep_until(start + Duration::from_secs_f64(load.seconds)).await;
    while let Some(done) = under_way.join_next().await {
        load.replies.extend(done.ok());
    }
    load
}

/// Sends with so many callers for a while and waits for every answer.
pub async fn closed_loop<A, F>(callers: u64, lasting: Duration, ask: A) -> Load
where
    A: Fn(u64) -> F + Send + Sync + 'static,
    F: Future<Output = (Operation, Fate, String)> + Send + 'static,
{
    let (start, ask, mut all) = (Instant::now(), Arc::new(ask), JoinSet::new());
    for caller in 0..callers {
        let ask = Arc::clone(&ask);
        all.spawn(async move {
            let (mut replies, mut number) = (Vec::new(), caller);
            while start.elapsed() < lasting {
                let due = Instant::now();
                let (operation, fate, said) = ask(number).await;
                let (began, took) = (due.duration_since(start), due.elapsed());
                replies.push(Reply { number, operation, fate, said, due: began, behind: Duration::ZERO, took });
                number += callers;
            }
            replies
        });
    }
    let mut load = Load::default();
    while let Some(done) = all.join_next().await {
        load.replies.extend(done.unwrap_or_default());
    }
    // To the last answer: what was under way at the end counts, and so does its time.
    load.seconds = start.elapsed().as_secs_f64();
    load
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(rate: f64, seconds: f64) -> Flow {
        Flow { rate, seconds }
    }

    #[test]
    fn every_stage_has_its_rate() {
        let all: Vec<f64> = moments(&[flow(2.0, 1.0), flow(4.0, 0.5)]).map(|d| d.as_secs_f64()).collect();
        assert_eq!(all, [0.0, 0.5, 1.0, 1.25]);
    }

    /// A service that stands still from the first second to the third, and answers at once otherwise.
    async fn stalls(start: Instant) -> (Operation, Fate, String) {
        let (now, from, to) = (Instant::now(), start + Duration::from_secs(1), start + Duration::from_secs(3));
        if now >= from && now < to {
            sleep_until(to).await;
        }
        (Operation::Detect, Fate::Answered, String::new())
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_stands_still_is_late_for_all_that_was_due_then() {
        let start = Instant::now();
        let load = open_loop(&[flow(10.0, 4.0)], ROOM, |_| stalls(start)).await;
        assert_eq!((load.replies.len(), load.dropped), (40, 0));
        let late = load.replies.iter().filter(|r| r.took > Duration::from_millis(50)).count();
        assert_eq!(late, 20, "two seconds at ten a second");
        let worst = load.replies.iter().map(|r| r.took).max().unwrap();
        assert!(worst.abs_diff(Duration::from_secs(2)) < Duration::from_millis(5), "{worst:?}");
        // The same service, asked by one caller who waits, has one late answer: that is what a closed loop hides.
        let start = Instant::now();
        let asked = move |_| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            stalls(start).await
        };
        let load = closed_loop(1, Duration::from_secs(4), asked).await;
        assert_eq!(load.replies.iter().filter(|r| r.took > Duration::from_millis(150)).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_room_is_dropped_and_counted() {
        let load = open_loop(&[flow(10.0, 2.0)], 5, |_| async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            (Operation::Detect, Fate::Late, String::new())
        })
        .await;
        assert_eq!((load.replies.len(), load.dropped), (5, 15));
    }

    #[tokio::test(start_paused = true)]
    async fn callers_in_a_closed_loop_take_numbers_of_their_own() {
        let ask = |_| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            (Operation::Detect, Fate::Answered, String::new())
        };
        let load = closed_loop(3, Duration::from_secs(1), ask).await;
        let mut numbers: Vec<u64> = load.replies.iter().map(|r| r.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..30).collect::<Vec<_>>());
        assert!((load.seconds - 1.0).abs() < 0.01, "{}", load.seconds);
    }
}
