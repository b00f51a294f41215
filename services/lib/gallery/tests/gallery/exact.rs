//! The index against brute force in single precision: the same rows, in the same order, with the same scores to the last
//! bit, on vectors like those of faces, on duplicates, and on vectors made to be hard to tell apart in 8 bits.
//! The long version, 10,000 probes of each kind against 100,000 rows of 512 values, some minutes for each kind:
//! `cargo test --release --workspace --test gallery -- --ignored --nocapture exact`.

use std::{cmp::Ordering, collections::HashSet, sync::Arc};

use domain::{FaceId, Template};
use visavis_gallery::{FlatIndex, Hit, Index, Query, Row, RowKey, synthetic::Faces};

use crate::common::*;

const BATCH: usize = 32;

/// How large and how often.
struct Size {
    dim: usize,
    rows: u32,
    probes: u64,
}

/// What the rows are like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Samples of subjects.
    Clustered,
    /// Every template several times, under different subjects.
    Duplicated,
    /// Rows that differ from one another by less than 8 bits can tell, and rows of which one value dwarfs the others.
    Adversarial,
}

/// A number in [0, 1) for every two.
fn chance(a: u64, b: u64) -> f32 {
    let mut z = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.wrapping_mul(0xD134_2543_DE82_EF95);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
}

impl Kind {
    fn row(self, faces: &Faces, dim: usize, n: u64) -> Vec<f32> {
        match self {
            Self::Clustered => faces.sample(n / 10, n % 10),
            Self::Duplicated => faces.sample(n % 97, 0),
            Self::Adversarial => match n % 4 {
                // All but the same.
                0 | 1 => {
                    let near = faces.sample(1, 0);
                    near.iter().zip(0..).map(|(v, d)| v + 1e-3 * (chance(n, d) - 0.5)).collect()
                }
                // One value, and what is lost beside it.
                2 => {
                    let power = -1 - (n / 4 % 6) as i32;
                    let tiny = |d: u64| 10f32.powi(power) * (chance(n, d) - 0.5);
                    (0..dim as u64).map(|d| if d == n / 4 % dim as u64 { 1.0 } else { tiny(d) }).collect()
                }
                // All values alike but for the sign.
                _ => (0..dim as u64).map(|d| if chance(n % 64, d) < 0.5 { 1.0 } else { -1.0 }).collect(),
            },
        }
    }

    fn probe(self, faces: &Faces, dim: usize, rows: u64, n: u64) -> Vec<f32> {
        match n % 4 {
            0 => self.row(faces, dim, (n * 31) % rows),
            1 if self == Self::Clustered => faces.sample((n * 7) % (rows / 10), 100 + n),
            2 => self.row(faces, dim, (n * 13) % rows).iter().map(|v| -v).collect(),
            _ => faces.sample(1_000_000 + n, 0),
        }
    }
}

/// Rows as brute force sees them.
struct Gallery {
    index: FlatIndex,
    rows: Vec<(RowKey, Vec<f32>)>,
}

impl Gallery {
    fn new(kind: Kind, size: &Size) -> Self {
        let (index, faces) = (FlatIndex::new(contract(1)), Faces::new(size.dim));
        let mut rows = Vec::new();
        for n in 0..size.rows {
            let raw = kind.row(&faces, size.dim, u64::from(n));
            let template = Template::from_embedding(contract(1), &raw).unwrap();
            // Faces are numbered against the order of enrolment, so that ties are not found in order.
            let subject = u16::try_from(n / 10 % 60_000).unwrap();
            let face_id = FaceId::new(format!("f{:07}", size.rows - n)).unwrap();
            let key = RowKey { handle: handle(subject), face_id };
            index.upsert(&[Row { key: key.clone(), template: &template, subject: entry(subject, &[]) }]).unwrap();
            rows.push((key, template.to_f32()));
        }
        Self { index, rows }
    }

