//! What a test does from inside an installation: its store and its queue on the Redis it shares. Included by path.

use std::{collections::BTreeSet, sync::Arc};

use domain::{ApiKey, KeyId, Scope, TenantId, Timestamp};
use link::{Link, LinkOptions};
use queue::{Queue, RedisEngine, RedisOptions};
use sha2::{Digest, Sha256};
use store::{ApiKeys, RedisStore, RedisStoreOptions, Store};
use testkit::Cluster;

fn link(cluster: &Cluster) -> Link {
    Link::new(LinkOptions::new(cluster.redis().url())).expect("an address")
}

/// Its records.
pub async fn store(cluster: &Cluster) -> Arc<dyn Store> {
    Arc::new(RedisStore::open(link(cluster), RedisStoreOptions::default()).await.expect("a store"))
}

/// Its lanes.
#[allow(dead_code, reason = "not everybody who includes this needs all of it")]
pub fn queue(cluster: &Cluster) -> Queue {
    Queue::new(Arc::new(RedisEngine::new(link(cluster), RedisOptions::default())))
}

/// An API key of another tenant, with every scope.
#[allow(dead_code, reason = "not everybody who includes this needs all of it")]
pub async fn key_of(cluster: &Cluster, tenant: &str) -> String {
    let secret = "0123456789abcdef0123456789abcdef";
    let key = ApiKey {
        id: KeyId::new(tenant).expect("an id"),
        tenant: TenantId::new(tenant).expect("an id"),
        name: tenant.to_owned(),
        scopes: Scope::ALL.iter().copied().collect::<BTreeSet<_>>(),
        secret_sha256: hex::encode(Sha256::digest(secret)),
        created_at: Timestamp::now(),
        rotated_at: None,
        expires_at: None,
    };
    ApiKeys::new(store(cluster).await).create(&key).await.expect("a new key");
    format!("vv_{tenant}_{secret}")
}
