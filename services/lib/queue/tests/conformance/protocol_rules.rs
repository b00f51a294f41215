//! Rules of the job protocol as gateways and workers notice them, through the facade.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{JobId, Timestamp};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};
use visavis_queue::{Consumer, ConsumerOptions, Delivery, Engine, OnRejected, Queue, QueueError, Rejection, Timing};
use wire::v1::{Envelope, WorkerPresence};

use crate::kit::{LANE, LONG, MIN_IDLE, assert_empty, done, job, options, problem, put};

type Any = Arc<dyn Engine>;

#[derive(Default)]
struct Rejected(Mutex<Vec<(String, Rejection)>>);

#[async_trait]
impl OnRejected for Rejected {
    async fn rejected(&self, envelope: &Envelope, rejection: Rejection) {
        self.0.lock().push((envelope.job_id.clone(), rejection));
    }
}

fn watched() -> (Arc<Rejected>, ConsumerOptions) {
    let rejected = Arc::new(Rejected::default());
    (Arc::clone(&rejected), options().on_rejected(rejected))
}

async fn next_one(consumer: &Consumer) -> Delivery {
    let mut got = timeout(LONG, consumer.next(1)).await.expect("a job comes").unwrap();
    assert_eq!(got.len(), 1);
    got.remove(0)
}

/// Another job gets through, so the one before it was not delivered.
async fn expect_only(queue: &Queue, consumer: &Consumer, job: &Envelope) {
    let got = next_one(consumer).await;
    assert_eq!(got.envelope.job_id, job.job_id);
    got.settle(&done(job)).await.unwrap();
    assert_empty(queue).await;
}

pub async fn a_job_travels_and_its_reply_comes_back(e: Any) {
    let queue = Queue::new(e);
    queue.check().await.unwrap();
    let (mut one, mut two) = (queue.open_replies().await.unwrap(), queue.open_replies().await.unwrap());
    let consumer = queue.consumer(LANE, options());
    let jobs = [job(one.address()), job(two.address()), job(one.address()), job("")];
    for job in &jobs {
        queue.submit(LANE, job).await.unwrap();
    }
    let got = consumer.next(9).await.unwrap();
    assert_eq!(got.len(), 4);
    for (delivery, job) in got.into_iter().zip(&jobs) {
        assert_eq!(delivery.envelope, Envelope { attempt: 1, ..job.clone() });
        assert_eq!(delivery.lane(), LANE);
        delivery.settle(&done(job)).await.unwrap();
    }
    assert_eq!([one.next().await, one.next().await], [Ok(done(&jobs[0])), Ok(done(&jobs[2]))]);
    assert_eq!(two.next().await, Ok(done(&jobs[1])));
    assert_empty(&queue).await;
}

pub async fn an_unreadable_entry_does_not_block_a_read(e: Any) {
    let queue = Queue::new(Arc::clone(&e));
    let consumer = queue.consumer(LANE, options());
    let good = [job(""), job("")];
    queue.submit(LANE, &good[0]).await.unwrap();
    put(&e, b"\xff\xff garbage").await;
    queue.submit(LANE, &good[1]).await.unwrap();
    let got = consumer.next(9).await.unwrap();
    let ids: Vec<_> = got.iter().map(|d| d.envelope.job_id.clone()).collect();
    assert_eq!(ids, [good[0].job_id.clone(), good[1].job_id.clone()]);
    let dead = queue.dead_letters(LANE, 9).await.unwrap();
    assert_eq!((dead.len(), &dead[0].bytes[..]), (1, &b"\xff\xff garbage"[..]));
    assert!(dead[0].reason.starts_with("unreadable: not a job envelope"), "{}", dead[0].reason);
}

