//! What the tests on real servers share: a server for the whole test binary, and stores of their own on it.

#[macro_use]
pub mod fixture;

use std::{
    path::Path,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::Timestamp;
use link::{Link, LinkOptions};
use testkit::{RedisOptions, RedisServer};
use visavis_store::{Changes, Commit, RedisStore, RedisStoreOptions, Space, Store, StoreError};

/// A Valkey that writes to the disk before it answers; every test takes a prefix of its own.
pub static ALWAYS: LazyLock<RedisServer> = LazyLock::new(RedisServer::start);

/// A Valkey that writes to the disk every second.
pub fn every_second() -> RedisServer {
    RedisServer::start_with(RedisOptions { appendfsync: Some("everysec"), ..RedisOptions::default() })
}

/// A prefix that nobody else uses.
pub fn prefix() -> String {
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    format!("t{}", TAKEN.fetch_add(1, Ordering::Relaxed))
}

pub fn link(url: &str, prefix: &str) -> Link {
    Link::new(LinkOptions { prefix: prefix.to_owned(), ..LinkOptions::new(url) }).unwrap()
}

/// A store as one process would open it.
pub async fn open(url: &str, prefix: &str, options: RedisStoreOptions) -> Result<RedisStore, StoreError> {
    RedisStore::open(link(url, prefix), options).await
}

/// An empty store on the shared server.
pub async fn fresh() -> RedisStore {
    open(&ALWAYS.url(), &prefix(), RedisStoreOptions::default()).await.unwrap()
}

/// What has expired in any space goes with a sweep, whose commit the feed tells.
pub async fn sweeps_and_tells(store: &dyn Store) {
    let (s, t) = (Space::system(), Space::tenant(&"t".parse().unwrap()));
    let later = Timestamp::now().plus(Duration::from_secs(60));
    let many = (0..2_500).fold(Commit::new(), |c, i| c.put_until(format!("old{i}"), "v", Timestamp::from_millis(i)));
    store.commit(&s, many.put_until("later", "v", later).put("ever", "v")).await.unwrap();
    store.commit(&t, Commit::new().put_until("old", "v", Timestamp::from_millis(7))).await.unwrap();
    let before = store.revision(&t).await.unwrap();
    assert_eq!(store.sweep(Timestamp::now()).await.unwrap(), 2_501);
    assert_eq!(store.sweep(Timestamp::now()).await.unwrap(), 0);
    match store.changes(&t, before, 10).await.unwrap() {
        Changes::Since(changes) => assert_eq!(changes[0].keys, ["old"]),
        Changes::Trimmed => panic!("trimmed"),
    }
    assert_eq!(store.keys(&s, "", None, 10).await.unwrap().keys, ["ever", "later"]);
    assert_eq!(store.sweep(later).await.unwrap(), 1);
}

/// How many files below `dir` hold these bytes.
pub fn files_with(dir: &Path, needle: &[u8]) -> usize {
    let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            // A file may be gone by now: the server has replaced it.
            if path.is_dir() {
                files_with(&path, needle)
            } else {
                usize::from(std::fs::read(path).is_ok_and(|b| holds(&b)))
            }
        })
        .sum()
}

/// Bytes that no compression shortens and nothing else holds.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    };
    (0..len).map(|_| next()).collect()
}
