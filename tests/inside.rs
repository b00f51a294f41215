//! What a test does from inside an installation: the Redis it shares, and its store there. Included by path.

use std::sync::Arc;

use link::{Link, LinkOptions};
use store::{RedisStore, RedisStoreOptions, Store};
use testkit::Cluster;

/// The way to its Redis.
pub fn link(cluster: &Cluster) -> Link {
    Link::new(LinkOptions::new(cluster.redis().url())).expect("an address")
}

/// Its records.
pub async fn store(cluster: &Cluster) -> Arc<dyn Store> {
    Arc::new(RedisStore::open(link(cluster), RedisStoreOptions::default()).await.expect("a store"))
}
