//! Who is found is decided by consent at the moment of the search: on a real store, on several workers, after a restart,
//! with clocks that are set back; and by the index against a naive reference over random histories.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::{Consent, ConsentDraft, FaceId, Purpose, Timestamp};
use store::{Consents, Pepper};
use visavis_gallery::{FlatIndex, Galleries, GalleryOptions, Index, Permit, Query, Row, SubjectEntry, Terms};

use crate::common::{enrolled::*, *};

const KEPT: u64 = 10_000;

fn purpose(name: &str) -> Purpose {
    name.parse().unwrap()
}

fn consent(e: &Enrolled, subject: u16, purposes: &[&str], end: Option<Timestamp>) -> Consent {
    let draft = ConsentDraft {
        purposes: purposes.iter().map(|p| purpose(p)).collect(),
        method: "web_form".into(),
        kind: None,
        training_allowed: false,
        notice: None,
        minor: false,
        guardian: None,
        obtained_at: None,
        expires_at: end,
    };
    draft.record(e.collection.clone(), subject_id(subject), Timestamp::from_millis(0))
}

/// Faces that look like `seed`, how many rows and how many subjects were compared.
async fn found(e: &Enrolled, g: &Galleries, seed: u64, what: (&str, Timestamp)) -> (Vec<FaceId>, usize, usize) {
    let gallery = g.current(&e.tenant, &e.collection, contract(1)).await.unwrap();
    let (probe, purpose) = (direction(seed, DIM), purpose(what.0));
    let permit = Some(Permit { purpose: &purpose, at: what.1 });
    let hits = gallery.index().search(&Query { min_score: Some(0.95), permit, ..Query::new(&probe, 5) }).unwrap();
    (hits.hits.into_iter().map(|h| h.face_id).collect(), hits.compared_rows, hits.compared_subjects)
}

#[tokio::test]
async fn consents_decide_at_every_search_whom_it_may_find() {
    let dir = tempfile::tempdir().unwrap();
    let e = Enrolled::new(&open(dir.path(), KEPT), "staff").await;
    let galleries = || Galleries::new(Arc::clone(&e.store), GalleryOptions::default());
    let (g, other) = (galleries(), galleries());
    let noon = Timestamp::from_millis(1_000_000);
    let (before, after) = (Timestamp::from_millis(999_999), noon.plus(Duration::from_secs(60)));
    for (subject, seed) in [(1, 1), (2, 2), (3, 3)] {
        e.enrol(subject, u32::from(subject) * 10, seed).await;
    }
    e.enrol(1, 11, 4).await;
    let nobody = (vec![], 0, 0);
    assert_eq!(found(&e, &g, 1, ("access", before)).await, nobody, "nobody has consented to anything");

    let short = consent(&e, 1, &["access"], Some(noon));
    let both = consent(&e, 2, &["access", "payroll"], None);
    for consent in [&short, &both] {
        e.subjects.record_consent(consent).await.unwrap();
    }
    for g in [&g, &other, &galleries()] {
        assert_eq!(found(&e, g, 1, ("access", before)).await, (vec![face_id(10)], 3, 2));
        assert_eq!(found(&e, g, 3, ("access", before)).await, (vec![], 3, 2), "never consented");
        assert_eq!(found(&e, g, 1, ("payroll", before)).await, (vec![], 1, 1), "consented to something else");
        assert_eq!(found(&e, g, 2, ("payroll", before)).await, (vec![face_id(20)], 1, 1));
        assert_eq!(found(&e, g, 2, ("marketing", before)).await, nobody);
        // To the millisecond, and for good, also when the clock is set back.
        assert_eq!(found(&e, g, 1, ("access", noon)).await, (vec![], 1, 1));
        assert_eq!(found(&e, g, 1, ("access", before)).await, (vec![], 1, 1), "came back with the clock");
        assert_eq!(found(&e, g, 2, ("access", after)).await, (vec![face_id(20)], 1, 1));
    }

    // A new consent holds from the next search on, a withdrawal ends it at once.
    e.subjects.record_consent(&consent(&e, 1, &["access"], None)).await.unwrap();
    for g in [&g, &other] {
        assert_eq!(found(&e, g, 1, ("access", after)).await, (vec![face_id(10)], 3, 2));
    }
    let pepper = Pepper::load(&*e.store).await.unwrap();
    let consents = Consents::new(Arc::clone(&e.store), pepper, e.tenant.clone());
    consents.record(&consent(&e, 2, &["access"], None)).await.unwrap();
    let withdrawn = consents.withdraw(&both.id, after).await.unwrap();
    assert_eq!(withdrawn.faces_erased, 0, "the other one still serves the collection's purpose");
    for g in [&g, &other] {
        assert_eq!(found(&e, g, 2, ("access", after)).await.0, [face_id(20)]);
        assert_eq!(found(&e, g, 2, ("payroll", after)).await, nobody);
    }
}

