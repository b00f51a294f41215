//! The shared engine against the conformance suite on every server it is to run on, and what it promises beyond.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::Timestamp;
use link::{Link, LinkOptions};
use store::{
    Appendfsync, Changes, Commit, Durability, EraseMode, Mark, Pepper, RedisStore, RedisStoreOptions, Revision, Space,
    Store, StoreError,
};
use testkit::{FaultProxy, RedisCluster, RedisOptions, RedisServer};
use visavis_store as store;

use crate::common::*;

const REACH: u64 = 50;

fn short_feed() -> RedisStoreOptions {
    RedisStoreOptions { feed_kept: REACH, ..RedisStoreOptions::default() }
}

async fn conforms(url: &str, options: RedisStoreOptions) {
    let make = async || Arc::new(open(url, &prefix(), options.clone()).await.unwrap()) as Arc<dyn Store>;
    store::conformance::run(make, REACH).await;
}

fn why<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(why)) => why,
        other => panic!("should be unavailable: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_every_promise_of_the_trait() {
    conforms(&ALWAYS.url(), short_feed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_every_promise_where_commits_are_waited_for() {
    let server = every_second();
    let make = async || {
        let _ = server.command(&["CONFIG", "SET", "appendfsync", "everysec"]);
        let store = open(&server.url(), &prefix(), short_feed()).await.unwrap();
        assert!(store.durability_detail().ends_with("appendfsync everysec and WAITAOF"));
        // The store goes on as it began, without waiting a second for every commit of the suite.
        let _ = server.command(&["CONFIG", "SET", "appendfsync", "always"]);
        Arc::new(store) as Arc<dyn Store>
    };
    store::conformance::run(make, REACH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_every_promise_on_a_cluster_of_one() {
    let server = RedisServer::start_with(RedisOptions { cluster: true, ..RedisOptions::default() });
    let url = server.url().replace("redis://", "redis-cluster://");
    conforms(&url, short_feed()).await;
    let store = open(&url, &prefix(), short_feed()).await.unwrap();
    assert_eq!(store.durability_detail(), "valkey 9.1.2, cluster of 1, appendfsync always");
    store.check().await.unwrap();
    let (s, value) = (Space::system(), noise(6, 600));
    store
        .commit(&s, Commit::new().put("k", value.clone()).put_until("old", "v", Timestamp::from_millis(1)))
        .await
        .unwrap();
    assert!(files_with(server.data_dir(), &value) > 0);
    assert_eq!(store.sweep(Timestamp::now()).await.unwrap(), 1);
    store.commit(&s, Commit::new().erase("k")).await.unwrap();
    assert_eq!(files_with(server.data_dir(), &value), 0);
}

/// Erasures by rewriting files are for one server; several primaries forget logically, which the suite does not look at.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_every_promise_on_a_cluster_of_three() {
    let cluster = RedisCluster::start(3);
    let options = RedisStoreOptions { erase: EraseMode::Logical, ..short_feed() };
    conforms(&cluster.url(), options.clone()).await;
    let store = open(&cluster.url(), &prefix(), options).await.unwrap();
    assert_eq!(store.durability_detail(), "valkey 9.1.2, cluster of 3, appendfsync always");
    for n in 0..30 {
        let space = Space::tenant(&format!("t{n}").parse().unwrap());
        store.commit(&space, Commit::new().put("k", "v")).await.unwrap();
    }
    let holding = |node: &RedisServer| !node.command(&["DBSIZE"]).starts_with(":0");
    assert!(cluster.nodes().iter().all(holding), "tenants are spread over the primaries");
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_every_promise_on_the_oldest_server_supported() {
    let Some(server) = RedisServer::redis_or_skip(RedisOptions::default()) else { return };
    conforms(&server.url(), short_feed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loading_the_secret_at_once_gives_everybody_the_same() {
    let (url, prefix) = (ALWAYS.url(), prefix());
    let (tenant, staff) = ("acme".parse().unwrap(), "staff".parse().unwrap());
    let mut loads = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (url, prefix) = (url.clone(), prefix.clone());
        loads.spawn(async move {
            let store = open(&url, &prefix, RedisStoreOptions::default()).await.unwrap();
            Pepper::load(&store).await.unwrap()
        });
    }
    let handles: HashSet<_> =
        loads.join_all().await.iter().map(|p| p.handle(&tenant, &staff, &"anna".parse().unwrap())).collect();
    assert_eq!(handles.len(), 1);
}

#[tokio::test]
async fn weak_durability_is_refused_unless_allowed_and_told_either_way() {
    let always = fresh().await;
    assert_eq!(always.durability(), Durability::Fsync);
    assert_eq!(always.durability_detail(), "valkey 9.1.2, appendfsync always");

    let memory = RedisServer::start_with(RedisOptions { appendfsync: None, ..RedisOptions::default() });
    let refused = why(open(&memory.url(), "p", RedisStoreOptions::default()).await);
    assert!(refused.contains("appendonly no") && refused.contains("allow weak durability"), "{refused}");
    let allowed = RedisStoreOptions { allow_weak_durability: true, ..RedisStoreOptions::default() };
    let weak = open(&memory.url(), "p", allowed.clone()).await.unwrap();
    assert_eq!(weak.durability(), Durability::Volatile);
    // Nothing is in any file, so nothing needs to be rewritten.
    weak.commit(&Space::system(), Commit::new().put("k", "v").erase("k")).await.unwrap();

    let server = every_second();
    let store = open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap();
    assert_eq!(store.durability(), Durability::Fsync);
    store.check().await.unwrap();
    // Somebody changes the setting while the store is open.
    let _ = server.command(&["CONFIG", "SET", "appendfsync", "no"]);
    assert!(why(store.check().await).contains("appendfsync no"));
    assert_eq!(store.durability(), Durability::Volatile);
    let _ = server.command(&["CONFIG", "SET", "appendfsync", "always"]);
    store.check().await.unwrap();
    assert!(store.durability_detail().ends_with("appendfsync always"));
    let _ = server.command(&["CONFIG", "SET", "no-appendfsync-on-rewrite", "yes"]);
    let paused = why(store.check().await);
    assert!(paused.contains("no-appendfsync-on-rewrite"), "{paused}");
}

#[tokio::test]
async fn without_waitaof_every_second_is_weak() {
    let every_second = RedisOptions { appendfsync: Some("everysec"), ..RedisOptions::default() };
    let Some(server) = RedisServer::redis_or_skip(every_second) else { return };
    assert!(why(open(&server.url(), "p", RedisStoreOptions::default()).await).contains("appendfsync everysec"));
    let allowed = RedisStoreOptions { allow_weak_durability: true, ..RedisStoreOptions::default() };
    let store = open(&server.url(), "p", allowed).await.unwrap();
    assert_eq!(store.durability(), Durability::EverySecond);
    store.commit(&Space::system(), Commit::new().put("k", "v")).await.unwrap();
}

/// A server on which the store's user lacks some commands.
fn restricted(missing: &[&str]) -> (RedisServer, String) {
    let server = RedisServer::start();
    let mut rule = vec!["ACL", "SETUSER", "app", "on", ">secret", "~p:*", "+@all"];
    rule.extend(missing);
    assert!(server.command(&rule).starts_with("+OK"));
    let url = server.url().replace("redis://", "redis://app:secret@");
    (server, url)
}

#[tokio::test]
async fn a_user_that_may_not_rewrite_is_told_the_option() {
    let (_server, url) = restricted(&["-bgrewriteaof"]);
    let refused = why(open(&url, "p", RedisStoreOptions::default()).await);
    assert!(refused.contains("BGREWRITEAOF") && refused.contains("`logical`"), "{refused}");
    let logical = RedisStoreOptions { erase: EraseMode::Logical, ..RedisStoreOptions::default() };
    let store = open(&url, "p", logical).await.unwrap();
    store.commit(&Space::system(), Commit::new().put("k", "v")).await.unwrap();
    store.commit(&Space::system(), Commit::new().erase("k")).await.unwrap();
    assert_eq!(store.get(&Space::system(), "k").await.unwrap(), None);
}

/// What the store's user must be allowed; stated in the operations guide.
const COMMANDS: &str = "ping client|setinfo select info config|get script|load eval evalsha multi discard waitaof \
                        bgrewriteaof bgsave get set del hget hmget hset hdel hexists sadd smembers zadd zrem zscore \
                        zmscore zrangebylex zrangebyscore xadd xtrim xrange xrevrange";

#[tokio::test(flavor = "multi_thread")]
async fn these_commands_on_these_keys_are_enough() {
    let server = every_second();
    let allowed: Vec<String> = COMMANDS.split_whitespace().map(|c| format!("+{c}")).collect();
    let mut rule = vec!["ACL", "SETUSER", "app", "on", ">secret", "~p:*", "-@all"];
    rule.extend(allowed.iter().map(String::as_str));
    assert!(server.command(&rule).starts_with("+OK"));
    let url = server.url().replace("redis://", "redis://app:secret@");
    let (store, s) = (open(&url, "p", RedisStoreOptions::default()).await.unwrap(), Space::system());
    let past = Timestamp::from_millis(1);
    let absent = store::Precondition::Absent("k".into());
    store.commit(&s, Commit::new().when(absent).put("k", "v").put_until("old", "v", past)).await.unwrap();
    let unchanged = store::Precondition::Unchanged("k".into(), Revision(1));
    store.commit(&s, Commit::new().when(unchanged).put("l", "v").delete("k")).await.unwrap();
    assert_eq!(store.get_many(&s, &["l".to_owned()]).await.unwrap().len(), 1);
    assert_eq!(store.scan(&s, "", None, 9).await.unwrap().records.len(), 1);
    assert!(matches!(store.changes(&s, Revision(0), 9).await.unwrap(), Changes::Since(c) if c.len() == 2));
    assert_eq!(store.sweep(Timestamp::now()).await.unwrap(), 1);
    store.commit(&s, Commit::new().erase("l")).await.unwrap();
    assert!(store.get(&s, "l").await.unwrap().is_none() && store.check().await.is_ok());
    assert_eq!(store.durability(), Durability::Fsync);
}

#[tokio::test]
async fn where_settings_are_secret_the_operators_word_counts() {
    let (_server, url) = restricted(&["-config"]);
    let refused = why(open(&url, "p", RedisStoreOptions::default()).await);
    assert!(refused.contains("appendfsync unknown"), "{refused}");
    let assured = RedisStoreOptions { assured_appendfsync: Some(Appendfsync::Always), ..RedisStoreOptions::default() };
    let store = open(&url, "p", assured).await.unwrap();
    assert!(store.durability_detail().ends_with("appendfsync always (as assured)"));
    // Dumps cannot be excluded then, so they are written anew as well.
    store.commit(&Space::system(), Commit::new().put("k", "v").erase("k")).await.unwrap();
}

#[tokio::test]
async fn a_sweep_removes_what_expired_everywhere_and_tells_followers() {
    sweeps_and_tells(&fresh().await).await;
}

#[tokio::test]
async fn oversized_values_are_refused_and_harm_nothing() {
    let store = fresh().await;
    let s = Space::system();
    store.commit(&s, Commit::new().put("k".repeat(70_000), "v")).await.unwrap_err();
    store.commit(&s, Commit::new().put("k", vec![7; (64 << 20) + 1])).await.unwrap_err();
    assert_eq!(store.revision(&s).await.unwrap(), Revision(0));
    let large = vec![7; 64 << 20];
    store.commit(&s, Commit::new().put("large", large.clone())).await.unwrap();
    assert_eq!(store.get(&s, "large").await.unwrap().unwrap().value, large);
}

#[tokio::test]
async fn a_full_server_still_erases() {
    let options = RedisOptions { arguments: vec!["--maxmemory".into(), "12mb".into()], ..RedisOptions::default() };
    let server = RedisServer::start_with(options);
    let (store, s) = (open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap(), Space::system());
    let mut filled = 0;
    let full = loop {
        match store.commit(&s, Commit::new().put(format!("k{filled:03}"), vec![7; 256 << 10])).await {
            Ok(_) => filled += 1,
            Err(e) => break e.to_string(),
        }
    };
    assert!(filled > 3 && full.contains("no memory left"), "{full}");
    let before = store.mark(&s).await.unwrap();
    assert_eq!(before.revision, Revision(filled), "a refused commit leaves nothing behind");
    store.commit(&s, Commit::new().erase("k000").erase("k001").put("stone", "x")).await.unwrap();
    assert_eq!(store.get(&s, "k000").await.unwrap(), None);
    assert!(store.get(&s, "stone").await.unwrap().is_some());
}

#[tokio::test]
async fn a_server_that_lost_its_last_commits_is_told_from_one_that_did_not() {
    let server = RedisServer::start();
    let (store, s) = (open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap(), Space::system());
    for n in 0..3 {
        store.commit(&s, Commit::new().put(format!("k{n}"), "v")).await.unwrap();
    }
    let before = store.mark(&s).await.unwrap();
    assert_eq!(before, Mark { revision: Revision(3), token: before.token });
    let _ = server.command(&["FLUSHALL"]);
    assert_eq!(store.mark(&s).await.unwrap(), Mark::default());
    assert_eq!(store.changes(&s, Revision(3), 10).await.unwrap(), Changes::Trimmed);
    for n in 0..3 {
        store.commit(&s, Commit::new().put_until(format!("k{n}"), "v", Timestamp::from_millis(1))).await.unwrap();
    }
    let after = store.mark(&s).await.unwrap();
    assert!(after.revision == before.revision && after.token != before.token);
    // The list of spaces was lost as well; sweeps find them all the same.
    assert_eq!(store.sweep(Timestamp::now()).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_costs_a_read_nothing_and_a_commit_its_answer() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    let store = open(&server.url_through(proxy.address()), "p", RedisStoreOptions::default()).await.unwrap();
    let s = Space::system();
    store.commit(&s, Commit::new().put("k", "v")).await.unwrap();
    for _ in 0..3 {
        proxy.cut();
        assert_eq!(store.get(&s, "k").await.unwrap_err().code(), domain::ErrorCode::StoreUnavailable);
        why(store.commit(&s, Commit::new().put("k", "w")).await);
        why(store.check().await);
        proxy.heal();
        assert_eq!(store.get(&s, "k").await.unwrap().unwrap().value, "v");
    }
    // The server goes away and comes back between two calls.
    let mut server = server;
    server.restart();
    assert_eq!(store.get(&s, "k").await.unwrap().unwrap().value, "v");
    assert_eq!(store.scan(&s, "", None, 5).await.unwrap().records.len(), 1);
    store.commit(&s, Commit::new().put("k", "x")).await.unwrap();
    store.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_holds_nobody_up_for_longer_than_agreed() {
    for appendfsync in ["always", "everysec"] {
        let options = RedisOptions { appendfsync: Some(appendfsync), ..RedisOptions::default() };
        let server = RedisServer::start_with(options);
        let proxy = FaultProxy::start(server.address());
        let agreed = Duration::from_secs(1);
        let link = LinkOptions { response_timeout: agreed, ..LinkOptions::new(server.url_through(proxy.address())) };
        let options = RedisStoreOptions { wait_timeout: agreed / 2, ..RedisStoreOptions::default() };
        let store = RedisStore::open(Link::new(link).unwrap(), options).await.unwrap();
        let s = Space::system();
        store.commit(&s, Commit::new().put("k", "u")).await.unwrap();
        proxy.hang();
        let began = Instant::now();
        let (put, erase) = (Commit::new().put("k", "v"), Commit::new().erase("k"));
        let (put, erase, read, check) =
            tokio::join!(store.commit(&s, put), store.commit(&s, erase), store.get(&s, "k"), store.check());
        why(put);
        why(erase);
        why(read);
        why(check);
        assert!(began.elapsed() < 5 * agreed, "{:?}", began.elapsed());
        proxy.heal();
        store.get(&s, "k").await.unwrap();
        store.check().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_told() {
    let gone = why(open("redis://127.0.0.1:1", "p", RedisStoreOptions::default()).await);
    assert!(!gone.is_empty());
}

#[tokio::test]
async fn a_replica_is_refused() {
    let server = RedisServer::start();
    let store = open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap();
    let _ = server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(why(store.check().await).contains("replica"));
    assert!(why(open(&server.url(), "p", RedisStoreOptions::default()).await).contains("replica"));
    let _ = server.command(&["REPLICAOF", "NO", "ONE"]);
    store.check().await.unwrap();
}
