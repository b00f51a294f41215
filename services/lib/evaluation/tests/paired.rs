//! Two runs of one protocol: what differs is found, what does not is not.

use visavis_evaluation::{
    Bootstrap, Comparison, EvaluationError, Mate, Outcome, Search, paired_identification, paired_verification,
    verification,
};

const QUICK: Bootstrap = Bootstrap { resamples: 300, confidence: 0.95, seed: 3 };

/// Mated scores around .6 and non-mated ones around .2, spread wide; `lift` is added to the mated ones.
fn run(lift: f64) -> Vec<Comparison> {
    let spread = |i: u32| f64::from(i * 7919 % 997) / 997.0;
    let mated = (0..300).map(|i| Comparison::new(true, Some(0.2 + 0.8 * spread(i) + lift)));
    mated.chain((0..300).map(|i| Comparison::new(false, Some(-0.2 + 0.8 * spread(i + 500))))).collect()
}

#[test]
fn a_small_gain_on_the_same_pairs_is_seen_where_two_intervals_would_overlap() {
    let (champion, candidate) = (run(0.0), run(0.02));
    let p = paired_verification(&champion, &candidate, QUICK).unwrap();
    let auc = p.get("auc").unwrap();
    assert!(auc.is_better() && auc.first < auc.second, "{auc:?}");
    assert!((auc.difference.value - (auc.second - auc.first)).abs() < 1e-12);
    let alone = |c: &[Comparison]| verification(c, (1, 0), None, QUICK).unwrap().auc;
    assert!((alone(&champion).value - auc.first).abs() < 1e-12 && (alone(&candidate).value - auc.second).abs() < 1e-12);
    assert!(alone(&champion).interval.high > alone(&candidate).interval.low, "side by side nothing could be said");
    assert!(p.get("eer").unwrap().is_better(), "less is better: {:?}", p.get("eer"));
    let back = paired_verification(&candidate, &champion, QUICK).unwrap();
    assert!(!back.get("auc").unwrap().is_better() && back.get("auc").unwrap().may_be_worse_by(0.0));
    assert!(!back.get("auc").unwrap().may_be_worse_by(0.1));
}

#[test]
fn a_run_against_itself_does_not_differ() {
    let mut all = run(0.0);
    all[3].score = None;
    all[400].score = None;
    let p = paired_verification(&all, &all, QUICK).unwrap();
    assert_eq!(p.differences.len(), 5);
    for d in &p.differences {
        assert_eq!((d.difference.value, d.difference.interval.low, d.difference.interval.high), (0.0, 0.0, 0.0));
        assert!(!d.is_better() && !d.may_be_worse_by(0.0));
    }
    let fewer = &all[1..];
    assert_eq!(paired_verification(&all, fewer, QUICK).unwrap_err(), EvaluationError::NotPaired);
}

#[test]
fn searches_are_paired_too() {
    let search = |i: u32, lift: f64| {
        let score = f64::from(i * 37 % 100) / 100.0 + lift;
        let mated = i.is_multiple_of(2);
        let mate = mated.then_some(Mate { score, rank: if score > 0.3 { 1 } else { 4 } });
        let top = if mated { score } else { score - lift };
        Search { mated, subject: None, cohort: None, outcome: Some(Outcome { top, mate }) }
    };
    let run = |lift: f64| (0..400).map(|i| search(i, lift)).collect::<Vec<_>>();
    let p = paired_identification(&run(0.0), &run(0.2), QUICK).unwrap();
    assert!(p.get("rank_1").unwrap().is_better() && p.get("fnir_at_fpir_1e-1").unwrap().is_better(), "{p:?}");
    let strangers = |s: Vec<Search>| s.into_iter().filter(|s| !s.mated).collect::<Vec<_>>();
    let none = paired_identification(&strangers(run(0.0)), &strangers(run(0.2)), QUICK).unwrap();
    assert!(none.differences.is_empty(), "without mated searches there is nothing to say: {none:?}");
    assert_eq!(paired_identification(&[], &[], QUICK).unwrap_err(), EvaluationError::NoSearches);
    assert_eq!(paired_identification(&run(0.0), &run(0.0)[1..], QUICK).unwrap_err(), EvaluationError::NotPaired);
}
