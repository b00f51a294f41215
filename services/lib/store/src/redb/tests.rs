//! What only the engine itself can check: that keys of erased values are nowhere left, and what a crash between
//! two steps of the writer leaves behind.

use std::collections::{BTreeMap, HashSet};

use ::redb::Database;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    format::{Head, RECORDS, SealingKey, record_key},
    *,
};
use crate::Precondition;

const MARK: &str = "-payload-of-a-person-";

fn block<T>(f: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(f)
}

fn spaces() -> [Space; 3] {
    let (t, c) = ("t".parse().unwrap(), "c".parse().unwrap());
    [Space::system(), Space::tenant(&t), Space::collection(&t, &c)]
}

/// The key a value is sealed with.
fn sealing_key(store: &RedbStore, space: &Space, key: &str) -> Option<SealingKey> {
    let (number, _) = store.reader.spaces.get(space)?;
    let read = store.reader.begin_read().unwrap();
    let table = read.open_table(RECORDS).unwrap();
    let stored = table.get(&record_key(number, key)[..]).unwrap()?;
    Some(store.reader.keys.read(Head::parse(stored.value()).unwrap().slot).unwrap())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|b| *b == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Every 32-byte slot-aligned piece of the key file, and the raw bytes of both files.
struct Raw {
    records: Vec<u8>,
    keys: Vec<u8>,
    slots: HashSet<SealingKey>,
}

impl Raw {
    fn read(path: &Path) -> Self {
        let (records, keys) = (std::fs::read(path).unwrap(), std::fs::read(keys_path(path)).unwrap());
        let slots = keys[4096..].chunks_exact(32).map(|c| c.try_into().unwrap()).collect();
        Self { records, keys, slots }
    }
}

/// A copy of the files as a crash at this moment would leave them.
fn crash_copy(path: &Path) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let copy = dir.path().join("copy");
    std::fs::copy(path, &copy).unwrap();
    std::fs::copy(keys_path(path), keys_path(&copy)).unwrap();
    (dir, copy)
}

