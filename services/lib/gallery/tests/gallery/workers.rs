//! Several workers, each with galleries and a store of its own, on one shared server: what one acknowledges holds for
//! all, also after the server lost what it had.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use testkit::RedisServer;
use visavis_gallery::{Galleries, GalleryError, GalleryOptions};

use crate::common::{enrolled::*, *};

const KEPT: u64 = 10_000;

/// One worker: the collection through its own store, its galleries, its directory.
struct Worker {
    e: Enrolled,
    g: Galleries,
    dir: tempfile::TempDir,
}

impl Worker {
    fn new(e: Enrolled) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = GalleryOptions { snapshots: Some(dir.path().to_owned()), ..Default::default() };
        Self { g: Galleries::new(Arc::clone(&e.store), options), e, dir }
    }

    /// The same worker after a restart.
    fn restarted(self) -> Self {
        let options = GalleryOptions { snapshots: Some(self.dir.path().to_owned()), ..Default::default() };
        Self { g: Galleries::new(Arc::clone(&self.e.store), options), ..self }
    }

    async fn finds(&self, seed: u64) -> bool {
        !self.e.faces(&self.g, seed).await.is_empty()
    }

    fn snapshots(&self) -> Vec<PathBuf> {
        fs::read_dir(self.dir.path()).unwrap().map(|f| f.unwrap().path()).collect()
    }
}