pub async fn an_unreadable_entry_does_not_block_a_reclaim(e: Any) {
    let queue = Queue::new(Arc::clone(&e));
    let good = job("");
    put(&e, b"\xff").await;
    queue.submit(LANE, &good).await.unwrap();
    assert_eq!(e.read(LANE, "dead", 9, Duration::ZERO).await.unwrap().len(), 2);
    let heir = queue.consumer(LANE, options());
    expect_only(&queue, &heir, &good).await;
    assert_eq!(queue.dead_letters(LANE, 9).await.unwrap().len(), 1);
}

pub async fn past_the_deadline_a_job_is_answered_not_delivered(e: Any) {
    let queue = Queue::new(e);
    let (rejected, options) = watched();
    let consumer = queue.consumer(LANE, options);
    let mut replies = queue.open_replies().await.unwrap();
    let late = Envelope { deadline_ms: Timestamp::now().as_millis() - 1, ..job(replies.address()) };
    let fine = job("");
    queue.submit(LANE, &late).await.unwrap();
    queue.submit(LANE, &fine).await.unwrap();
    expect_only(&queue, &consumer, &fine).await;
    let reply = replies.next().await.unwrap();
    assert_eq!((reply.job_id.as_str(), reply.worker.as_str()), (late.job_id.as_str(), consumer.name()));
    assert_eq!(problem(reply).code, "deadline_exceeded");
    assert_eq!(*rejected.0.lock(), [(late.job_id, Rejection::PastDeadline)]);
}

pub async fn a_cancelled_job_is_neither_delivered_nor_answered(e: Any) {
    let queue = Queue::new(e);
    let (rejected, options) = watched();
    let consumer = queue.consumer(LANE, options);
    let mut replies = queue.open_replies().await.unwrap();
    let (gone, fine) = (job(replies.address()), job(replies.address()));
    queue.submit(LANE, &gone).await.unwrap();
    queue.submit(LANE, &fine).await.unwrap();
    queue.cancel(&JobId::new(&gone.job_id).unwrap()).await.unwrap();
    expect_only(&queue, &consumer, &fine).await;
    assert_eq!(replies.next().await, Ok(done(&fine)));
    assert_eq!(*rejected.0.lock(), [(gone.job_id, Rejection::Cancelled)]);
}

pub async fn cancellation_is_seen_while_a_job_is_held(e: Any) {
    let queue = Queue::new(e);
    let consumer = queue.consumer(LANE, options());
    let job = job("");
    queue.submit(LANE, &job).await.unwrap();
    let held = next_one(&consumer).await;
    assert!(!held.cancelled().await);
    queue.cancel(&JobId::new(&job.job_id).unwrap()).await.unwrap();
    assert!(held.cancelled().await);
}

pub async fn a_job_released_by_draining_is_not_counted(e: Any) {
    let queue = Queue::new(e);
    let job = job("");
    queue.submit(LANE, &job).await.unwrap();
    for _ in 0..9 {
        let draining = queue.consumer(LANE, options());
        let held = next_one(&draining).await;
        assert_eq!(held.envelope.attempt, 1);
        held.release().await;
        assert!(draining.leave().await.unwrap());
    }
    expect_only(&queue, &queue.consumer(LANE, options()), &job).await;
}

pub async fn a_dropped_delivery_returns(e: Any) {
    let queue = Queue::new(e);
    let (one, two) = (queue.consumer(LANE, options()), queue.consumer(LANE, options()));
    let job = job("");
    queue.submit(LANE, &job).await.unwrap();
    let held = next_one(&one).await;
    let panicking = tokio::spawn(async move {
        let _held = held;
        panic!("the worker fails on this job");
    });
    assert!(panicking.await.is_err());
    let again = next_one(&two).await;
    assert_eq!(again.envelope, Envelope { attempt: 2, ..job });
}

