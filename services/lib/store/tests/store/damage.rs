//! Files of the embedded engine that something else has changed: bits flipped, ends cut off. A record is then read as it
//! was written, or an error says that it cannot be: never another value, never as if it had not been there.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use store::{Commit, RedbStore, Space, Store};
use tempfile::TempDir;
use visavis_store as store;

const RECORDS: usize = 400;

fn value(n: usize) -> Vec<u8> {
    format!("value {n} ").repeat(3 + n % 120).into_bytes()
}

fn spaces() -> [Space; 2] {
    [Space::system(), Space::tenant(&"acme".parse().unwrap())]
}

/// A store that was closed in order, with some history: values replaced, values erased.
async fn made(path: &Path) {
    let store = RedbStore::open(path).unwrap();
    for space in spaces() {
        for chunk in 0..RECORDS / 40 {
            let commit =
                (0..40).fold(Commit::new(), |c, i| c.put(format!("k/{:04}", chunk * 40 + i), "an earlier one"));
            store.commit(&space, commit.put(format!("gone/{chunk}"), value(chunk))).await.unwrap();
        }
        let all = (0..RECORDS).fold(Commit::new(), |c, n| c.put(format!("k/{n:04}"), value(n)));
        store.commit(&space, (0..RECORDS / 40).fold(all, |c, n| c.erase(format!("gone/{n}")))).await.unwrap();
    }
}

/// What damage did: how often the store would not open, and how often it did and some record would not.
#[derive(Debug, Default)]
struct Seen {
    refused: usize,
    records: usize,
    harmless: usize,
}

/// Opens what lies at `path` and reads everything.
fn read(path: &Path, seen: &mut Seen) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let Ok(store) = RedbStore::open(path) else {
        seen.refused += 1;
        return;
    };
    let mut damaged = 0;
    runtime.block_on(async {
        for space in spaces() {
            for n in 0..RECORDS {
                match store.get(&space, &format!("k/{n:04}")).await {
                    Ok(Some(record)) => assert!(record.value == value(n), "another value under k/{n:04}"),
                    Ok(None) => panic!("k/{n:04} reads as if it had never been there"),
                    Err(_) => damaged += 1,
                }
            }
            for n in 0..RECORDS / 40 {
                assert!(!matches!(store.get(&space, &format!("gone/{n}")).await, Ok(Some(_))), "erased and back");
            }
            if let Ok(page) = store.scan(&space, "k/", None, 10 * RECORDS).await {
                assert_eq!(page.records.len(), RECORDS, "a scan left something out without a word");
            }
        }
    });
    if damaged == 0 { seen.harmless += 1 } else { seen.records += 1 }
}

/// The same damage at every run: a test that fails has to fail again.
fn places(seed: u64, below: usize, count: usize) -> Vec<usize> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 11).unwrap_or(0) % below
    };
    std::iter::repeat_with(next).take(count).collect()
}

async fn suffers(count: usize) -> Seen {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    made(&path).await;
    let files = [path.clone(), dir.path().join("store.keys")];
    let whole = [0, 1].map(|i| fs::read(&files[i]).unwrap());
    let mut seen = Seen::default();
    let mut try_with = |which: usize, bytes: &[u8], what: String| {
        for (file, bytes) in files.iter().zip(&whole) {
            fs::write(file, bytes).unwrap();
        }
        fs::write(&files[which], bytes).unwrap();
        let survived = catch_unwind(AssertUnwindSafe(|| {
            std::thread::scope(|s| s.spawn(|| read(&path, &mut seen)).join().map_err(|_| ()))
        }));
        assert!(matches!(survived, Ok(Ok(()))), "{what} of file {which}");
    };
    for which in [0, 1] {
        // Beyond its head the key file is mostly empty.
        let below = if which == 0 { whole[0].len() } else { 4096 + 32 * 900 };
        for at in places(0x5EED + which as u64, below, count) {
            let mut bytes = whole[which].clone();
            bytes[at] ^= 1 << (at % 8);
            try_with(which, &bytes, format!("bit {} of byte {at}", at % 8));
        }
        for at in places(0xC07 + which as u64, whole[which].len(), count / 4) {
            try_with(which, &whole[which][..at], format!("{at} bytes"));
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_and_never_read_as_something_else() {
    let seen = suffers(16).await;
    assert!(seen.refused > 3 && seen.records > 3, "the damage did nothing: {seen:?}");
}

/// `cargo test --release --workspace --test store -- --ignored --nocapture damage`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes"]
async fn a_great_deal_of_damage_is_told_and_never_read_as_something_else() {
    println!("{:?}", suffers(1_500).await);
}
