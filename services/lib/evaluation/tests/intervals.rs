//! Bootstrap intervals hold the truth as often as they say, on synthetic people whose true rates are known.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use visavis_evaluation::{Bootstrap, Comparison, Unit, cohorts, verification};

/// A small generator of its own, so that the library's draws are not tested with themselves.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        // Xorshift64* (Vigna 2016).
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Threshold at which the rates below are measured.
const THRESHOLD: f64 = 0.0;
const RESAMPLES: Bootstrap = Bootstrap { resamples: 200, confidence: 0.95, seed: 5 };

/// Forty people with five mated pairs each, and forty non-mated pairs. Some people are hard: all of their pairs are
/// lower. A third of the spread is between people, so the true FNMR is that of a normal distribution of variance 1.5.
fn sparse(random: &mut Random, known: bool) -> Vec<Comparison> {
    let mut all = Vec::new();
    for person in 0..40u32 {
        let hard = random.normal() * 0.707;
        for _ in 0..5 {
            let score = 1.0 + hard + random.normal();
            let subjects = known.then_some([person; 2]);
            all.push(Comparison { subjects, ..Comparison::new(true, Some(score)) });
        }
        let subjects = known.then_some([person, (person + 1) % 40]);
        all.push(Comparison { subjects, ..Comparison::new(false, Some(random.normal() - 1.0)) });
    }
    all
}

/// P(1 + N(0, 1.5) < 0).
const SPARSE_FNMR: f64 = 0.2071;

fn coverage(runs: u32, truth: f64, interval: impl Fn(&mut Random) -> (f64, f64)) -> f64 {
    let mut random = Random(0x9E37_79B9_97F4_A7C1);
    let held = (0..runs).filter(|_| {
        let (low, high) = interval(&mut random);
        (low..=high).contains(&truth)
    });
    held.count() as f64 / f64::from(runs)
}

fn fnmr(pairs: &[Comparison]) -> (f64, f64) {
    let i = verification(pairs, (1, 0), Some(THRESHOLD), RESAMPLES).unwrap().accuracy.fnmr.interval;
    (i.low, i.high)
}

#[test]
fn drawing_people_holds_the_true_rate_about_as_often_as_promised() {
    let by_people = coverage(300, SPARSE_FNMR, |r| fnmr(&sparse(r, true)));
    let by_pairs = coverage(300, SPARSE_FNMR, |r| fnmr(&sparse(r, false)));
    assert!((0.89..=0.99).contains(&by_people), "{by_people}");
    assert!(by_pairs < by_people - 0.03, "pairs of one person are not independent: {by_pairs} {by_people}");
}

/// Thirty people, each compared with all others: the score of a pair has a share of each of the two.
fn crossed(random: &mut Random, known: bool) -> Vec<Comparison> {
    let people: Vec<f64> = (0..30).map(|_| random.normal() * 0.5).collect();
    let mut all: Vec<Comparison> = Vec::new();
    for (i, a) in (0u32..).zip(&people) {
        all.push(Comparison {
            subjects: known.then_some([i; 2]),
            ..Comparison::new(true, Some(3.0 + random.normal()))
        });
        for (j, b) in (0u32..i).zip(&people) {
            let score = a + b + random.normal() * 0.707 - 1.0;
            all.push(Comparison { subjects: known.then_some([i, j]), ..Comparison::new(false, Some(score)) });
        }
    }
    all
}

/// P(N(-1, 1) > 0).
const CROSSED_FMR: f64 = 0.1587;

#[test]
fn drawing_both_people_of_a_pair_holds_the_true_rate_where_all_meet_all() {
    let fmr = |pairs: &[Comparison]| {
        let r = verification(pairs, (1, 0), Some(THRESHOLD), RESAMPLES).unwrap();
        assert_eq!(r.unit == Unit::BothSubjects, pairs[0].subjects.is_some());
        (r.accuracy.fmr.interval.low, r.accuracy.fmr.interval.high)
    };
    let by_people = coverage(150, CROSSED_FMR, |r| fmr(&crossed(r, true)));
    let by_pairs = coverage(150, CROSSED_FMR, |r| fmr(&crossed(r, false)));
    assert!((0.87..=1.0).contains(&by_people), "{by_people}");
    assert!(by_pairs < 0.8, "435 pairs of 30 people are not 435 independent ones: {by_pairs}");
}

