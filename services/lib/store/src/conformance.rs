//! The suite every engine must pass: one function per promise of the trait. Called by the tests of each engine
//! with the feature `conformance`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed promise fails the test that runs the suite")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use domain::Timestamp;

use crate::{Change, Changes, Commit, Precondition, Revision, Space, Store, StoreError};

/// Runs everything, each promise on a store of its own. `reach` is the number of commits after which the change
/// feed of a collection no longer reaches back to its first; some dozens at least.
pub async fn run(make: impl AsyncFn() -> Arc<dyn Store>, reach: u64) {
    atomicity(&*make().await).await;
    preconditions(&*make().await).await;
    scans(&*make().await).await;
    keys_that_look_alike(&*make().await).await;
    many_at_once(&*make().await).await;
    large(&*make().await).await;
    feed(&*make().await).await;
    trimming(&*make().await, reach).await;
    feeds_nobody_follows(&*make().await, reach).await;
    revisions_per_space(&*make().await).await;
    expiry(&*make().await).await;
    erasure(&*make().await).await;
    reads_of_own_writes(make().await).await;
    concurrent_commits(make().await).await;
}

fn space(name: &str) -> Space {
    Space::tenant(&name.parse().unwrap())
}

fn collection(name: &str) -> Space {
    Space::collection(&"t".parse().unwrap(), &name.parse().unwrap())
}

async fn value(store: &dyn Store, space: &Space, key: &str) -> Option<Vec<u8>> {
    store.get(space, key).await.unwrap().map(|r| r.value.to_vec())
}

fn refused(result: Result<Revision, StoreError>) -> String {
    match result {
        Err(StoreError::Precondition { key }) => key,
        other => panic!("a precondition should have failed: {other:?}"),
    }
}

/// All of a commit happens, or nothing; later operations on a key win over earlier ones.
pub async fn atomicity(store: &dyn Store) {
    let s = space("atomic");
    store.commit(&s, Commit::new().put("a", "1").put("b", "1").delete("c").put("d", "1").delete("d")).await.unwrap();
    assert_eq!(value(store, &s, "a").await.unwrap(), b"1");
    assert_eq!(value(store, &s, "d").await, None);
    let before = store.revision(&s).await.unwrap();
    let failing = Commit::new().put("a", "2").delete("b").put("e", "2").when(Precondition::Present("none".into()));
    assert_eq!(refused(store.commit(&s, failing).await), "none");
    assert_eq!(value(store, &s, "a").await.unwrap(), b"1");
    assert_eq!(value(store, &s, "b").await.unwrap(), b"1");
    assert_eq!(value(store, &s, "e").await, None);
    assert_eq!(store.revision(&s).await.unwrap(), before);
    store.commit(&s, Commit::new().erase("a").put("a", "3")).await.unwrap();
    assert_eq!(value(store, &s, "a").await.unwrap(), b"3");
}

/// Each kind holds exactly when it says; the first that does not is named.
pub async fn preconditions(store: &dyn Store) {
    let s = space("conditions");
    let on = |p: Precondition| Commit::new().when(p);
    assert_eq!(refused(store.commit(&s, on(Precondition::Present("k".into()))).await), "k");
    let first = store.commit(&s, on(Precondition::Absent("k".into())).put("k", "1")).await.unwrap();
    assert_eq!(store.get(&s, "k").await.unwrap().unwrap().version, first);
    assert_eq!(refused(store.commit(&s, on(Precondition::Absent("k".into()))).await), "k");
    let unchanged = |v| Precondition::Unchanged("k".into(), v);
    let second = store.commit(&s, on(unchanged(first)).put("k", "2")).await.unwrap();
    assert!(second > first);
    assert_eq!(refused(store.commit(&s, on(unchanged(first)).put("k", "3")).await), "k");
    // Other keys' changes do not count.
    store.commit(&s, Commit::new().put("other", "")).await.unwrap();
    store.commit(&s, on(unchanged(second)).delete("k")).await.unwrap();
    assert_eq!(refused(store.commit(&s, on(unchanged(second))).await), "k");
    let two = on(Precondition::Present("x".into())).when(Precondition::Present("y".into()));
    assert_eq!(refused(store.commit(&s, two).await), "x");
    assert_eq!(refused(store.commit(&space("empty"), on(unchanged(Revision(0)))).await), "k");
}