    /// All rows by score, in single precision, in the order of additions that the index promises.
    fn brute_force(&self, query: &Query<'_>) -> Vec<(f32, &RowKey)> {
        let min = query.min_score.unwrap_or(f32::NEG_INFINITY);
        let scores = self.rows.iter().map(|(key, row)| (dot(row, query.values) + 0.0, key));
        let mut scores: Vec<_> = scores.filter(|(s, _)| *s >= min).collect();
        let order = |a: &(f32, &RowKey), b: &(f32, &RowKey)| -> Ordering {
            b.0.total_cmp(&a.0).then_with(|| a.1.face_id.cmp(&b.1.face_id))
        };
        // Ten rows of a subject at most may fold into one.
        let keep = if query.unique_subjects { 12 * query.limit } else { query.limit };
        if keep < scores.len() {
            scores.select_nth_unstable_by(keep, order);
            scores.truncate(keep);
        }
        scores.sort_by(order);
        let mut seen = HashSet::new();
        scores.retain(|(_, key)| !query.unique_subjects || seen.insert(key.handle));
        scores.truncate(query.limit);
        scores
    }

    fn check(&self, query: &Query<'_>, hits: &[Hit]) {
        let expected = self.brute_force(query);
        let found: Vec<(u32, &FaceId)> = hits.iter().map(|h| (h.score.to_bits(), &h.face_id)).collect();
        let expected: Vec<(u32, &FaceId)> = expected.iter().map(|(s, k)| (s.to_bits(), &k.face_id)).collect();
        assert_eq!(found, expected, "limit {}, unique {}", query.limit, query.unique_subjects);
    }
}

/// Sixteen partial sums, folded by halves.
fn dot(row: &[f32], probe: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    for (row, probe) in row.chunks(16).zip(probe.chunks(16)) {
        for ((sum, x), y) in sums.iter_mut().zip(row).zip(probe) {
            *sum += x * y;
        }
    }
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
    }
    sums[0]
}

fn same_as_brute_force(kind: Kind, size: &Size) {
    let (gallery, faces) = (Gallery::new(kind, size), Faces::new(size.dim));
    let probe = |n| {
        let raw = kind.probe(&faces, size.dim, u64::from(size.rows), n);
        Template::from_embedding(contract(1), &raw).unwrap().to_f32()
    };
    let probes: Vec<Vec<f32>> = (0..size.probes).map(probe).collect();
    let query = |n: usize| Query {
        unique_subjects: (n / BATCH).is_multiple_of(2),
        min_score: [None, Some(0.3), Some(0.999)][n / BATCH / 2 % 3],
        ..Query::new(&probes[n], [5, 1, 40][n % 3])
    };
    let queries: Vec<Query<'_>> = (0..probes.len()).map(query).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    // Two callers at a time, so that passes are shared as well.
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                loop {
                    let n = next.fetch_add(BATCH, std::sync::atomic::Ordering::SeqCst);
                    if n >= queries.len() {
                        break;
                    }
                    let some = &queries[n..queries.len().min(n + BATCH)];
                    let answers = gallery.index.search_many(some).unwrap();
                    some.iter().zip(&answers).for_each(|(query, hits)| gallery.check(query, &hits.hits));
                    // Alone as together.
                    assert_eq!(gallery.index.search(&some[0]).unwrap(), answers[0]);
                }
            });
        }
    });
    let work = gallery.index.work();
    eprintln!(
        "{kind:?}, {} rows of {}: {} probes in {} passes, {:.1} rows scored for each",
        size.rows,
        size.dim,
        work.probes,
        work.passes,
        work.scored_rows as f64 / work.probes as f64,
    );
}

#[test]
fn faces_are_found_as_by_brute_force() {
    same_as_brute_force(Kind::Clustered, &Size { dim: 512, rows: 5_000, probes: 400 });
    same_as_brute_force(Kind::Clustered, &Size { dim: 128, rows: 20_000, probes: 200 });
}