#[derive(Clone, Debug)]
enum Step {
    Commit { space: usize, ops: Vec<(u8, Action)> },
    Refused { space: usize },
    Reopen,
    Crash,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Put(usize),
    PutExpired(usize),
    Delete,
    Erase,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![4 => 0usize..3_000, 1 => 60_000usize..70_000];
    let action = prop_oneof![
        5 => size.clone().prop_map(Action::Put),
        1 => size.prop_map(Action::PutExpired),
        1 => Just(Action::Delete),
        2 => Just(Action::Erase),
    ];
    let ops = prop::collection::vec((0u8..6, action), 1..5);
    let step = prop_oneof![
        20 => (0usize..3, ops).prop_map(|(space, ops)| Step::Commit { space, ops }),
        1 => (0usize..3).prop_map(|space| Step::Refused { space }),
        1 => Just(Step::Reopen),
        2 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

/// What should be there, and every key that ever sealed a value of each record.
#[derive(Default)]
struct Model {
    live: BTreeMap<(usize, String), Vec<u8>>,
    sealed_with: BTreeMap<(usize, String), HashSet<SealingKey>>,
    written: usize,
}

impl Model {
    fn commit(&mut self, space: usize, ops: &[(u8, Action)]) -> (Commit, HashSet<(usize, String)>) {
        let (mut commit, mut erased) = (Commit::new(), HashSet::new());
        for (key, action) in ops {
            let (name, at) = (format!("k{key}"), (space, format!("k{key}")));
            self.written += 1;
            let payload = |n: usize| format!("{}{MARK}", self.written).repeat(n / 20 + 1).into_bytes();
            commit = match *action {
                Action::Put(n) => {
                    self.live.insert(at, payload(n));
                    commit.put(name, payload(n))
                }
                Action::PutExpired(n) => {
                    self.live.remove(&at);
                    commit.put_until(name, payload(n), Timestamp::from_millis(5))
                }
                Action::Delete => {
                    self.live.remove(&at);
                    commit.delete(name)
                }
                Action::Erase => {
                    self.live.remove(&at);
                    erased.insert(at);
                    commit.erase(name)
                }
            };
        }
        (commit, erased)
    }

    async fn check(&self, store: &RedbStore) {
        for (s, space) in spaces().iter().enumerate() {
            let page = store.scan(space, "", None, 100).await.unwrap();
            let got: BTreeMap<_, _> = page.records.into_iter().map(|(k, r)| ((s, k), r.value.to_vec())).collect();
            let want = self.live.iter().filter(|((at, _), _)| *at == s).map(|(k, v)| (k.clone(), v.clone()));
            assert!(got == want.collect(), "live values differ in {space:?}");
        }
    }
}

fn run(steps: Vec<Step>) {
    block(async {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("store");
        let mut store = RedbStore::open(&path).unwrap();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Commit { space, ops } => {
                    let (commit, erased) = model.commit(space, &ops);
                    store.commit(&spaces()[space], commit).await.unwrap();
                    let raw = Raw::read(&path);
                    assert!(!contains(&raw.records, MARK.as_bytes()) && !contains(&raw.keys, MARK.as_bytes()));
                    for at in &erased {
                        for key in model.sealed_with.remove(at).unwrap_or_default() {
                            assert!(!raw.slots.contains(&key), "a key of {at:?} outlived its erasure");
                            assert!(!contains(&raw.records, &key), "a key was written beside the records");
                        }
                    }
                    for (key, _) in ops {
                        let at = (space, format!("k{key}"));
                        let used = sealing_key(&store, &spaces()[space], &at.1);
                        model.sealed_with.entry(at).or_default().extend(used);
                    }
                }
                Step::Refused { space } => {
                    let commit = Commit::new().when(Precondition::Present("never".into())).put("k0", "no").erase("k1");
                    store.commit(&spaces()[space], commit).await.unwrap_err();
                }
                Step::Reopen => {
                    drop(store);
                    store = RedbStore::open(&path).unwrap();
                }
                Step::Crash => {
                    let (_dir, copy) = crash_copy(&path);
                    model.check(&RedbStore::open(&copy).unwrap()).await;
                    assert!(Database::open(&copy).unwrap().check_integrity().unwrap());
                }
            }
            model.check(&store).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn erased_values_are_gone_from_the_files_and_all_others_live_on(steps in steps()) {
        run(steps);
    }
}

#[test]
fn a_crash_between_removal_and_destruction_is_made_good_at_the_next_open() {
    block(async {
        let dir = TempDir::new().unwrap();
        let (path, s) = (dir.path().join("store"), Space::system());
        let store = RedbStore::open(&path).unwrap();
        store.commit(&s, Commit::new().put("gone", "g").put("kept", "k")).await.unwrap();
        let key = sealing_key(&store, &s, "gone").unwrap();
        let before = std::fs::read(keys_path(&path)).unwrap();
        store.commit(&s, Commit::new().erase("gone")).await.unwrap();
        let (_copies, copy) = crash_copy(&path);
        std::fs::write(keys_path(&copy), before).unwrap();
        assert!(Raw::read(&copy).slots.contains(&key), "the case under test");
        let again = RedbStore::open(&copy).unwrap();
        assert!(!Raw::read(&copy).slots.contains(&key));
        assert_eq!(again.get(&s, "kept").await.unwrap().unwrap().value, "k");
        assert_eq!(again.get(&s, "gone").await.unwrap(), None);
    });
}

#[test]
fn a_crash_between_keys_and_records_leaves_no_key_behind() {
    block(async {
        let dir = TempDir::new().unwrap();
        let (path, s) = (dir.path().join("store"), Space::system());
        let store = RedbStore::open(&path).unwrap();
        store.commit(&s, Commit::new().put("a", "1")).await.unwrap();
        let before = std::fs::read(&path).unwrap();
        store.commit(&s, Commit::new().put("b", "2")).await.unwrap();
        let key = sealing_key(&store, &s, "b").unwrap();
        let (_copies, copy) = crash_copy(&path);
        std::fs::write(&copy, before).unwrap();
        let again = RedbStore::open(&copy).unwrap();
        assert!(!Raw::read(&copy).slots.contains(&key));
        assert_eq!(again.get(&s, "a").await.unwrap().unwrap().value, "1");
        assert_eq!(again.get(&s, "b").await.unwrap(), None);
        again.commit(&s, Commit::new().put("b", "3")).await.unwrap();
        assert_eq!(again.get(&s, "b").await.unwrap().unwrap().value, "3");
    });
}

#[test]
fn a_reader_that_meets_a_destroyed_key_looks_again_and_reports_real_damage() {
    block(async {
        let dir = TempDir::new().unwrap();
        let (path, s) = (dir.path().join("store"), Space::system());
        let store = RedbStore::open(&path).unwrap();
        store.commit(&s, Commit::new().put("a", "1").put("b", "2")).await.unwrap();
        store.reader.keys.destroy(&[0]).unwrap();
        let found = (store.get(&s, "a").await, store.get(&s, "b").await);
        assert!(matches!(found.0, Err(StoreError::Damaged { key, .. }) if key == "a"));
        assert_eq!(found.1.unwrap().unwrap().value, "2");
    });
}

#[test]
fn sealed_values_do_not_open_in_another_place() {
    let head = Head { version: Revision(3), expires_at: None, slot: 9 };
    let sealed = head.seal(b"here", b"value", &[7; 32]).unwrap();
    assert_eq!(format::unseal(b"here", &sealed, &[7; 32]).unwrap(), b"value");
    assert_eq!(format::unseal(b"there", &sealed, &[7; 32]), None);
    assert_eq!(format::unseal(b"here", &sealed, &[8; 32]), None);
    for i in 0..sealed.len() {
        let mut bent = sealed.clone();
        bent[i] ^= 1;
        assert_eq!(format::unseal(b"here", &bent, &[7; 32]), None, "byte {i}");
        assert_eq!(format::unseal(b"here", &sealed[..i], &[7; 32]), None, "cut at {i}");
    }
}
