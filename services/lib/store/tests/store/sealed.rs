//! The sealed store over both engines: it is a store like any other, it shows nothing to who reads its files, and what
//! was erased does not open with any key.

use std::{path::Path, sync::Arc};

use domain::Timestamp;
use seal::Keyring;
use store::{
    Changes, Commit, Precondition, RedbOptions, RedbStore, RedisStoreOptions, Revision, Rewrapped, SealedStore, Space,
    Store, StoreError,
};
use tempfile::TempDir;
use testkit::RedisServer;
use visavis_store as store;

use crate::common::{self, fixture::*, *};

const REACH: u64 = 50;
const A: &str = "aa0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const B: &str = "bb0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn ring(text: &str) -> Arc<Keyring> {
    Arc::new(Keyring::parse(text).unwrap())
}

async fn sealed(inner: impl Store, keys: &str) -> Arc<dyn Store> {
    Arc::new(SealedStore::open(Arc::new(inner), ring(keys)).await.unwrap())
}

async fn on_sealed_redb() -> Fixture {
    let dir = TempDir::new().unwrap();
    let store = sealed(RedbStore::open(&dir.path().join("store")).unwrap(), A).await;
    on(Some(dir), store).await
}

async fn on_sealed_redis() -> Fixture {
    on(None, sealed(fresh().await, A).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_every_promise_of_the_trait_over_the_embedded_engine() {
    let dir = TempDir::new().unwrap();
    let made = std::sync::atomic::AtomicUsize::new(0);
    let options = RedbOptions { feed_kept: REACH, queue: 4, ..RedbOptions::default() };
    let make = async || {
        let n = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        sealed(RedbStore::open_with(&dir.path().join(n.to_string()), options.clone()).unwrap(), A).await
    };
    store::conformance::run(make, REACH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_every_promise_of_the_trait_over_a_shared_server() {
    let options = RedisStoreOptions { feed_kept: REACH, ..RedisStoreOptions::default() };
    let make = async || sealed(open(&ALWAYS.url(), &prefix(), options.clone()).await.unwrap(), A).await;
    store::conformance::run(make, REACH).await;
}

/// What a subject's enrolment puts down, as bytes that a search would find.
fn traces(subject: &str) -> [Vec<u8>; 3] {
    let template = face(subject).1.to_bytes();
    [subject.as_bytes().to_vec(), b"access_control".to_vec(), template]
}

#[tokio::test]
async fn files_of_the_embedded_engine_show_nothing_even_to_who_has_its_keys() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let f = on(None, sealed(RedbStore::open(&path).unwrap(), A).await).await;
    f.enrol(&enrolment("zq-anna", 2)).await;
    let space = f.templates.space().clone();
    drop(f);
    // The engine's own seal is opened: what is below it is sealed still.
    let engine = RedbStore::open(&path).unwrap();
    let mut records = Vec::new();
    for space in engine.spaces().await.unwrap() {
        records.extend(engine.scan(&space, "", None, 1_000).await.unwrap().records);
    }
    assert!(records.len() > 10);
    for trace in traces("zq-anna") {
        let shown = records.iter().find(|(_, r)| r.value.windows(trace.len()).any(|w| w == trace));
        assert!(shown.is_none(), "{shown:?}");
    }
    let pepper = engine.get(&Space::system(), "pepper").await.unwrap().unwrap();
    assert!(pepper.value.len() > 32, "the secret of the handles is sealed as well");
    assert!(engine.keys(&space, "v/", None, 9).await.unwrap().keys.len() == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_server_show_nothing_and_nothing_opens_after_an_erasure() {
    let server = RedisServer::start();
    let open = async || {
        let inner = common::open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap();
        sealed(inner, A).await
    };
    let f = on(None, open().await).await;
    f.enrol(&enrolment("zq-anna", 2)).await;
    f.enrol(&enrolment("zq-otto", 1)).await;
    let shows = |trace: &[u8]| files_with(server.data_dir(), trace);
    // Before and after the server has written its files anew, and in a dump.
    for order in [None, Some(&["BGREWRITEAOF"][..]), Some(&["SAVE"])] {
        if let Some(order) = order {
            let _ = server.command(order);
        }
        for trace in traces("zq-anna") {
            assert_eq!(shows(&trace), 0, "{order:?}");
        }
    }
    let h = f.subjects.handle(&id("zq-anna"));
    let space = f.templates.space().clone();
    let engine = common::open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap();
    let before = engine.scan(&space, "", None, 1_000).await.unwrap().records;
    let of_anna: Vec<_> = before.iter().filter(|(key, _)| key.contains(&h.to_string())).collect();
    assert!(of_anna.iter().any(|(key, _)| *key == format!("~key/{h}")) && of_anna.len() >= 8, "{of_anna:?}");
    assert!(of_anna.iter().all(|(_, r)| shows(&r.value) > 0), "the search finds what is there");
    f.subjects.delete_subject(&id("zq-anna"), None, NOW).await.unwrap();
    for (key, record) in &of_anna {
        assert_eq!(shows(&record.value), 0, "{key}");
    }
    // A thief who kept her sealed records puts them back: with the key-encryption key, but without her data key.
    let kept = of_anna.iter().filter(|(key, _)| !key.starts_with('~'));
    let put_back = kept.fold(Commit::new(), |c, (key, r)| c.put(key.clone(), r.value.clone()));
    engine.commit(&space, put_back).await.unwrap();
    let thief = beside(None, open().await).await;
    assert!(thief.subjects.faces(&id("zq-anna")).await.unwrap().is_empty());
    assert!(thief.subjects.consents(&id("zq-anna")).await.unwrap().is_empty());
    let (rows, _) = thief.templates.scan_templates(None, 100).await.unwrap();
    assert_eq!(rows.len(), 1, "the other's alone");
}

fn refusal(result: Result<SealedStore, StoreError>) -> String {
    match result {
        Err(StoreError::Sealing(why)) => why,
        other => panic!("it should have been refused: {other:?}"),
    }
}

#[tokio::test]
async fn another_key_no_key_and_an_unsealed_store_are_refused_and_change_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let engine: Arc<dyn Store> = Arc::new(RedbStore::open(&path).unwrap());
    let own = SealedStore::open(engine.clone(), ring(A)).await.unwrap();
    own.commit(&Space::system(), Commit::new().put("k", "v")).await.unwrap();
    let before = engine.revision(&Space::system()).await.unwrap();
    let why = refusal(SealedStore::open(engine.clone(), ring(B)).await);
    assert!(why.contains(&ring(A).active().to_string()) && why.contains("backup"), "{why}");
    assert!(!why.contains(A) && !why.contains(B), "{why}");
    match SealedStore::refuse_sealed(&*engine).await {
        Err(StoreError::Sealing(why)) => assert!(why.contains(&ring(A).active().to_string()), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(engine.revision(&Space::system()).await.unwrap(), before, "nothing was written");
    let again = SealedStore::open(engine, ring(&format!("{B}\n{A}"))).await.unwrap();
    assert_eq!(again.get(&Space::system(), "k").await.unwrap().unwrap().value, "v");

    let plain: Arc<dyn Store> = Arc::new(RedbStore::open(&dir.path().join("plain")).unwrap());
    SealedStore::refuse_sealed(&*plain).await.unwrap();
    plain.commit(&Space::system(), Commit::new().put("pepper", vec![7; 32])).await.unwrap();
    assert!(refusal(SealedStore::open(plain.clone(), ring(A)).await).contains("not sealed"));
    assert_eq!(plain.keys(&Space::system(), "", None, 9).await.unwrap().keys, ["pepper"]);
}

#[tokio::test]
async fn a_value_that_was_changed_or_moved_is_damaged_and_others_are_not() {
    let dir = TempDir::new().unwrap();
    let engine: Arc<dyn Store> = Arc::new(RedbStore::open(&dir.path().join("store")).unwrap());
    let store = SealedStore::open(engine.clone(), ring(A)).await.unwrap();
    let s = Space::tenant(&"acme".parse().unwrap());
    store.commit(&s, Commit::new().put("a", "1").put("b", "2")).await.unwrap();
    let taken = engine.get(&s, "a").await.unwrap().unwrap().value;
    let mut changed = taken.to_vec();
    changed[40] ^= 1;
    for value in [taken.to_vec(), changed, b"plain text that was never sealed by anybody at all".to_vec()] {
        engine.commit(&s, Commit::new().put("b", value)).await.unwrap();
        match store.get(&s, "b").await {
            Err(StoreError::Damaged { key, .. }) => assert_eq!(key, "b"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.get(&s, "a").await.unwrap().unwrap().value, "1");
}

async fn nobody_writes_under_a_destroyed_key(f: Fixture) {
    f.enrol(&enrolment("anna", 1)).await;
    let space = f.templates.space().clone();
    let h = f.subjects.handle(&id("anna"));
    let key = format!("v/{h}/late");
    // Both processes have her key at hand when the other erases her.
    f.store.get(&space, &format!("s/{h}")).await.unwrap().unwrap();
    let late = Commit::new().put(&key, "late");
    let conditional = late.clone().when(Precondition::Present(format!("s/{h}")));
    f.subjects.delete_subject(&id("anna"), None, NOW).await.unwrap();
    match f.store.commit(&space, conditional).await {
        Err(StoreError::Precondition { key }) => assert_eq!(key, format!("s/{h}")),
        other => panic!("{other:?}"),
    }
    // Whoever insists on nothing gets a key of its own, and can be read.
    f.store.commit(&space, late).await.unwrap();
    assert_eq!(f.store.get(&space, &key).await.unwrap().unwrap().value, "late");
    let names = f.all_keys().await;
    assert!(names.iter().all(|n| !n.contains("~key")), "{names:?}");
}

async fn the_feed_and_scans_show_no_wrapped_keys(f: Fixture) {
    let space = f.templates.space().clone();
    let before = f.store.revision(&space).await.unwrap();
    f.enrol(&enrolment("anna", 3)).await;
    let Changes::Since(told) = f.store.changes(&space, before, 10).await.unwrap() else { panic!("trimmed") };
    assert!(told.len() == 1 && told[0].keys.iter().all(|k| !k.starts_with('~')), "{told:?}");
    assert!(told[0].keys.iter().filter(|k| k.starts_with("v/")).count() == 3);
    for prefix in ["", "~", "~key"] {
        let page = f.store.scan(&space, prefix, None, 1_000).await.unwrap();
        assert!(page.records.iter().all(|(k, _)| !k.starts_with('~')) && !page.more);
        assert_eq!(page.records.is_empty(), !prefix.is_empty());
    }
    let h = f.subjects.handle(&id("anna"));
    assert_eq!(f.store.get(&space, &format!("~key/{h}")).await.unwrap(), None);
    let named = Commit::new().put(format!("~key/{h}"), "mine");
    assert!(matches!(f.store.commit(&space, named).await, Err(StoreError::Unavailable(_))));
    f.collections.delete(&f.tenant, &"staff".parse().unwrap(), None).await.unwrap();
    assert!(f.all_keys().await.is_empty());
}

mod redb {
    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_writes_under_a_destroyed_key() {
        super::nobody_writes_under_a_destroyed_key(super::on_sealed_redb().await).await;
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn the_feed_and_scans_show_no_wrapped_keys() {
        super::the_feed_and_scans_show_no_wrapped_keys(super::on_sealed_redb().await).await;
    }
}
mod redis {
    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_writes_under_a_destroyed_key() {
        super::nobody_writes_under_a_destroyed_key(super::on_sealed_redis().await).await;
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn the_feed_and_scans_show_no_wrapped_keys() {
        super::the_feed_and_scans_show_no_wrapped_keys(super::on_sealed_redis().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_by_another_process_is_noticed_by_who_has_the_key_at_hand() {
    let prefix = prefix();
    let open = async || {
        let inner = common::open(&ALWAYS.url(), &prefix, RedisStoreOptions::default()).await.unwrap();
        sealed(inner, A).await
    };
    let here = on(None, open().await).await;
    let there = beside(None, open().await).await;
    for round in 0..4 {
        here.enrol(&enrolment("anna", 1)).await;
        assert_eq!(there.subjects.faces(&id("anna")).await.unwrap().len(), 1, "round {round}");
        here.subjects.delete_subject(&id("anna"), None, NOW).await.unwrap();
        // Enrolled anew at once, under another key than the one at hand there.
        here.enrol(&enrolment("anna", 2)).await;
        assert_eq!(there.subjects.faces(&id("anna")).await.unwrap().len(), 2, "round {round}");
        assert!(there.subjects.get(&id("anna")).await.is_ok());
        there.subjects.delete_subject(&id("anna"), None, NOW).await.unwrap();
        assert!(here.subjects.faces(&id("anna")).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_beside_writers_leaves_nothing_to_the_former_key() {
    let server = RedisServer::start();
    let open = async |keys: &str| {
        let inner = common::open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap();
        SealedStore::open(Arc::new(inner), ring(keys)).await.unwrap()
    };
    let f = on(None, Arc::new(open(A).await)).await;
    for n in 0..12 {
        f.enrol(&enrolment(&format!("s{n}"), 1)).await;
    }
    let both = format!("{B}\n{A}");
    let engine = common::open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap();
    let wrapped = engine.get(&Space::system(), "~key").await.unwrap().unwrap().value;
    assert!(files_with(server.data_dir(), &wrapped) > 0);
    // Everybody has both keys by now and goes on: enrols, erases, changes.
    let busy = beside(None, Arc::new(open(&both).await)).await;
    let writer = tokio::spawn(async move {
        for n in 0..12 {
            busy.enrol(&enrolment(&format!("t{n}"), 1)).await;
            busy.subjects.delete_subject(&id(&format!("s{n}")), None, NOW).await.unwrap();
        }
        busy
    });
    let rotating = open(&both).await;
    while !writer.is_finished() {
        rotating.rewrap().await.unwrap();
    }
    let busy = writer.await.unwrap();
    rotating.rewrap().await.unwrap();
    assert_eq!(rotating.rewrap().await.unwrap().keys, 0, "nothing is left to do");
    let counts = rotating.wrapped_by().await.unwrap();
    // Twelve subjects, and a key for each of the three spaces.
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(ring(B).active(), 15)]);
    assert_eq!(files_with(server.data_dir(), &wrapped), 0, "the former wrap is in no file");
    // The old key is put away. Nothing was lost.
    let after = beside(None, Arc::new(open(B).await)).await;
    assert_eq!(after.count().await, (12, 12));
    for n in 0..12 {
        assert_eq!(after.subjects.faces(&id(&format!("t{n}"))).await.unwrap().len(), 1);
    }
    let inner = common::open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap();
    assert!(refusal(SealedStore::open(Arc::new(inner), ring(A)).await).contains(&ring(B).active().to_string()));
    drop(busy);
}

#[tokio::test]
async fn a_rotation_that_was_broken_off_goes_on_where_it_was() {
    let dir = TempDir::new().unwrap();
    let engine: Arc<dyn Store> = Arc::new(RedbStore::open(&dir.path().join("store")).unwrap());
    let f = on(None, Arc::new(SealedStore::open(engine.clone(), ring(A)).await.unwrap())).await;
    for n in 0..5 {
        f.enrol(&enrolment(&format!("s{n}"), 1)).await;
    }
    // As if it had ended in the middle of the collection: two subjects are wrapped anew, the rest is not.
    let rotating = SealedStore::open(engine.clone(), ring(&format!("{B}\n{A}"))).await.unwrap();
    let done = rotating.rewrap().await.unwrap();
    assert_eq!(done, Rewrapped { spaces: 3, keys: 8 });
    let back = SealedStore::open(engine.clone(), ring(&format!("{A}\n{B}"))).await.unwrap();
    let space = f.templates.space().clone();
    for n in 0..3 {
        let h = f.subjects.handle(&id(&format!("s{n}")));
        let name = format!("~key/{h}");
        let record = engine.get(&space, &name).await.unwrap().unwrap();
        let place = seal::context(&["record", space.as_str(), &name]);
        let key = ring(B).unwrap(&record.value, &place).unwrap();
        let commit = Commit::new().put(&name, ring(A).wrap(&key, &place).unwrap());
        engine.commit(&space, commit).await.unwrap();
    }
    assert_eq!(back.wrapped_by().await.unwrap().into_values().collect::<Vec<_>>().iter().sum::<usize>(), 8);
    // Started with the new key alone it says which one is missing, and for what it has it goes on.
    let new = SealedStore::open(engine.clone(), ring(B)).await.unwrap();
    match new.rewrap().await {
        Err(StoreError::Sealing(why)) => assert!(why.contains(&ring(A).active().to_string()), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(rotating.rewrap().await.unwrap().keys, 3);
    let after = beside(None, Arc::new(SealedStore::open(engine, ring(B)).await.unwrap())).await;
    assert_eq!(after.count().await, (5, 5));
    assert_eq!(after.subjects.faces(&id("s1")).await.unwrap().len(), 1);
}

/// Pages of scans, with keys at hand and without, as a gallery reads them.
/// `cargo test --release --workspace --test store -- --ignored --nocapture sealed::scans`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn scans_of_a_large_collection() {
    const SUBJECTS: u32 = 100_000;
    async fn filled(store: &dyn Store) -> Space {
        let space = Space::collection(&"acme".parse().unwrap(), &"staff".parse().unwrap());
        for batch in 0..SUBJECTS / 500 {
            let rows =
                (0..500).map(|n| u128::from(batch * 500 + n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
            let commit = rows.fold(Commit::new(), |c, h| c.put(format!("v/{h:032x}/face"), vec![7; 1_040]));
            store.commit(&space, commit).await.unwrap();
        }
        space
    }
    async fn scan(name: &str, store: &dyn Store, space: &Space) {
        let (began, mut rows, mut after) = (std::time::Instant::now(), 0, None::<String>);
        loop {
            let page = store.scan(space, "v/", after.as_deref(), 4_096).await.unwrap();
            rows += page.records.len();
            after = page.records.into_iter().next_back().map(|(k, _)| k);
            if !page.more {
                break;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        eprintln!("{name}: {rows} rows in {seconds:.2} s, {:.0}/s", f64::from(SUBJECTS) / seconds);
    }
    let dir = TempDir::new().unwrap();
    let at = |name: &str| -> std::path::PathBuf { Path::join(dir.path(), name) };
    let plain = RedbStore::open(&at("plain")).unwrap();
    let over_redb = sealed(RedbStore::open(&at("sealed")).unwrap(), A).await;
    let redis = fresh().await;
    let over_redis = sealed(fresh().await, A).await;
    let stores: [(&str, &dyn Store); 4] =
        [("redb", &plain), ("redb, sealed", &*over_redb), ("redis", &redis), ("redis, sealed", &*over_redis)];
    for (name, store) in stores {
        let space = filled(store).await;
        for _ in 0..2 {
            scan(name, store, &space).await;
        }
        assert!(store.revision(&space).await.unwrap() > Revision(0) && Timestamp::now().as_millis() > 0);
    }
}