#[test]
fn duplicates_are_found_as_by_brute_force() {
    same_as_brute_force(Kind::Duplicated, &Size { dim: 130, rows: 5_000, probes: 400 });
}

#[test]
fn what_8_bits_cannot_tell_apart_is_found_as_by_brute_force() {
    same_as_brute_force(Kind::Adversarial, &Size { dim: 64, rows: 5_000, probes: 400 });
    same_as_brute_force(Kind::Adversarial, &Size { dim: 511, rows: 2_500, probes: 200 });
}

/// Ten thousand probes against a hundred thousand rows.
const LARGE: Size = Size { dim: 512, rows: 100_000, probes: 10_000 };

#[test]
#[ignore = "minutes"]
fn ten_thousand_probes_against_faces() {
    same_as_brute_force(Kind::Clustered, &LARGE);
}

#[test]
#[ignore = "minutes"]
fn ten_thousand_probes_against_duplicates() {
    same_as_brute_force(Kind::Duplicated, &LARGE);
}

#[test]
#[ignore = "minutes"]
fn ten_thousand_probes_against_what_8_bits_cannot_tell_apart() {
    same_as_brute_force(Kind::Adversarial, &LARGE);
}

/// A few rows of a subject among many: those alone are looked at, and the answer is that of a gallery of only them.
#[test]
fn a_list_of_subjects_is_searched_exactly_whether_it_is_short_or_long() {
    let gallery = Gallery::new(Kind::Clustered, &Size { dim: 96, rows: 8_000, probes: 0 });
    let faces = Faces::new(96);
    for listed in [1u16, 3, 60, 400, 800] {
        let ids: Vec<_> = (0..listed).map(|s| subject_id(s * (800 / listed))).collect();
        let admitted: HashSet<_> = (0..listed).map(|s| handle(s * (800 / listed))).collect();
        let part: Vec<_> = gallery.rows.iter().filter(|(k, _)| admitted.contains(&k.handle)).cloned().collect();
        let alone = Gallery { index: FlatIndex::new(contract(1)), rows: part };
        for n in 0..20 {
            let probe = Template::from_embedding(contract(1), &faces.sample(n * 41, 77)).unwrap().to_f32();
            let query = Query { subjects: Some(&ids), unique_subjects: n % 2 == 0, ..Query::new(&probe, 7) };
            let before = gallery.index.work().scored_rows;
            let hits = gallery.index.search(&query).unwrap();
            alone.check(&query, &hits.hits);
            assert_eq!((hits.compared_rows, hits.compared_subjects), (10 * usize::from(listed), usize::from(listed)));
            let scored = gallery.index.work().scored_rows - before;
            assert!(scored <= 10 * u64::from(listed), "{scored} rows scored of {listed} subjects");
        }
    }
}

/// Many callers at once get what each would get alone.
#[test]
fn concurrent_searches_share_passes_and_answer_the_same() {
    let gallery = Gallery::new(Kind::Clustered, &Size { dim: 512, rows: 40_000, probes: 0 });
    let faces = Faces::new(512);
    let alone: Vec<_> = (0..24)
        .map(|n| {
            let probe = Template::from_embedding(contract(1), &faces.sample(n, 50)).unwrap().to_f32();
            let hits = gallery.index.search(&Query::new(&probe, 5)).unwrap();
            (probe, hits)
        })
        .collect();
    let alone = Arc::new(alone);
    let before = gallery.index.work();
    std::thread::scope(|s| {
        for (probe, hits) in alone.iter() {
            let index = &gallery.index;
            s.spawn(move || {
                for _ in 0..5 {
                    assert_eq!(&index.search(&Query::new(probe, 5)).unwrap(), hits);
                }
            });
        }
    });
    let after = gallery.index.work();
    assert_eq!(after.probes - before.probes, 24 * 5);
    eprintln!("{} passes for {} probes", after.passes - before.passes, after.probes - before.probes);
}
