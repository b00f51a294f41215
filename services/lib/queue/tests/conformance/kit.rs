//! What the rules share: engines, jobs, options with short times.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{JobId, Lane, Timestamp};
use seal::Keyring;
use visavis_queue::{
    ConsumerOptions, Depth, Engine, Entry, Limit, MemoryEngine, MemoryOptions, Queue, SealedEngine, Timing,
};
use wire::v1::{DetectReply, DetectRequest, Envelope, Problem, Reply, envelope::Request, reply::Outcome};

pub const LANE: Lane = Lane::Interactive;
pub const ROOMY: Limit = Limit { entries: 10_000, wait: Duration::MAX };
/// Idle time of [`options`].
pub const MIN_IDLE: Duration = Duration::from_secs(2);
/// Longer than anything here takes; a test that needs it has failed.
pub const LONG: Duration = Duration::from_secs(60);

pub fn memory() -> Option<Arc<dyn Engine>> {
    Some(Arc::new(MemoryEngine::new(MemoryOptions::default())))
}

/// The same with everything on it sealed.
pub fn sealed(engine: Option<Arc<dyn Engine>>) -> Option<Arc<dyn Engine>> {
    let keyring = Keyring::parse(&Keyring::fresh_key().unwrap()).unwrap();
    Some(Arc::new(SealedEngine::new(engine?, &keyring).unwrap()))
}

pub fn options() -> ConsumerOptions {
    let timing = Timing {
        min_idle: MIN_IDLE,
        batch_delay: Duration::from_millis(5),
        batch_time: Duration::from_millis(100),
        reply_time: Duration::from_millis(50),
    };
    ConsumerOptions::new(timing).unwrap().host("test")
}

pub fn job(reply_to: &str) -> Envelope {
    let now = Timestamp::now();
    Envelope {
        job_id: JobId::generate().to_string(),
        tenant: "default".into(),
        created_ms: now.as_millis(),
        deadline_ms: now.plus(LONG).as_millis(),
        reply_to: reply_to.into(),
        request: Some(Request::Detect(DetectRequest::default())),
        ..Default::default()
    }
}

pub fn done(job: &Envelope) -> Reply {
    Reply { job_id: job.job_id.clone(), outcome: Some(Outcome::Detect(DetectReply::default())), ..Default::default() }
}

pub fn problem(reply: Reply) -> Problem {
    match reply.outcome {
        Some(Outcome::Problem(problem)) => problem,
        other => panic!("a problem was expected, not {other:?}"),
    }
}

pub async fn put(engine: &Arc<dyn Engine>, bytes: &'static [u8]) {
    engine.append(LANE, Bytes::from_static(bytes), ROOMY).await.unwrap();
}

/// What lies there now, without waiting.
pub async fn take(engine: &Arc<dyn Engine>, consumer: &str, max: usize) -> Vec<Entry> {
    engine.read(LANE, consumer, max, Duration::ZERO).await.unwrap()
}

pub async fn take_one(engine: &Arc<dyn Engine>, consumer: &str) -> Entry {
    take(engine, consumer, 1).await.pop().expect("an entry")
}

pub fn texts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|e| std::str::from_utf8(&e.bytes).unwrap()).collect()
}

pub async fn assert_empty(queue: &Queue) {
    let depth = queue.depth(LANE).await.unwrap();
    assert_eq!(depth, Depth { taken: depth.taken, dead: depth.dead, ..Depth::default() });
}
