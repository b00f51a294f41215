//! Engines on real servers: one of each kind for all tests, and a prefix of its own for each test.

use std::sync::{Arc, OnceLock};

use domain::JobId;
use link::{Link, LinkOptions};
use testkit::{RedisCluster, RedisOptions as ServerOptions, RedisServer};
use visavis_queue::{Engine, RedisEngine, RedisOptions};

pub fn engine(url: &str) -> Arc<dyn Engine> {
    let options = LinkOptions { prefix: JobId::generate().to_string(), ..LinkOptions::new(url) };
    Arc::new(RedisEngine::new(Link::new(options).unwrap(), RedisOptions::default()))
}

pub fn valkey() -> Option<Arc<dyn Engine>> {
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    Some(engine(&SERVER.get_or_init(RedisServer::start).url()))
}

pub fn cluster() -> Option<Arc<dyn Engine>> {
    static SERVERS: OnceLock<RedisCluster> = OnceLock::new();
    Some(engine(&SERVERS.get_or_init(|| RedisCluster::start(3)).url()))
}

pub fn redis() -> Option<Arc<dyn Engine>> {
    static SERVER: OnceLock<Option<RedisServer>> = OnceLock::new();
    Some(engine(&SERVER.get_or_init(|| RedisServer::redis_or_skip(ServerOptions::default())).as_ref()?.url()))
}