/// Byte order, prefixes, cursors and limits; every record once.
pub async fn scans(store: &dyn Store) {
    let s = space("scan");
    let names = ["a", "a/", "a/1", "a/10", "a/2", "a0", "b/1", "ä/1"];
    store.commit(&s, names.iter().rev().fold(Commit::new(), |c, n| c.put(*n, *n))).await.unwrap();
    for prefix in ["", "a", "a/", "b", "ä", "zz"] {
        let expected: Vec<_> = names.iter().filter(|n| n.starts_with(prefix)).map(|n| (*n).to_owned()).collect();
        for limit in 1..=names.len() + 1 {
            let (mut got, mut by_keys) = (Vec::new(), Vec::new());
            loop {
                let page = store.scan(&s, prefix, got.last().map(String::as_str), limit).await.unwrap();
                let keys = store.keys(&s, prefix, got.last().map(String::as_str), limit).await.unwrap();
                assert!(page.records.len() <= limit);
                assert!(page.records.iter().all(|(k, r)| r.value == k.as_bytes()));
                assert_eq!(page.more, keys.more);
                by_keys.extend(keys.keys);
                got.extend(page.records.into_iter().map(|(k, _)| k));
                if !page.more {
                    break;
                }
            }
            assert_eq!(got, expected, "{prefix:?} by {limit}");
            assert_eq!(by_keys, expected, "{prefix:?} by {limit}");
        }
    }
    // The cursor need not be a key that is there, nor lie within the prefix.
    let after = |page: crate::Page| page.records.into_iter().map(|(k, _)| k).collect::<Vec<_>>();
    assert_eq!(after(store.scan(&s, "a/", Some("a/11"), 9).await.unwrap()), ["a/2"]);
    assert_eq!(after(store.scan(&s, "a/", Some(""), 2).await.unwrap()), ["a/", "a/1"]);
    assert_eq!(after(store.scan(&s, "a/", Some("b"), 9).await.unwrap()), Vec::<String>::new());
}

/// Spaces and keys are told apart, whatever they look like when joined.
pub async fn keys_that_look_alike(store: &dyn Store) {
    let spaces = [space("t"), space("t.x"), Space::collection(&"t".parse().unwrap(), &"x".parse().unwrap())];
    for (i, s) in spaces.iter().enumerate() {
        store.commit(s, Commit::new().put("x/1", vec![u8::try_from(i).unwrap()]).put("", "empty")).await.unwrap();
    }
    for (i, s) in spaces.iter().enumerate() {
        assert_eq!(value(store, s, "x/1").await.unwrap(), [u8::try_from(i).unwrap()]);
        assert_eq!(value(store, s, "").await.unwrap(), b"empty");
        assert_eq!(store.scan(s, "", None, 10).await.unwrap().records.len(), 2);
    }
    assert_eq!(store.scan(&space("none"), "", None, 10).await.unwrap(), crate::Page::default());
    assert_eq!(value(store, &Space::system(), "x/1").await, None);
}

/// Several keys are read as each of them is, in the order asked for.
pub async fn many_at_once(store: &dyn Store) {
    let s = space("many");
    assert_eq!(store.get_many(&s, &[]).await.unwrap(), []);
    let past = Timestamp::from_millis(1);
    store.commit(&s, Commit::new().put("a", "1").put("", "empty").put_until("old", "1", past)).await.unwrap();
    let keys = ["b", "a", "old", "", "a"].map(str::to_owned);
    let mut expected = Vec::new();
    for key in &keys {
        expected.push(store.get(&s, key).await.unwrap());
    }
    assert_eq!(store.get_many(&s, &keys).await.unwrap(), expected);
    assert_eq!(expected.iter().flatten().count(), 3);
}

