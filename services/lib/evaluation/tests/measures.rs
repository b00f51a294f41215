//! The measures against cases worked out by hand and against their definitions on random scores.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use proptest::prelude::*;
use visavis_evaluation::{
    Bootstrap, Comparison, EvaluationError, Roc, RocPoint, Scores, ThresholdOrigin, calibrate, verification,
};

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

/// Mated .9 .8 .7 .4 and non-mated .6 .5 .4 .1: one mated score lies below two non-mated ones and ties with a third.
fn worked_example() -> Scores {
    Scores::new(&[0.4, 0.9, 0.7, 0.8], &[0.6, 0.1, 0.5, 0.4]).unwrap()
}

#[test]
fn worked_example_by_hand() {
    let scores = worked_example();
    let roc = Roc::new(&scores);
    // Of 16 comparisons of a mated with a non-mated score 13 are won and one is a tie.
    assert!(close(roc.auc(), 13.5 / 16.0), "{}", roc.auc());
    // At .5 FMR is 2/4 and FNMR 1/4; at .6 both are 1/4.
    assert!(close(roc.eer().rate, 0.25) && close(roc.eer().threshold, 0.6), "{:?}", roc.eer());
    let zero = roc.tar_at_fmr(0.0);
    assert!(close(zero.tar, 0.75) && close(zero.threshold, 0.7) && zero.support == 0, "{zero:?}");
    // A quarter allows one false match, but lets no further mated score in.
    assert!(close(roc.tar_at_fmr(0.25).tar, 0.75) && roc.tar_at_fmr(0.25).support == 1);
    assert!(close(roc.tar_at_fmr(0.75).tar, 1.0));
    let at = roc.at(0.45);
    assert!(close(at.fmr, 0.5) && close(at.tar, 0.75), "{at:?}");
    // Seven of eight are right between .6 and .7.
    assert_eq!(scores.correct_at(0.65), 7);
    assert!(close(scores.best_threshold(), 0.65), "{}", scores.best_threshold());
    assert_eq!(scores.correct_at(0.7), 7, "a score at the threshold matches");
}

#[test]
fn the_equal_error_rate_is_interpolated_between_steps() {
    // Threshold .5 gives FMR 0, FNMR 2/3; threshold .4 gives FMR 1/2, FNMR 1/3. The line between them crosses at .4.
    let roc = Roc::new(&Scores::new(&[0.5, 0.4, 0.2], &[0.4, 0.1]).unwrap());
    assert!(close(roc.eer().rate, 0.4), "{:?}", roc.eer());
    assert!(close(roc.eer().threshold, 0.42), "{:?}", roc.eer());
}

#[test]
fn perfect_reversed_and_useless_scores() {
    let perfect = Roc::new(&Scores::new(&[0.9, 0.8], &[0.2, 0.1]).unwrap());
    assert!(close(perfect.auc(), 1.0) && close(perfect.eer().rate, 0.0));
    let reversed = Roc::new(&Scores::new(&[0.1], &[0.9]).unwrap());
    assert!(close(reversed.auc(), 0.0) && close(reversed.eer().rate, 1.0));
    let useless = Roc::new(&Scores::new(&[0.5, 0.5], &[0.5]).unwrap());
    assert!(close(useless.auc(), 0.5) && close(useless.eer().rate, 0.5));
}

#[test]
fn missing_kinds_and_bad_scores_are_errors() {
    assert_eq!(Scores::new(&[], &[0.1]).unwrap_err(), EvaluationError::TooFew { mated: 0, non_mated: 1 });
    assert_eq!(Scores::new(&[0.1], &[f64::NAN]).unwrap_err(), EvaluationError::NotFinite);
}

fn pair(mated: bool, score: impl Into<Option<f64>>) -> Comparison {
    Comparison::new(mated, score.into())
}