#[tokio::test]
async fn a_gallery_from_its_snapshot_knows_what_was_consented_to_since() {
    let (dir, snapshots) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let e = Enrolled::new(&open(dir.path(), KEPT), "staff").await;
    let options = GalleryOptions { snapshots: Some(snapshots.path().to_owned()), ..GalleryOptions::default() };
    let (now, later) = (Timestamp::from_millis(1_000), Timestamp::from_millis(2_000));
    e.enrol(1, 10, 1).await;
    e.enrol(2, 20, 2).await;
    let first = consent(&e, 1, &["access"], Some(later));
    e.subjects.record_consent(&first).await.unwrap();
    let g = Galleries::new(Arc::clone(&e.store), options.clone());
    assert_eq!(found(&e, &g, 1, ("access", now)).await.0, [face_id(10)]);
    g.save_all().await.unwrap();
    drop(g);
    // Recorded before its subject had a face, too.
    e.subjects.record_consent(&consent(&e, 3, &["access"], None)).await.unwrap();
    e.enrol(3, 30, 3).await;
    e.subjects.record_consent(&consent(&e, 2, &["access"], None)).await.unwrap();
    let g = Galleries::new(Arc::clone(&e.store), options);
    for (seed, face) in [(1, 10), (2, 20), (3, 30)] {
        assert_eq!(found(&e, &g, seed, ("access", now)).await, (vec![face_id(face)], 3, 3));
    }
    assert_eq!(found(&e, &g, 1, ("access", later)).await, (vec![], 2, 2));
    assert_eq!(found(&e, &g, 3, ("access", later)).await.0, [face_id(30)]);
}

#[test]
fn the_galleries_clock_never_runs_backwards() {
    let dir = tempfile::tempdir().unwrap();
    let g = Galleries::new(open(dir.path(), KEPT), GalleryOptions::default());
    let ahead = Timestamp::now().plus(Duration::from_secs(3600));
    assert_eq!(g.not_before(ahead), ahead);
    assert_eq!(g.now(), ahead, "an hour was set back");
}

/// A reproducible number below `n`.
fn below(state: &mut u64, n: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) % n
}

const PURPOSES: [&str; 3] = ["a", "b", "c"];

/// What a subject consented to: the end for each purpose, if it did.
type Ends = [Option<i64>; 3];

fn terms(ends: &Ends) -> Terms {
    let one = |(n, end): (usize, &Option<i64>)| {
        let end = (*end)?;
        let expires_at = (end < i64::MAX).then(|| Timestamp::from_millis(end));
        let draft = ConsentDraft {
            purposes: vec![purpose(PURPOSES[n])],
            method: "m".into(),
            kind: None,
            training_allowed: false,
            notice: None,
            minor: false,
            guardian: None,
            obtained_at: None,
            expires_at,
        };
        Some(draft.record("c".parse().unwrap(), "s".parse().unwrap(), Timestamp::from_millis(0)))
    };
    let consents: Vec<Consent> = ends.iter().enumerate().filter_map(one).collect();
    Terms::of(&consents)
}

/// The index and what it should hold.
struct Both {
    index: FlatIndex,
    subjects: BTreeMap<u16, (Ends, Vec<(u32, u64)>)>,
}

impl Both {
    fn entry(subject: u16, ends: &Ends) -> Arc<SubjectEntry> {
        Arc::new(SubjectEntry { terms: Arc::new(terms(ends)), ..(*entry(subject, &[])).clone() })
    }

    /// One random change.
    fn change(&mut self, random: &mut u64) {
        let subject = u16::try_from(below(random, 40)).unwrap();
        let known = self.subjects.get(&subject).map(|s| s.0);
        let mut ends = known.unwrap_or_default();
        for end in &mut ends {
            if known.is_none() || below(random, 3) == 0 {
                let soon = i64::try_from(below(random, 300)).unwrap();
                *end = [None, Some(i64::MAX), Some(soon), Some(soon)][usize::try_from(below(random, 4)).unwrap()];
            }
        }
        match below(random, 10) {
            0 => {
                self.index.delete_subject(handle(subject));
                self.subjects.remove(&subject);
            }
            1 => {
                if let Some((_, rows)) = self.subjects.get_mut(&subject) {
                    let (face, _) = rows.remove(0);
                    self.index.delete(&[key(subject, face)]);
                    if rows.is_empty() {
                        self.subjects.remove(&subject);
                    }
                }
            }
            2 | 3 => {
                if let Some(known) = self.subjects.get_mut(&subject) {
                    known.0 = ends;
                    self.index.update_subject(handle(subject), Self::entry(subject, &ends));
                }
            }
            _ => {
                let face = u32::from(subject) * 10 + u32::try_from(below(random, 4)).unwrap();
                let seed = below(random, 1_000);
                let template = template(1, seed, DIM);
                let row = Row { key: key(subject, face), template: &template, subject: Self::entry(subject, &ends) };
                self.index.upsert(&[row]).unwrap();
                let known = self.subjects.entry(subject).or_insert((ends, Vec::new()));
                known.0 = ends;
                known.1.retain(|(f, _)| *f != face);
                known.1.push((face, seed));
            }
        }
    }