async fn workers(n: usize, server: &RedisServer, feed_kept: u64) -> Vec<Worker> {
    let prefix = prefix();
    let first = Enrolled::new(&shared(&server.url(), &prefix, feed_kept).await, "staff").await;
    let mut all = Vec::new();
    for _ in 1..n {
        all.push(Worker::new(first.beside(&shared(&server.url(), &prefix, feed_kept).await).await));
    }
    all.push(Worker::new(first));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_enrols_or_erases_every_other_finds_or_no_longer_finds_at_once() {
    let all = workers(3, &SERVER, KEPT).await;
    for n in 0..12u16 {
        let seed = u64::from(n);
        all[usize::from(n) % 3].e.enrol(n, u32::from(n), seed).await;
        for w in &all {
            assert!(w.finds(seed).await);
        }
    }
    for w in &all {
        w.g.save_all().await.unwrap();
        assert_eq!(w.snapshots().len(), 1);
    }
    all[0].e.delete_subject(3).await;
    assert!(!all[1].finds(3).await);
    assert!(all[1].snapshots().is_empty(), "its snapshot held the row");
    assert_eq!(all[2].snapshots().len(), 1, "another worker's is not its to touch");
    assert!(!all[2].finds(3).await && all[2].snapshots().is_empty());
    all[2].e.label(4, &[("site", "north")]).await;
    for w in &all {
        let hits = w.e.find(&w.g, 4).await.unwrap();
        assert_eq!(hits[0].subject.metadata, metadata(&[("site", "north")]));
    }
    all[1].e.delete_collection().await;
    for w in &all {
        assert!(matches!(w.e.find(&w.g, 5).await, Err(GalleryError::CollectionNotFound(_))));
        assert!(w.snapshots().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_fell_behind_a_trimmed_feed_reads_afresh() {
    let all = workers(2, &SERVER, 3).await;
    all[0].e.enrol(1, 10, 1).await;
    assert!(all[0].finds(1).await && all[1].finds(1).await);
    for n in 2..12 {
        all[0].e.enrol(n, u32::from(n) * 10, u64::from(n)).await;
    }
    all[0].e.delete_subject(1).await;
    for n in 12..20 {
        all[0].e.enrol(n, u32::from(n) * 10, u64::from(n)).await;
    }
    for w in &all {
        assert!(!w.finds(1).await);
        for n in 2..20 {
            assert!(w.finds(n).await);
        }
    }
}

/// Copies a folder of folders.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_last_commits_is_believed_all_the_same() {
    // As many commits as were lost are made anew, or fewer, or more.
    for (lost, anew) in [(3u16, 3u16), (3, 1), (1, 4)] {
        let mut server = RedisServer::start();
        let mut all = workers(2, &server, KEPT).await;
        for n in 0..5u16 {
            all[0].e.enrol(n, u32::from(n), u64::from(n)).await;
        }
        assert!(all[0].finds(4).await && all[1].finds(4).await);
        server.kill();
        let backup = tempfile::tempdir().unwrap();
        copy(server.data_dir(), backup.path());
        server.restart();
        for n in 0..lost {
            all[0].e.enrol(100 + n, 100 + u32::from(n), 100 + u64::from(n)).await;
        }
        assert!(all[0].finds(100).await && all[1].finds(100).await);
        all[0].g.save_all().await.unwrap();
        server.kill();
        for entry in fs::read_dir(server.data_dir()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        copy(backup.path(), server.data_dir());
        server.restart();
        for n in 0..anew {
            all[1].e.enrol(200 + n, 200 + u32::from(n), 200 + u64::from(n)).await;
        }
        let first = all.remove(0).restarted();
        for w in [&first, &all[0]] {
            assert!(!w.finds(100).await, "lost {lost}, {anew} anew: a face that the store does not have");
            assert!(w.finds(4).await && w.finds(200).await, "lost {lost}, {anew} anew");
        }
    }
}

/// Reproducible and evenly spread.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % sides
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_steps_on_three_workers_agree_with_what_was_acknowledged() {
    let all = workers(3, &SERVER, 40).await;
    let mut dice = Dice(0x5EED_1234_5678);
    // Face → subject; a face looks like its own number.
    let mut enrolled: BTreeMap<u32, u16> = BTreeMap::new();
    for step in 0..1_000u32 {
        let w = &all[dice.roll(3) as usize];
        let any = enrolled.keys().nth(dice.roll(enrolled.len().max(1) as u64) as usize).copied();
        match (dice.roll(20), any) {
            (0..=7, _) | (_, None) => {
                let subject = u16::try_from(dice.roll(30)).unwrap();
                w.e.enrol(subject, step, u64::from(step)).await;
                enrolled.insert(step, subject);
            }
            (8..=10, Some(face)) => {
                w.e.delete_face(enrolled[&face], face).await;
                enrolled.remove(&face);
            }
            (11, Some(face)) => {
                let subject = enrolled[&face];
                w.e.delete_subject(subject).await;
                enrolled.retain(|_, s| *s != subject);
            }
            (12, _) => w.g.save_all().await.unwrap(),
            (13, _) => w.g.maintain().await.unwrap(),
            (14, _) => w.g.let_go_all().await,
            (15, Some(face)) => w.e.label(enrolled[&face], &[("step", &step.to_string())]).await,
            _ => {}
        }
        let asked = u32::try_from(dice.roll(u64::from(step) + 1)).unwrap();
        let (asker, newest) = (&all[dice.roll(3) as usize], any.unwrap_or(step));
        for face in [asked, newest, step] {
            let found = asker.e.faces(&asker.g, u64::from(face)).await;
            let expected: Vec<_> = enrolled.contains_key(&face).then(|| face_id(face)).into_iter().collect();
            assert_eq!(found, expected, "step {step}, face {face}");
        }
    }
    for w in &all {
        assert!(w.finds(u64::from(*enrolled.keys().next().unwrap())).await);
        assert_eq!(w.g.stats().rows, enrolled.len());
    }
}

/// `cargo test --workspace --test gallery -- --ignored --nocapture bootstrap`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn bootstrap() {
    use store::{Commit, Templates};
    let server = RedisServer::start_with(testkit::RedisOptions {
        appendfsync: Some("everysec"),
        ..testkit::RedisOptions::default()
    });
    let e = Enrolled::new(&shared(&server.url(), "m", 100).await, "staff").await;
    let space = Templates::new(Arc::clone(&e.store), &e.tenant, &e.collection).space().clone();
    // One subject's record serves as everybody's.
    e.enrol(0, 0, 0).await;
    let subject = e.store.scan(&space, "s/", None, 1).await.unwrap().records.remove(0).1.value;
    const ROWS: u32 = 100_000;
    for first in (0..ROWS).step_by(2_000) {
        let commit = (first..first + 2_000).fold(Commit::new(), |c, n| {
            let handle = format!("{n:032x}");
            let key = format!("v/{handle}/{}", face_id(n));
            c.put(format!("s/{handle}"), subject.clone()).put(key, template(1, u64::from(n), DIM).to_bytes())
        });
        e.store.commit(&space, commit).await.unwrap();
    }
    let w = Worker::new(e);
    let began = Instant::now();
    assert!(w.finds(77_777).await);
    let took = began.elapsed().as_secs_f64();
    eprintln!("from the store: {:.0} rows/s", f64::from(ROWS) / took);
    w.g.save_all().await.unwrap();
    let w = w.restarted();
    let began = Instant::now();
    assert!(w.finds(77_777).await);
    eprintln!("from a snapshot: {:.0} rows/s", f64::from(ROWS) / began.elapsed().as_secs_f64());
    let began = Instant::now();
    for _ in 0..200 {
        w.g.current(&w.e.tenant, &w.e.collection, contract(1)).await.unwrap();
    }
    eprintln!("caught up already: {:?} a search", began.elapsed() / 200);
    let (mut follow, rounds) = (std::time::Duration::ZERO, 20);
    for n in 0..rounds {
        w.e.enrol(1_000 + n, 200_000 + u32::from(n), 200_000 + u64::from(n)).await;
        let began = Instant::now();
        w.g.current(&w.e.tenant, &w.e.collection, contract(1)).await.unwrap();
        follow += began.elapsed();
    }
    eprintln!("following one enrolment: {:?}", follow / u32::from(rounds));
}