/// Many operations in one commit, and values of many megabytes.
pub async fn large(store: &dyn Store) {
    let s = space("large");
    let names: Vec<_> = (0..12_000).map(|i| format!("k{i:05}")).collect();
    let conditions = names.iter().fold(Commit::new(), |c, n| c.when(Precondition::Absent(n.clone())));
    let first = store.commit(&s, names.iter().fold(conditions, |c, n| c.put(n, n.clone()))).await.unwrap();
    assert_eq!(store.keys(&s, "k", None, 20_000).await.unwrap().keys, names);
    let told = store.changes(&s, Revision(0), 10).await.unwrap();
    assert!(matches!(told, Changes::Since(c) if c.len() == 1 && c[0].keys == names));
    let second = store.commit(&s, names.iter().fold(Commit::new(), |c, n| c.erase(n))).await.unwrap();
    let told = store.changes(&s, first, 1).await.unwrap();
    assert!(matches!(told, Changes::Since(c) if c.len() == 1 && c[0].revision == second && c[0].keys == names));
    assert_eq!(store.keys(&s, "", None, 10).await.unwrap().keys, Vec::<String>::new());
    let value = |n: u8| (0..20 << 20).map(|i: u32| i.to_le_bytes()[0] ^ n).collect::<Vec<u8>>();
    for n in 0..3 {
        store.commit(&s, Commit::new().put(format!("v{n}"), value(n))).await.unwrap();
    }
    let mut got = Vec::new();
    while got.len() < 3 {
        let page = store.scan(&s, "v", got.last().map(|(k, _): &(String, _)| k.as_str()), 10).await.unwrap();
        assert!(!page.records.is_empty() && page.more == (got.len() + page.records.len() < 3));
        got.extend(page.records);
    }
    assert!((0..3).zip(&got).all(|(n, (k, r))| *k == format!("v{n}") && r.value == value(n)));
}

/// Every commit is told once, in order, with every key it touched and no value.
pub async fn feed(store: &dyn Store) {
    let s = collection("feed");
    assert_eq!(store.changes(&s, Revision(0), 10).await.unwrap(), Changes::Since(vec![]));
    let mut expected = Vec::new();
    for i in 0..7 {
        let commit = Commit::new().put(format!("p{i}"), "v").delete(format!("d{i}")).erase("e").put("e", "v");
        let revision = store.commit(&s, commit).await.unwrap();
        let token = store.mark(&s).await.unwrap().token;
        expected.push(Change { revision, token, keys: vec![format!("p{i}"), format!("d{i}"), "e".into()] });
        refused(store.commit(&s, Commit::new().when(Precondition::Absent("e".into())).put("never", "")).await);
    }
    for after in 0..=expected.len() {
        let from = after.checked_sub(1).map_or(Revision(0), |i| expected[i].revision);
        for limit in [0, 1, 3, 100] {
            let want: Vec<_> = expected[after..].iter().take(limit).cloned().collect();
            assert_eq!(store.changes(&s, from, limit).await.unwrap(), Changes::Since(want));
        }
    }
    // A position this store never had, such as after it was restored from an older backup.
    let ahead = Revision(expected.last().unwrap().revision.0 + 1);
    assert_eq!(store.changes(&s, ahead, 10).await.unwrap(), Changes::Trimmed);
}

/// A position the feed no longer reaches is said to be so, never answered with a gap.
pub async fn trimming(store: &dyn Store, reach: u64) {
    let s = collection("trim");
    commits(store, &s, reach + 3).await;
    assert_eq!(told(store, &s, reach + 3).await, None);
    assert_eq!(told(store, &s, reach).await, usize::try_from(reach).ok());
}

/// Galleries follow their collection; of what nobody follows the feed keeps little.
pub async fn feeds_nobody_follows(store: &dyn Store, reach: u64) {
    for s in [space("jobs"), Space::audit(&"trail".parse().unwrap()), Space::system()] {
        commits(store, &s, reach).await;
        assert_eq!(told(store, &s, reach / 2).await, None, "{s:?}");
        assert_eq!(told(store, &s, 2).await, Some(2), "{s:?}");
    }
}

async fn commits(store: &dyn Store, s: &Space, count: u64) {
    for i in 0..count {
        store.commit(s, Commit::new().put(format!("k{}", i % 5), "")).await.unwrap();
    }
}

/// How many commits the feed tells when asked for the last so many, unless it does not reach so far back.
async fn told(store: &dyn Store, s: &Space, last: u64) -> Option<usize> {
    let newest = store.revision(s).await.unwrap();
    match store.changes(s, Revision(newest.0 - last), 1_000).await.unwrap() {
        Changes::Since(changes) => Some(changes.len()),
        Changes::Trimmed => None,
    }
}

/// Revisions count the commits of one space and of no other.
pub async fn revisions_per_space(store: &dyn Store) {
    let (a, b) = (space("one"), space("two"));
    assert_eq!(store.revision(&a).await.unwrap(), Revision(0));
    for n in 1..=3 {
        assert_eq!(store.commit(&a, Commit::new().put("k", "")).await.unwrap(), Revision(n));
        assert_eq!(store.revision(&a).await.unwrap(), Revision(n));
        assert_eq!(store.revision(&b).await.unwrap(), Revision(0));
    }
    assert_eq!(store.commit(&b, Commit::new().put("k", "")).await.unwrap(), Revision(1));
}