    /// Searches at a moment and compares with what should be found.
    fn check(&self, which: usize, at: i64, seed: u64) {
        let permitted = self.subjects.iter().filter(|(_, (ends, _))| ends[which].is_some_and(|end| at < end));
        let (mut rows, mut subjects, mut expected) = (0, 0, Vec::new());
        for (subject, (_, faces)) in permitted {
            subjects += 1;
            rows += faces.len();
            expected.extend(faces.iter().filter(|(_, s)| *s == seed).map(|(f, _)| (*subject, face_id(*f))));
        }
        let (purpose, probe) = (purpose(PURPOSES[which]), direction(seed, DIM));
        let permit = Some(Permit { purpose: &purpose, at: Timestamp::from_millis(at) });
        let query = Query { unique_subjects: false, min_score: Some(0.99), permit, ..Query::new(&probe, 100) };
        // As one of all, and by the way of a filter.
        let ids: Vec<_> = (0..40).map(subject_id).collect();
        for query in [query, Query { subjects: Some(&ids), ..query }] {
            let hits = self.index.search(&query).unwrap();
            let mut found: Vec<_> = hits.hits.iter().map(|h| h.face_id.clone()).collect();
            found.sort();
            let mut wanted: Vec<_> = expected.iter().map(|(_, f)| f.clone()).collect();
            wanted.sort();
            assert_eq!(found, wanted, "purpose {which} at {at}");
            assert_eq!((hits.compared_rows, hits.compared_subjects), (rows, subjects), "purpose {which} at {at}");
        }
    }
}

#[test]
fn an_index_finds_and_counts_exactly_those_permitted_at_the_moment() {
    for round in 1..=20u64 {
        let mut random = round.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut both = Both { index: FlatIndex::new(contract(1)), subjects: BTreeMap::new() };
        let mut at = 0;
        for _ in 0..150 {
            both.change(&mut random);
            at += i64::try_from(below(&mut random, 4)).unwrap();
            let which = usize::try_from(below(&mut random, 3)).unwrap();
            let some = both.subjects.values().next().map_or(0, |(_, rows)| rows[0].1);
            both.check(which, at, some);
        }
    }
}

/// What asking for consent costs a search: `cargo test --release --workspace --test gallery -- --ignored --nocapture consent`
#[test]
#[ignore = "a measurement"]
fn a_search_is_as_fast_with_consents_as_without() {
    let (rows, dim) = (100_000u32, 512);
    let index = FlatIndex::with_threads(contract(1), 1);
    let noon = 1_000;
    for n in 0..rows {
        let template = template(1, u64::from(n), dim);
        let subject = u16::try_from(n % 60_000).unwrap();
        // One in ten has consented to this purpose no longer.
        let end = if n % 60_000 % 10 == 0 { noon } else { i64::MAX };
        let subject_entry = Both::entry(subject, &[Some(end), None, None]);
        index.upsert(&[Row { key: key(subject, n), template: &template, subject: subject_entry }]).unwrap();
    }
    let purpose = purpose("a");
    let permit = Some(Permit { purpose: &purpose, at: Timestamp::from_millis(noon) });
    let time = |permit: Option<Permit<'_>>| {
        let began = std::time::Instant::now();
        for seed in 0..100 {
            let probe = direction(seed * 7, dim);
            index.search(&Query { permit, ..Query::new(&probe, 5) }).unwrap();
        }
        began.elapsed().as_secs_f64() * 10.0
    };
    let (first, mut best) = (time(permit), [f64::MAX; 2]);
    for _ in 0..5 {
        best[0] = best[0].min(time(None));
        best[1] = best[1].min(time(permit));
    }
    let [without, with] = best;
    println!("{rows} rows of {dim}: {without:.3} ms without, {with:.3} ms with, {first:.3} ms with the first's count");
    assert!(with < without * 1.1, "{with:.3} ms beside {without:.3} ms");
}