#[test]
fn a_failure_to_enrol_is_an_error_whatever_the_truth() {
    let mut pairs: Vec<Comparison> = (0..98).map(|i| pair(i % 2 == 0, if i % 2 == 0 { 0.8 } else { 0.1 })).collect();
    let clean = verification(&pairs, (100, 0), Some(0.5), Bootstrap::default()).unwrap();
    assert!(close(clean.accuracy.estimate.value, 1.0) && close(clean.eer.estimate.value, 0.0));
    pairs.extend([pair(true, None), pair(false, None)]);
    let r = verification(&pairs, (100, 1), Some(0.5), Bootstrap::default()).unwrap();
    assert!(close(r.accuracy.estimate.value, 0.98), "{:?}", r.accuracy);
    assert_eq!(r.accuracy.threshold_origin, ThresholdOrigin::OtherPairs);
    assert_eq!((r.failures.mated_pairs, r.failures.non_mated_pairs), (1, 1));
    assert!(close(r.failures.rate(), 0.01));
    assert!(close(r.tar_at_fmr[0].estimate.value, 49.0 / 50.0), "the mated pair never matches");
    assert!(close(r.accuracy.fmr.value, 0.0) && close(r.accuracy.fnmr.value, 1.0 / 50.0));
    assert!(close(r.mated_scores.mean, 0.8) && r.mated_scores.count == 49, "the stand-in score is not a score");
    let own = verification(&pairs, (100, 1), None, Bootstrap::default()).unwrap();
    assert_eq!(own.accuracy.threshold_origin, ThresholdOrigin::SamePairs);
    let json = serde_json::to_value(&r).unwrap();
    assert_eq!(json["accuracy"]["value"], 0.98);
    assert!(json["failure_rule"].as_str().unwrap().contains("failure to enrol"));
}

#[test]
fn intervals_hold_the_value_shrink_with_the_sample_and_repeat() {
    let pairs = |n: usize| -> Vec<Comparison> {
        (0..n)
            .map(|i| pair(i % 2 == 0, ((i * 7919) % 1000) as f64 / 1000.0 + if i % 2 == 0 { 0.5 } else { 0.0 }))
            .collect()
    };
    let width = |n: usize| {
        let r = verification(&pairs(n), (n, 0), None, Bootstrap { resamples: 300, ..Bootstrap::default() }).unwrap();
        for e in [r.auc, r.eer.estimate, r.accuracy.estimate, r.tar_at_fmr[0].estimate] {
            assert!(e.interval.low <= e.value && e.value <= e.interval.high, "{e:?}");
        }
        assert_eq!(r, verification(&pairs(n), (n, 0), None, r.bootstrap).unwrap());
        r.auc.interval.high - r.auc.interval.low
    };
    let (small, large) = (width(100), width(1600));
    assert!(large < small / 2.0 && large > small / 8.0, "{small} {large}: four times as narrow for 16 times the pairs");
}

#[test]
fn a_calibration_table_of_a_uniform_sample() {
    // 100,000 scores 0, 1e-5, … : the score at FMR r is 1 − r, measured down to 1e-4 (ten scores).
    let mut scores: Vec<f32> = (0..100_000).map(|i| i as f32 / 1e5).collect();
    let made = calibrate(&mut scores).unwrap();
    let row = |i: usize| made.rows[i];
    for i in 0..4 {
        assert!((row(i).score - (1.0 - row(i).fmr)).abs() < 1.1e-5 && !row(i).extrapolated, "{:?}", row(i));
    }
    assert_eq!(row(3).support, 10);
    assert!(made.rows.iter().skip(4).all(|r| r.extrapolated && r.score <= 1.0));
    let table = made.table("uniform").unwrap();
    assert!((table.score_at(1e-3).0 - 0.999).abs() < 1.1e-5);
    assert!(table.score_at(1e-6).1, "beyond the sample is marked");
    assert!(matches!(calibrate(&mut [0.0; 999]), Err(EvaluationError::SampleTooSmall { .. })));
    assert!(matches!(calibrate(&mut [0.5; 5000]).unwrap().table("flat"), Err(EvaluationError::Table(_))));
}

