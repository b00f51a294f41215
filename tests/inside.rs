//! What a test does from inside an installation: the Redis it shares, and its store there. Included by path.

use std::sync::Arc;

use link::{Link, LinkOptions};
use seal::Keyring;
use store::{RedisStore, RedisStoreOptions, SealedStore, Store};
use testkit::{Cluster, SEALING_KEY};

/// The way to its Redis.
pub fn link(cluster: &Cluster) -> Link {
    Link::new(LinkOptions::new(cluster.redis().url())).expect("an address")
}

/// The keys that everything on it is sealed with.
pub fn keyring() -> Arc<Keyring> {
    Arc::new(Keyring::parse(SEALING_KEY).expect("a key"))
}

/// Its records.
pub async fn store(cluster: &Cluster) -> Arc<dyn Store> {
    let store = RedisStore::open(link(cluster), RedisStoreOptions::default()).await.expect("a store");
    Arc::new(SealedStore::open(Arc::new(store), keyring()).await.expect("its key"))
}
