//! Senders for tests that run load: each request's outcome with its time, open loop (at a constant rate, timed from the
//! scheduled moment) or closed loop (so many at once), and what they add up to.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::RequestBuilder;
use testkit::{Answer, Client};
use tokio::{sync::Mutex, task::JoinSet, time::MissedTickBehavior};

/// Tests that measure or kill run one at a time: they would disturb each other.
pub static ALONE: Mutex<()> = Mutex::const_new(());

/// Connections of those who send more at once than one of HTTP/2 carries.
pub const CONNECTIONS: usize = 8;

/// nginx as it is set for callers that all come from one address: it is not the one to refuse them.
pub fn one_address() -> Vec<(String, String)> {
    vec![("VISAVIS_CONNECTIONS_PER_ADDRESS".to_owned(), "4096".to_owned())]
}

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which request.
    pub number: usize,
    /// The status; 0 where no answer came.
    pub status: u16,
    /// The problem's code, or what broke.
    pub code: String,
    /// From the moment it was due to its answer.
    pub took: Duration,
    /// From the moment it was due to the moment it was sent.
    pub behind: Duration,
    /// From the start of the load to its answer.
    pub at: Duration,
    /// The answer.
    pub answer: Option<Answer>,
}

impl Outcome {
    /// Whether it was answered with 2xx.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Sends one request.
pub async fn ask(client: &Client, number: usize, request: RequestBuilder, due: Instant, start: Instant) -> Outcome {
    let behind = due.elapsed();
    let (status, code, answer) = match client.try_send(request).await {
        Ok(answer) => (answer.status, answer.json["code"].as_str().unwrap_or_default().to_owned(), Some(answer)),
        Err(e) => (0, format!("{e:?}"), None),
    };
    Outcome { number, status, code, took: due.elapsed(), behind, at: start.elapsed(), answer }
}

/// Sends at a constant rate for a while and waits for every answer.
pub async fn at_rate(
    client: &Client,
    per_second: f64,
    lasting: Duration,
    request: impl Fn(&Client, usize) -> RequestBuilder,
) -> Vec<Outcome> {
    let start = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
    // What could not be sent in its moment is sent late and timed from its moment.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut answers, mut number) = (JoinSet::new(), 0);
    loop {
        let due = ticks.tick().await.into_std();
        if due.duration_since(start.min(due)) >= lasting {
            break;
        }
        let (client, request) = (client.clone(), request(client, number));
        answers.spawn(async move { ask(&client, number, request, due, start).await });
        number += 1;
    }
    sorted(answers.join_all().await)
}

/// Sends with so many requests at once, until `enough` says so of the number of the next one.
pub async fn at_once(
    client: &Client,
    senders: usize,
    enough: impl Fn(usize) -> bool + Clone + Send + Sync + 'static,
    request: impl Fn(&Client, usize) -> RequestBuilder + Clone + Send + Sync + 'static,
) -> Vec<Outcome> {
    let (start, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut all = JoinSet::new();
    for _ in 0..senders {
        let (client, next, enough, request) = (client.clone(), Arc::clone(&next), enough.clone(), request.clone());
        all.spawn(async move {
            let mut outcomes = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if enough(number) {
                    return outcomes;
                }
                outcomes.push(ask(&client, number, request(&client, number), Instant::now(), start).await);
            }
        });
    }
    sorted(all.join_all().await.into_iter().flatten().collect())
}

fn sorted(mut outcomes: Vec<Outcome>) -> Vec<Outcome> {
    outcomes.sort_by_key(|o| o.number);
    outcomes
}

/// The time that this share of the outcomes did not exceed.
pub fn quantile<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>, share: f64) -> Duration {
    quantile_of(outcomes.into_iter().map(|o| o.took).collect(), share)
}

/// The time that this share of the times did not exceed.
pub fn quantile_of(mut times: Vec<Duration>, share: f64) -> Duration {
    times.sort();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

/// How often which answer came, with times, for people.
pub struct Summary<'a>(pub &'a [Outcome]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_answer: BTreeMap<(u16, &str), Vec<&Outcome>> = BTreeMap::new();
        for outcome in self.0 {
            let code = if outcome.status == 0 { "no answer" } else { &outcome.code };
            by_answer.entry((outcome.status, code)).or_default().push(outcome);
        }
        for ((status, code), outcomes) in by_answer {
            let [p50, p99, most] = [0.5, 0.99, 1.0].map(|q| quantile(outcomes.iter().copied(), q).as_millis());
            write!(f, "{status} {code} ×{} (p50 {p50} ms, p99 {p99} ms, max {most} ms); ", outcomes.len())?;
        }
        Ok(())
    }
}
