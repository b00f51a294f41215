//! Engines on servers of one's own, and short ways to use them.

use std::time::Duration;

use bytes::Bytes;
use domain::{JobId, Lane};
use link::{Link, LinkOptions};
use visavis_queue::{Engine, Entry, Limit, QueueError, RedisEngine, RedisOptions};

pub const LANE: Lane = Lane::Interactive;
pub const ROOMY: Limit = Limit { entries: 100_000, wait: Duration::MAX };
/// Longer than anything here takes; a test that needs it has failed.
pub const LONG: Duration = Duration::from_secs(60);

pub fn engine(url: &str) -> RedisEngine {
    engine_with(LinkOptions::new(url), RedisOptions::default())
}

/// Under a prefix of its own.
pub fn engine_with(link: LinkOptions, options: RedisOptions) -> RedisEngine {
    let prefix = format!("vv:{}", JobId::generate());
    RedisEngine::new(Link::new(LinkOptions { prefix, ..link }).unwrap(), options)
}

pub async fn put(engine: &RedisEngine, bytes: impl Into<Bytes>) -> Result<(), QueueError> {
    engine.append(LANE, bytes.into(), ROOMY).await.map(drop)
}

pub async fn take_one(engine: &RedisEngine, consumer: &str) -> Entry {
    engine.read(LANE, consumer, 1, Duration::ZERO).await.unwrap().pop().expect("an entry")
}

/// Asks until the engine can be used again.
pub async fn recovered(engine: &RedisEngine) {
    let asking = async {
        while engine.check().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, asking).await.expect("it recovers by itself");
}