#[test]
fn calibration_follows_the_slope_beyond_the_sample() {
    // FMR(s) = 10^(-10 s): a decade every 0.1.
    let n = 20_000;
    let mut scores: Vec<f32> = (1..=n).map(|i| -(i as f32 / n as f32).log10() / 10.0).collect();
    let made = calibrate(&mut scores).unwrap();
    assert!(made.rows[4].extrapolated && (made.rows[4].score - 0.5).abs() < 0.02, "{:?}", made.rows);
    assert!(made.rows[5].extrapolated && (made.rows[5].score - 0.6).abs() < 0.03, "{:?}", made.rows);
}

/// Scores on a coarse grid, so that ties are common.
fn coarse() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-10i32..=10).prop_map(|v| f64::from(v) / 10.0), 1..60)
}

proptest! {
    #[test]
    fn auc_is_the_share_of_won_comparisons(mated in coarse(), non_mated in coarse()) {
        let won: f64 = mated.iter().flat_map(|m| non_mated.iter().map(move |n| match m.total_cmp(n) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })).sum();
        let auc = Roc::new(&Scores::new(&mated, &non_mated).unwrap()).auc();
        prop_assert!((auc - won / (mated.len() * non_mated.len()) as f64).abs() < 1e-9);
    }

    #[test]
    fn eer_lies_between_the_rates_on_both_sides_of_the_crossing(mated in coarse(), non_mated in coarse()) {
        let roc = Roc::new(&Scores::new(&mated, &non_mated).unwrap());
        let eer = roc.eer().rate;
        let (before, after): (Vec<RocPoint>, Vec<RocPoint>) = roc.points().iter().partition(|p| p.fmr < 1.0 - p.tar);
        let (a, b) = (before.last().unwrap(), after.first().unwrap());
        prop_assert!(a.fmr - 1e-12 <= eer && eer <= b.fmr + 1e-12);
        prop_assert!(1.0 - b.tar - 1e-12 <= eer && eer <= 1.0 - a.tar + 1e-12);
    }

    #[test]
    fn rates_follow_their_definitions(mated in coarse(), non_mated in coarse(), t in -1.1f64..1.1, r in 0.0f64..1.0) {
        let roc = Roc::new(&Scores::new(&mated, &non_mated).unwrap());
        let share = |s: &[f64], t: f64| s.iter().filter(|&&x| x >= t).count() as f64 / s.len() as f64;
        prop_assert!(close(roc.at(t).fmr, share(&non_mated, t)) && close(roc.at(t).tar, share(&mated, t)));
        let p = roc.tar_at_fmr(r);
        prop_assert!(share(&non_mated, p.threshold) <= r + 1e-12);
        prop_assert!(close(p.tar, share(&mated, p.threshold)));
        let better = mated.iter().filter(|&&m| share(&non_mated, m) <= r).map(|&m| share(&mated, m)).fold(0.0, f64::max);
        prop_assert!(p.tar >= better - 1e-12, "no threshold within the limit accepts more");
    }

    #[test]
    fn the_best_threshold_is_beaten_by_no_other(mated in coarse(), non_mated in coarse(), other in -1.1f64..1.1) {
        let scores = Scores::new(&mated, &non_mated).unwrap();
        prop_assert!(scores.correct_at(scores.best_threshold()) >= scores.correct_at(other));
    }

    #[test]
    fn only_the_order_of_scores_counts(mated in coarse(), non_mated in coarse()) {
        let stretch = |s: &[f64]| s.iter().map(|x| (3.0 * x).exp() - 7.0).collect::<Vec<_>>();
        let plain = Roc::new(&Scores::new(&mated, &non_mated).unwrap());
        let stretched = Roc::new(&Scores::new(&stretch(&mated), &stretch(&non_mated)).unwrap());
        prop_assert!(close(plain.auc(), stretched.auc()) && close(plain.eer().rate, stretched.eer().rate));
        for r in [0.0, 0.01, 0.1, 0.5] {
            prop_assert!(close(plain.tar_at_fmr(r).tar, stretched.tar_at_fmr(r).tar));
        }
    }
}