#[test]
fn no_error_seen_is_not_no_error() {
    let pairs: Vec<Comparison> = (0..60).map(|i| Comparison::new(i % 2 == 0, Some(0.5 - f64::from(i % 2)))).collect();
    let r = verification(&pairs, (60, 0), Some(THRESHOLD), RESAMPLES).unwrap();
    // 1 − 0.025^(1/30), and the same from above for what is perfect.
    let exact = 1.0 - 0.025f64.powf(1.0 / 30.0);
    assert!((r.accuracy.fmr.interval.high - exact).abs() < 1e-12, "{:?}", r.accuracy.fmr);
    assert!((r.tar_at_fmr[0].estimate.interval.low - (1.0 - exact)).abs() < 1e-12, "{:?}", r.tar_at_fmr[0]);
}

#[test]
fn cohorts_are_measured_apart_and_against_the_rest() {
    let names = ["young".to_owned(), "old".to_owned(), "nobody".to_owned()];
    let one =
        |mated: bool, score: Option<f64>, cohort: Option<u32>| Comparison { cohort, ..Comparison::new(mated, score) };
    let mut pairs = Vec::new();
    for i in 0..100u32 {
        // Young: 10 of 100 missed, 5 of 100 strangers pass. Old: 30 and 5, and 20 strangers failed to enrol.
        pairs.push(one(true, Some(if i < 10 { -1.0 } else { 1.0 }), Some(0)));
        pairs.push(one(false, Some(if i < 5 { 1.0 } else { -1.0 }), Some(0)));
        pairs.push(one(true, if i < 30 { None } else { Some(1.0) }, Some(1)));
        pairs.push(one(false, if i >= 80 { None } else { Some(if i < 4 { 1.0 } else { -1.0 }) }, Some(1)));
        pairs.push(one(false, Some(1.0), None));
    }
    let r = cohorts(&pairs, &names, THRESHOLD, RESAMPLES).unwrap();
    let [old, young] = r.rows.as_slice() else { panic!("{r:?}") };
    assert_eq!((old.cohort.as_str(), old.mated, old.non_mated, r.left_out), ("old", 100, 80, 100));
    assert!((young.fnmr.unwrap().value - 0.10).abs() < 1e-12 && (old.fnmr.unwrap().value - 0.30).abs() < 1e-12);
    assert!((young.fmr.unwrap().value - 0.05).abs() < 1e-12 && (old.fmr.unwrap().value - 0.05).abs() < 1e-12);
    let gap = old.fnmr_difference.unwrap();
    assert!((gap.value - 0.20).abs() < 1e-12 && gap.interval.low > 0.05 && gap.interval.high < 0.35, "{gap:?}");
    let none = old.fmr_difference.unwrap();
    assert!(none.interval.low < 0.0 && none.interval.high > 0.0, "{none:?}");
    assert!(cohorts(&[one(true, Some(1.0), None)], &names, THRESHOLD, RESAMPLES).is_none());
}

#[test]
fn a_cohort_with_one_kind_has_one_rate_and_no_difference() {
    let pair = |mated, cohort| Comparison { cohort: Some(cohort), ..Comparison::new(mated, Some(1.0)) };
    let r = cohorts(&[pair(true, 0), pair(false, 1)], &["a".into(), "b".into()], 0.5, RESAMPLES).unwrap();
    assert!(r.rows[0].fmr.is_none() && r.rows[0].fnmr.is_some() && r.rows[0].fnmr_difference.is_none());
    assert_eq!(r.rows[1].fmr.unwrap().value, 1.0);
}
