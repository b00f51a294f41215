//! The index against a naive reference in double precision, over random histories; refusals; erased bytes.

use std::{collections::BTreeMap, sync::Arc};

use domain::{Metadata, SubjectId, Template};
use proptest::prelude::*;
use visavis_gallery::{FlatIndex, GalleryError, Hit, Index, Query, Row, RowKey, SubjectEntry};

use crate::common::*;

const DIM: usize = 24;
const SITES: [&str; 3] = ["north", "south", "west"];

/// What the index should hold, and what it should find.
#[derive(Default)]
struct Reference {
    rows: BTreeMap<RowKey, Template>,
    subjects: BTreeMap<[u8; 16], Arc<SubjectEntry>>,
}

impl Reference {
    fn admitted(&self, query: &Query<'_>) -> Vec<(&RowKey, &Template)> {
        let fits = |key: &RowKey| {
            let s = &self.subjects[&key.handle.0];
            query.filter.is_none_or(|f| f.0.iter().all(|(k, v)| s.metadata.0.get(k) == Some(v)))
                && query.subjects.is_none_or(|ids| ids.contains(&s.id))
        };
        self.rows.iter().filter(|(key, _)| fits(key)).collect()
    }

    /// Exact scores of every admitted row.
    fn scores(&self, query: &Query<'_>) -> BTreeMap<RowKey, f64> {
        let dot = |t: &Template| -> f64 {
            t.to_f32().iter().zip(query.values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        self.admitted(query).into_iter().map(|(key, t)| (key.clone(), dot(t))).collect()
    }
}

#[derive(Clone, Debug)]
enum Change {
    Put { subject: u16, face: u32, seed: u64, site: usize },
    Delete { subject: u16, face: u32 },
    DeleteSubject(u16),
    Relabel { subject: u16, site: usize },
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let (subject, face, site) = (0..12u16, 0..6u32, 0..SITES.len());
    // Few seeds: equal templates, and so ties, are common.
    let put = (subject.clone(), face.clone(), 0..20u64, site.clone())
        .prop_map(|(subject, face, seed, site)| Change::Put { subject, face, seed, site });
    let delete = (subject.clone(), face).prop_map(|(subject, face)| Change::Delete { subject, face });
    let relabel = (subject.clone(), site).prop_map(|(subject, site)| Change::Relabel { subject, site });
    let change = prop_oneof![8 => put, 3 => delete, 1 => subject.prop_map(Change::DeleteSubject), 2 => relabel];
    prop::collection::vec(change, 0..150)
}

fn apply(index: &FlatIndex, reference: &mut Reference, change: &Change) {
    match *change {
        Change::Put { subject, face, seed, site } => {
            // Face ids are unique across subjects.
            let (key, template) = (key(subject, u32::from(subject) * 100 + face), template(1, seed, DIM));
            let entry = entry(subject, &[("site", SITES[site])]);
            index.upsert(&[Row { key: key.clone(), template: &template, subject: Arc::clone(&entry) }]).unwrap();
            reference.subjects.insert(key.handle.0, entry);
            reference.rows.insert(key, template);
        }
        Change::Delete { subject, face } => {
            let key = key(subject, u32::from(subject) * 100 + face);
            let there = reference.rows.remove(&key).is_some();
            assert_eq!(index.delete(&[key]), usize::from(there));
        }
        Change::DeleteSubject(subject) => {
            let before = reference.rows.len();
            reference.rows.retain(|k, _| k.handle != handle(subject));
            assert_eq!(index.delete_subject(handle(subject)), before - reference.rows.len());
        }
        Change::Relabel { subject, site } => {
            let entry = entry(subject, &[("site", SITES[site]), ("moved", "yes")]);
            let there = reference.rows.keys().any(|k| k.handle == handle(subject));
            assert_eq!(index.update_subject(handle(subject), Arc::clone(&entry)), there);
            if there {
                reference.subjects.insert(handle(subject).0, entry);
            }
        }
    }
}

/// Every hit has the row's true score and stands where that score puts it; nothing better is missing.
fn check(reference: &Reference, query: &Query<'_>, hits: &[Hit]) {
    const EPSILON: f64 = 1e-5;
    let mut scores = reference.scores(query);
    let order: Vec<(f32, &str)> = hits.iter().map(|h| (h.score, h.face_id.as_str())).collect();
    assert!(order.is_sorted_by(|a, b| a.0 > b.0 || (a.0 == b.0 && a.1 < b.1)), "order: {order:?}");
    if query.unique_subjects {
        let mut best: BTreeMap<[u8; 16], (RowKey, f64)> = BTreeMap::new();
        for (key, score) in std::mem::take(&mut scores) {
            let slot = best.entry(key.handle.0).or_insert((key.clone(), score));
            // Rows come in order of face id: the first of equals stays.
            if score > slot.1 {
                *slot = (key, score);
            }
        }
        scores = best.into_values().collect();
    }
    let min = query.min_score.map_or(f64::NEG_INFINITY, f64::from);
    let certain = scores.values().filter(|s| **s >= min + EPSILON).count();
    let possible = scores.values().filter(|s| **s >= min - EPSILON).count();
    assert!(hits.len() >= certain.min(query.limit) && hits.len() <= possible.min(query.limit));
    for hit in hits {
        let (key, score) = scores
            .iter()
            .find(|(k, _)| k.face_id == hit.face_id)
            .unwrap_or_else(|| panic!("{} is not admitted, not live or not its subject's best", hit.face_id));
        assert!((f64::from(hit.score) - score).abs() < EPSILON);
        assert_eq!(hit.subject, reference.subjects[&key.handle.0]);
    }
    if let Some(worst) = hits.last().filter(|_| hits.len() == query.limit) {
        let better = scores.values().filter(|s| **s > f64::from(worst.score) + EPSILON).count();
        assert!(better < query.limit, "a better row is missing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_history_answers_like_the_reference(
        history in changes(),
        probes in prop::collection::vec(0..30u64, 1..5),
        limit in 0..15usize,
        min_score in prop::option::of(-0.5f32..0.9),
        unique in any::<bool>(),
        site in prop::option::of(0..SITES.len()),
        listed in prop::option::of(prop::collection::vec(0..14u16, 0..6)),
    ) {
        let (index, mut reference) = (FlatIndex::new(contract(1)), Reference::default());
        for change in &history {
            apply(&index, &mut reference, change);
        }
        let filter: Option<Metadata> = site.map(|s| metadata(&[("site", SITES[s])]));
        let subjects: Option<Vec<SubjectId>> = listed.map(|l| l.into_iter().map(subject_id).collect());
        let values: Vec<Vec<f32>> = probes.iter().map(|p| direction(*p, DIM)).collect();
        // Every other query has the filters.
        let queries: Vec<Query<'_>> = values.iter().enumerate().map(|(n, v)| Query {
            min_score, unique_subjects: unique,
            filter: filter.as_ref().filter(|_| n % 2 == 0), subjects: subjects.as_deref().filter(|_| n % 2 == 0),
            ..Query::new(v, limit)
        }).collect();
        let together = index.search_many(&queries).unwrap();
        for (query, hits) in queries.iter().zip(&together) {
            check(&reference, query, &hits.hits);
            prop_assert_eq!(hits, &index.search(query).unwrap());
            prop_assert_eq!(hits.compared_rows, reference.admitted(query).len());
        }
        let people: std::collections::BTreeSet<_> = reference.rows.keys().map(|k| k.handle).collect();
        prop_assert_eq!((index.len(), index.subjects()), (reference.rows.len(), people.len()));
        if filter.is_none() && subjects.is_none() {
            prop_assert_eq!(together[0].compared_subjects, people.len());
        }
    }
}

/// Several blocks, partly deleted and filled again, in a dimension that is no multiple of the kernel's width.
#[test]
fn rows_are_found_across_blocks_and_in_reused_places() {
    let (dim, n) = (133, 3000u32);
    let index = FlatIndex::new(contract(1));
    let put = |face: u32| {
        let t = template(1, u64::from(face), dim);
        let subject = u16::try_from(face % 500).unwrap();
        index.upsert(&[Row { key: key(subject, face), template: &t, subject: entry(subject, &[]) }]).unwrap();
    };
    (0..n).for_each(put);
    let bytes = index.bytes();
    for face in (0..n).filter(|f| f % 3 == 0) {
        index.delete(&[key(u16::try_from(face % 500).unwrap(), face)]);
    }
    (n..n + n / 3).for_each(put);
    assert_eq!((index.len(), index.bytes()), (n as usize, bytes), "places of deleted rows are used again");
    for face in 0..n + n / 3 {
        let probe = direction(u64::from(face), dim);
        let hits = index.search(&Query { min_score: Some(0.99), ..Query::new(&probe, 3) }).unwrap().hits;
        let found: Vec<_> = hits.iter().map(|h| h.face_id.clone()).collect();
        let live = face >= n || face % 3 != 0;
        assert_eq!(found, if live { vec![face_id(face)] } else { vec![] });
    }
}

#[test]
fn equal_scores_rank_by_face_id_whatever_the_order_of_enrolment() {
    let t = template(1, 7, DIM);
    for order in [[3, 1, 2, 0], [0, 2, 3, 1]] {
        let index = FlatIndex::new(contract(1));
        for face in order {
            let subject = u16::try_from(9 - face).unwrap();
            index.upsert(&[Row { key: key(subject, face), template: &t, subject: entry(subject, &[]) }]).unwrap();
        }
        let hits = index.search(&Query::new(&direction(7, DIM), 3)).unwrap().hits;
        let faces: Vec<_> = hits.into_iter().map(|h| h.face_id).collect();
        assert_eq!(faces, [face_id(0), face_id(1), face_id(2)]);
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let index = FlatIndex::new(contract(1));
    assert!(index.search(&Query::new(&direction(1, DIM), 5)).unwrap().hits.is_empty(), "an empty index finds nobody");
    let row = |t| Row { key: key(1, 1), template: t, subject: entry(1, &[]) };
    let good = template(1, 1, DIM);
    index.upsert(&[row(&good)]).unwrap();
    let (short, foreign) = (template(1, 1, DIM - 1), template(2, 1, DIM));
    assert!(matches!(index.upsert(&[row(&short)]), Err(GalleryError::Dimension { expected: DIM, got: 23 })));
    assert!(matches!(index.upsert(&[row(&foreign)]), Err(GalleryError::Contract { .. })));
    let mut doubled = contract(1).as_bytes().to_vec();
    doubled.extend(good.values().iter().flat_map(|v| half::f16::from_f32(v.to_f32() * 2.0).to_le_bytes()));
    let doubled = Template::from_bytes(&doubled).unwrap();
    assert!(matches!(index.upsert(&[row(&good), row(&doubled)]), Err(GalleryError::NotUnit)));
    for bad in [vec![f32::NAN; DIM], vec![0.0; DIM], vec![f32::MAX; DIM], vec![1.0; DIM]] {
        assert!(matches!(index.search(&Query::new(&bad, 5)), Err(GalleryError::NotUnit)));
    }
    assert!(matches!(index.search(&Query::new(&[], 5)), Err(GalleryError::Dimension { .. })));
    assert_eq!(index.len(), 1);
}

#[test]
fn erased_rows_leave_no_bytes_behind() {
    let index = FlatIndex::new(contract(1));
    let templates: Vec<Template> = (0..40).map(|seed| template(1, seed, DIM)).collect();
    for (n, t) in (0..).zip(&templates) {
        let subject = u16::try_from(n % 4).unwrap();
        index.upsert(&[Row { key: key(subject, n), template: t, subject: entry(subject, &[]) }]).unwrap();
    }
    let holds = |t: &Template| {
        let needle: Vec<u16> = t.values()[..4].iter().map(|v| v.to_bits()).collect();
        index.raw_values().windows(4).any(|w| w == needle)
    };
    assert!(templates.iter().all(&holds), "the search for bytes finds rows that are there");
    index.delete(&[key(1, 5), key(2, 6)]);
    index.delete_subject(handle(3));
    // Replaced: its old values are gone as well.
    let new = template(1, 99, DIM);
    index.upsert(&[Row { key: key(0, 8), template: &new, subject: entry(0, &[]) }]).unwrap();
    index.erase_barrier();
    for (n, t) in templates.iter().enumerate() {
        let gone = [5, 6, 8].contains(&n) || n % 4 == 3;
        assert_eq!(holds(t), !gone, "row {n}");
    }
}