/// A value past its time is absent to reads, scans and preconditions alike.
pub async fn expiry(store: &dyn Store) {
    let s = space("expiry");
    let (past, future) = (Timestamp::from_millis(1), Timestamp::now().plus(Duration::from_secs(3600)));
    let commit = Commit::new().put_until("gone", "1", past).put_until("kept", "1", future).put("plain", "1");
    store.commit(&s, commit).await.unwrap();
    assert_eq!(value(store, &s, "gone").await, None);
    assert_eq!(value(store, &s, "kept").await.unwrap(), b"1");
    let page = store.scan(&s, "", None, 2).await.unwrap();
    assert_eq!(page.records.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>(), ["kept", "plain"]);
    assert!(!page.more);
    assert!(!store.keys(&s, "g", None, 2).await.unwrap().more);
    refused(store.commit(&s, Commit::new().when(Precondition::Present("gone".into()))).await);
    store.commit(&s, Commit::new().when(Precondition::Absent("gone".into())).put("gone", "2")).await.unwrap();
    assert_eq!(value(store, &s, "gone").await.unwrap(), b"2", "the former expiry must not hit the new value");
    store.commit(&s, Commit::new().put_until("plain", "2", past)).await.unwrap();
    assert_eq!(value(store, &s, "plain").await, None);
}

/// What is erased is gone for every reader, may be erased again, and may be put anew.
/// That no byte is left is for each engine's own test, which knows its files.
pub async fn erasure(store: &dyn Store) {
    let s = space("erase");
    for n in ["1", "2", "3"] {
        store.commit(&s, Commit::new().put("k", n).put("other", "o")).await.unwrap();
    }
    store.commit(&s, Commit::new().erase("k").erase("never")).await.unwrap();
    store.commit(&s, Commit::new().erase("k")).await.unwrap();
    assert_eq!(value(store, &s, "k").await, None);
    assert_eq!(value(store, &s, "other").await.unwrap(), b"o");
    store.commit(&s, Commit::new().when(Precondition::Absent("k".into())).put("k", "4")).await.unwrap();
    assert_eq!(value(store, &s, "k").await.unwrap(), b"4");
}

/// Once acknowledged, a commit is seen by every reader, whoever wrote it.
pub async fn reads_of_own_writes(store: Arc<dyn Store>) {
    let s = space("own");
    let task = |t: u64| {
        let (store, s) = (store.clone(), s.clone());
        async move {
            for i in 0..20u64 {
                let (key, text) = (format!("{t}"), format!("{i}"));
                let revision = store.commit(&s, Commit::new().put(&key, text.clone())).await.unwrap();
                assert_eq!(value(&*store, &s, &key).await.unwrap(), text.as_bytes());
                assert!(store.revision(&s).await.unwrap() >= revision);
                assert!(store.scan(&s, &key, None, 100).await.unwrap().records.iter().any(|(k, _)| *k == key));
            }
        }
    };
    let tasks: Vec<_> = (0..4).map(|t| tokio::spawn(task(t))).collect();
    for t in tasks {
        t.await.unwrap();
    }
}

/// Concurrent read-modify-writes lose nothing, and every revision is given out once.
pub async fn concurrent_commits(store: Arc<dyn Store>) {
    let s = space("counter");
    store.commit(&s, Commit::new().put("n", "0")).await.unwrap();
    let task = |_| {
        let (store, s) = (store.clone(), s.clone());
        async move {
            let mut revisions = Vec::new();
            while revisions.len() < 10 {
                let seen = store.get(&s, "n").await.unwrap().unwrap();
                let n: u64 = std::str::from_utf8(&seen.value).unwrap().parse().unwrap();
                let unchanged = Precondition::Unchanged("n".into(), seen.version);
                match store.commit(&s, Commit::new().when(unchanged).put("n", (n + 1).to_string())).await {
                    Ok(revision) => revisions.push(revision),
                    Err(StoreError::Precondition { .. }) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            revisions
        }
    };
    let tasks: Vec<_> = (0..8).map(|t| tokio::spawn(task(t))).collect();
    let mut all = BTreeSet::new();
    for t in tasks {
        all.extend(t.await.unwrap());
    }
    assert_eq!(value(&*store, &s, "n").await.unwrap(), b"80");
    assert_eq!(all.into_iter().collect::<Vec<_>>(), (2..=81).map(Revision).collect::<Vec<_>>());
}
