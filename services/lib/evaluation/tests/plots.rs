//! What is drawn: curves keep their ends and never turn back, the normal deviate, histograms, folds, embeddings.

use proptest::prelude::*;
use visavis_evaluation::{
    Comparison, Embeddings, EvaluationError, Histogram, Roc, SamePerson, Scores, calibrate, folds, probit, suspicion,
};

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

#[test]
fn the_normal_deviate_against_tables() {
    for (rate, deviate) in [(0.5, 0.0), (0.1, -1.281_552), (0.025, -1.959_964), (0.001, -3.090_232), (0.99, 2.326_348)]
    {
        assert!((probit(rate) - deviate).abs() < 5e-4, "{rate}: {}", probit(rate));
    }
    assert_eq!((probit(0.0), probit(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
}

#[test]
fn bins_hold_every_score() {
    let h = Histogram::new([0.61, 0.7].into_iter(), [-0.05, 0.1, 0.1].into_iter());
    assert_eq!((h.mated.iter().sum::<u64>(), h.non_mated.iter().sum::<u64>()), (2, 3));
    assert_eq!(h.mated.len(), h.non_mated.len());
    assert!(h.from <= -0.05 && h.from + h.width * h.mated.len() as f64 > 0.7 && h.mated.len() < 70);
    let bin = ((0.1 - h.from) / h.width) as usize;
    assert_eq!(h.non_mated[bin], 2);
    let none = Histogram::new([].into_iter(), [f64::NAN].into_iter());
    assert!(none.mated.is_empty() && none.non_mated.is_empty());
}

fn pair(mated: bool, score: Option<f64>) -> Comparison {
    Comparison::new(mated, score)
}

#[test]
fn folds_by_hand() {
    // In fold a the best threshold for b is used and the other way round.
    let pairs = [
        (pair(true, Some(0.8)), "a"),
        (pair(false, Some(0.5)), "a"),
        (pair(true, Some(0.4)), "b"),
        (pair(false, Some(0.2)), "b"),
        (pair(true, None), "b"),
        (pair(false, None), "b"),
    ];
    let of: Vec<String> = pairs.iter().map(|p| p.1.to_owned()).collect();
    let pairs: Vec<Comparison> = pairs.iter().map(|p| p.0).collect();
    let r = folds(&pairs, &of).unwrap();
    let [a, b] = r.folds.as_slice() else { panic!("{r:?}") };
    // Fold b alone is decided best at .3, where .8 and .5 of fold a both match: one of two is right.
    assert!(close(a.threshold, 0.3) && a.correct == 1 && close(a.accuracy, 0.5), "{a:?}");
    // Fold a alone is decided best at .65, where .4 and .2 do not match: one of four, failures being errors.
    assert!(close(b.threshold, 0.65) && b.correct == 1 && close(b.accuracy, 0.25), "{b:?}");
    assert!(close(r.accuracy, 0.375) && close(r.standard_error, 0.125), "{r:?}");
    let one = vec!["a".to_owned(); 6];
    assert_eq!(folds(&pairs, &one).unwrap_err(), EvaluationError::Folds { found: 1 });
    // What is left for fold b's threshold has no non-mated pair.
    let lacking = ["a", "b", "b", "b", "b", "b"].map(str::to_owned);
    assert_eq!(folds(&pairs, &lacking).unwrap_err(), EvaluationError::TooFew { mated: 1, non_mated: 0 });
}

/// Unit vectors in a plane, by angle.
fn plane(degrees: &[f32]) -> Embeddings {
    let mut all = Embeddings::default();
    for d in degrees {
        assert!(all.push(&[d.to_radians().cos(), d.to_radians().sin()]));
    }
    all
}

#[test]
fn all_pairs_of_different_people_but_those_of_one_person() {
    let e = plane(&[0.0, 60.0, 10.0, 90.0]);
    let subjects = [0, 0, 1, 2];
    let same = SamePerson::from([(1, 2)]);
    let all = e.non_mated(&subjects, &SamePerson::default(), 100);
    assert_eq!((all.scores.len(), all.possible), (5, 5));
    assert_eq!(e.non_mated(&subjects, &same, 100).possible, 4);
    let drawn = e.non_mated(&subjects, &SamePerson::default(), 3);
    assert_eq!((drawn.scores.len(), drawn.possible), (3, 5));
    assert!((e.mated(&subjects)[0] - 0.5).abs() < 1e-6 && e.mated(&subjects).len() == 1);
    let top = e.non_mated_from(&subjects, &SamePerson::default(), 0.8, 10);
    let places: Vec<(usize, usize)> = top.iter().map(|p| (p.left, p.right)).collect();
    assert_eq!(places, [(0, 2), (1, 3)], "cos 10° and cos 30°; cos 50° is too little");
    assert_eq!(e.non_mated_from(&subjects, &SamePerson::default(), 0.0, 1).len(), 1);
}

#[test]
fn one_person_under_two_names_stands_out() {
    // Strangers whose tail falls a decade every 0.05 up to 0.45, and pairs of one person around 0.7.
    let n = 100_000;
    let mut strangers: Vec<f32> = (1..=n).map(|i| 0.2 - (i as f32 / n as f32).log10() * 0.05).collect();
    let mated: Vec<f32> = (0..200).map(|i| 0.5 + 0.002 * i as f32).collect();
    let table = calibrate(&mut strangers).unwrap();
    let from = suspicion(&table, mated.clone()).unwrap();
    assert!((from - 0.6).abs() < 0.01, "a quarter of the mated scores: {from}");
    let low: Vec<f32> = mated.iter().map(|s| s - 0.45).collect();
    let from = suspicion(&table, low).unwrap();
    assert!((from - 0.45).abs() < 0.01, "once in the sample: {from}");
    assert!(suspicion(&table, vec![0.9; 3]).is_none());
}

fn coarse() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-100i32..=100).prop_map(|v| f64::from(v) / 100.0), 1..300)
}

proptest! {
    #[test]
    fn the_drawn_curve_is_part_of_the_whole_and_never_turns_back(mated in coarse(), non_mated in coarse(), most in 2usize..60) {
        let roc = Roc::new(&Scores::new(&mated, &non_mated).unwrap());
        let drawn = roc.corners(most);
        prop_assert!(drawn.len() <= roc.points().len() && drawn.len() <= most + 60);
        prop_assert_eq!(drawn.first(), roc.points().first());
        prop_assert_eq!(drawn.last(), roc.points().last());
        for w in drawn.windows(2) {
            prop_assert!(w[0].fmr <= w[1].fmr && w[0].tar <= w[1].tar && w[0].threshold > w[1].threshold);
        }
        for p in &drawn {
            prop_assert!(roc.points().contains(p));
        }
        // Not thinned out, it encloses the same area.
        let whole = roc.corners(usize::MAX);
        let area: f64 = whole.windows(2).map(|w| (w[1].fmr - w[0].fmr) * (w[0].tar + w[1].tar) / 2.0).sum();
        prop_assert!((area - roc.auc()).abs() < 1e-9);
    }

    #[test]
    fn scores_of_vectors_of_any_length(a in prop::collection::vec(-1.0f32..1.0, 1..70), seed in 0u32..1000) {
        let b: Vec<f32> = a.iter().enumerate().map(|(i, x)| x * 0.5 + ((i as u32 * 37 + seed) % 11) as f32 / 11.0).collect();
        let mut e = Embeddings::default();
        prop_assert!(e.push(&a) && e.push(&b));
        let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        prop_assert!((f64::from(e.score(0, 1)) - exact).abs() < 1e-4);
    }
}