pub async fn after_three_deliveries_a_job_is_a_dead_letter(e: Any) {
    let queue = Queue::new(e);
    let (rejected, options) = watched();
    let consumer = queue.consumer(LANE, options);
    let mut replies = queue.open_replies().await.unwrap();
    let (poison, fine) = (job(replies.address()), job(""));
    queue.submit(LANE, &poison).await.unwrap();
    for attempt in 1..=3 {
        let held = next_one(&consumer).await;
        assert_eq!((&held.envelope.job_id, held.envelope.attempt), (&poison.job_id, attempt));
        drop(held);
        // A destructor's release may come a little later.
        while queue.depth(LANE).await.unwrap().waiting == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    queue.submit(LANE, &fine).await.unwrap();
    expect_only(&queue, &consumer, &fine).await;
    let reply = replies.next().await.unwrap();
    assert_eq!(reply.job_id, poison.job_id);
    assert_eq!(problem(reply).code, "inference_failed");
    let dead = queue.dead_letters(LANE, 9).await.unwrap();
    assert_eq!((dead.len(), dead[0].reason.as_str()), (1, "no answer after 3 deliveries"));
    assert_eq!(wire::decode_envelope(dead[0].bytes.clone()), Ok(poison.clone()));
    assert_eq!(*rejected.0.lock(), [(poison.job_id.clone(), Rejection::GaveUp)]);
    assert!(queue.retry_dead_letter(LANE, &dead[0].id).await.unwrap());
    assert_eq!(next_one(&consumer).await.envelope.attempt, 1);
}

pub async fn a_dead_consumers_job_is_taken_over(e: Any) {
    let queue = Queue::new(e);
    let job = job("");
    queue.submit(LANE, &job).await.unwrap();
    let dying = queue.consumer(LANE, options());
    // Killed: no destructor runs.
    std::mem::forget(next_one(&dying).await);
    let heir = queue.consumer(LANE, options());
    let taken = next_one(&heir).await;
    assert_eq!(taken.envelope, Envelope { attempt: 2, ..job.clone() });
    taken.settle(&done(&job)).await.unwrap();
    assert_empty(&queue).await;
}

/// A lease as short as the members of these rules renew it.
const LEASE: Duration = Duration::from_secs(1);

/// A consumer of a worker of this name, which joins the others first. Silence alone counts for nothing here.
async fn member(queue: &Queue, name: &str) -> Consumer {
    announce(queue, name).await;
    let timing = Timing { min_idle: 10 * LONG, ..Timing::default() };
    queue.consumer(LANE, ConsumerOptions::new(timing).unwrap().member(name, LEASE))
}

async fn announce(queue: &Queue, name: &str) {
    queue.announce(&WorkerPresence { name: name.into(), ..Default::default() }, LEASE).await.unwrap();
}

/// Waits for a job while its worker's lease is renewed, and those of `others`.
async fn next_of(queue: &Queue, consumer: &Consumer, names: &[&str], within: Duration) -> Option<Delivery> {
    let mut next = std::pin::pin!(timeout(within, consumer.next(1)));
    loop {
        tokio::select! {
            got = &mut next => return got.ok().map(|got| got.unwrap().remove(0)),
            () = sleep(LEASE / 8) => for name in names { announce(queue, name).await },
        }
    }
}

pub async fn a_dead_workers_job_is_taken_over_when_its_lease_ends(e: Any) {
    let queue = Queue::new(e);
    let job = job("");
    queue.submit(LANE, &job).await.unwrap();
    let dying = member(&queue, "dying").await;
    std::mem::forget(next_one(&dying).await);
    let heir = member(&queue, "heir").await;
    let taken = next_of(&queue, &heir, &["heir"], LONG).await.expect("it is taken over");
    assert_eq!(taken.envelope, Envelope { attempt: 2, ..job.clone() });
    assert!(queue.workers().await.unwrap().iter().all(|w| w.name != "dying"), "not before its lease ends");
    taken.settle(&done(&job)).await.unwrap();
    assert_empty(&queue).await;
}

pub async fn a_living_workers_job_is_not_taken_over(e: Any) {
    let queue = Queue::new(e);
    queue.submit(LANE, &job("")).await.unwrap();
    let busy = member(&queue, "busy").await;
    let held = next_one(&busy).await;
    let thief = member(&queue, "thief").await;
    assert!(next_of(&queue, &thief, &["busy", "thief"], 2 * LEASE).await.is_none());
    held.settle(&done(&job(""))).await.unwrap();
}

pub async fn whoever_is_out_of_touch_takes_nothing_over(e: Any) {
    let queue = Queue::new(e);
    queue.submit(LANE, &job("")).await.unwrap();
    let busy = member(&queue, "busy").await;
    let held = next_one(&busy).await;
    let thief = member(&queue, "thief").await;
    // Its lease is the last to end, however slowly all this went: while one's own lasts, another's end would be its death.
    announce(&queue, "busy").await;
    // Nobody's lease is renewed, as when the server was away: both have ended, and neither worker is dead.
    assert!(next_of(&queue, &thief, &[], 2 * LEASE).await.is_none());
    held.settle(&done(&job(""))).await.unwrap();
}

pub async fn a_heartbeat_keeps_a_long_job(e: Any) {
    let queue = Queue::new(e);
    let (busy, idle) = (queue.consumer(LANE, options()), queue.consumer(LANE, options()));
    let job = job("");
    queue.submit(LANE, &job).await.unwrap();
    let held = next_one(&busy).await;
    let thief = tokio::spawn(async move { idle.next(1).await });
    for _ in 0..12 {
        sleep(MIN_IDLE / 4).await;
        held.touch().await.expect("still ours");
    }
    held.settle(&done(&job)).await.unwrap();
    assert!(!thief.is_finished(), "nobody took it over");
    thief.abort();
}

pub async fn an_answer_after_a_takeover_is_not_sent(e: Any) {
    let queue = Queue::new(e);
    let (slow, heir) = (queue.consumer(LANE, options()), queue.consumer(LANE, options()));
    let mut replies = queue.open_replies().await.unwrap();
    let job = job(replies.address());
    queue.submit(LANE, &job).await.unwrap();
    let stuck = next_one(&slow).await;
    let taken = next_one(&heir).await;
    assert_eq!(stuck.touch().await, Err(QueueError::Lost));
    assert_eq!(stuck.settle(&done(&job)).await, Err(QueueError::Lost));
    taken.settle(&done(&job)).await.unwrap();
    assert_eq!(replies.next().await, Ok(done(&job)));
    assert!(timeout(Duration::from_millis(50), replies.next()).await.is_err(), "answered once");
    assert_empty(&queue).await;
}

pub async fn an_unreadable_reply_is_skipped(e: Any) {
    let queue = Queue::new(Arc::clone(&e));
    let mut replies = queue.open_replies().await.unwrap();
    let job = job("");
    e.reply(replies.address(), Bytes::from_static(b"\xff\xff")).await.unwrap();
    e.reply(replies.address(), wire::encode_reply(&done(&job))).await.unwrap();
    assert_eq!(replies.next().await, Ok(done(&job)));
}

pub async fn a_job_that_cannot_be_done_in_time_is_refused(e: Any) {
    let queue = Queue::new(e).lane_capacity(3);
    queue.submit(LANE, &job("")).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let hurried = Envelope { deadline_ms: Timestamp::now().as_millis() + 1000, ..job("") };
    let refused = queue.submit(LANE, &hurried).await.unwrap_err();
    assert!(matches!(refused, QueueError::Overloaded { retry_after } if retry_after >= Duration::from_secs(1)));
    assert_eq!(refused.code(), domain::ErrorCode::Overloaded);
    queue.submit(LANE, &job("")).await.unwrap();
    queue.submit(LANE, &job("")).await.unwrap();
    assert!(matches!(queue.submit(LANE, &job("")).await, Err(QueueError::Overloaded { .. })), "the fourth of three");
}

pub async fn consumers_have_names_of_their_own(e: Any) {
    let queue = Queue::new(e);
    let (one, two) = (queue.consumer(LANE, options()), queue.consumer(LANE, options()));
    assert!(one.name().starts_with("test-") && two.name().starts_with("test-"));
    assert_ne!(one.name(), two.name());
}
