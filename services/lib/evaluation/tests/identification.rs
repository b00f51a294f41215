//! Open-set identification against cases worked out by hand, its edge cases, and its definitions on random searches.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use proptest::prelude::*;
use visavis_evaluation::{
    Bootstrap, Embeddings, EvaluationError, Gallery, IdentificationReport, Mate, Outcome, Search, Unit, identification,
};

const QUICK: Bootstrap = Bootstrap { resamples: 50, confidence: 0.95, seed: 1 };

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

fn mated(score: f64, rank: u32, top: f64) -> Search {
    let outcome = Some(Outcome { top, mate: Some(Mate { score, rank }) });
    Search { mated: true, subject: None, cohort: None, outcome }
}

fn stranger(top: f64) -> Search {
    Search { mated: false, subject: None, cohort: None, outcome: Some(Outcome { top, mate: None }) }
}

fn failed(mated: bool) -> Search {
    Search { mated, subject: None, cohort: None, outcome: None }
}

fn run(searches: &[Search]) -> IdentificationReport {
    identification(searches, 100, &[0.5], QUICK).unwrap()
}

#[test]
fn worked_example_by_hand() {
    // Mates at .9 (first), .6 (second, a stranger in the gallery has .7), .3 (eighth); one probe failed.
    let mut searches = vec![mated(0.9, 1, 0.9), mated(0.6, 2, 0.7), mated(0.3, 8, 0.5), failed(true)];
    // Twenty searches for strangers, best scores .00, .05, … .95, and one whose probe failed.
    searches.extend((0..20).map(|i| stranger(f64::from(i) / 20.0)));
    searches.push(failed(false));
    let r = run(&searches);
    let rates: Vec<f64> = r.ranks.iter().map(|r| r.rate.value).collect();
    assert_eq!(rates, [0.25, 0.5, 0.75]);
    assert!(close(r.cmc[0], 0.25) && close(r.cmc[1], 0.5) && close(r.cmc[6], 0.5) && close(r.cmc[7], 0.75));
    // A tenth of twenty strangers is two: .95 and .90 may pass, .85 may not, so the threshold lies just above .85.
    let tenth = r.fnir_at_fpir.iter().find(|p| close(p.fpir, 0.1)).unwrap();
    assert_eq!(tenth.support, 2);
    assert!(tenth.threshold > 0.85 && tenth.threshold < 0.85 + 1e-9, "{tenth:?}");
    assert!(close(tenth.fnir.value, 0.75), "only .9 is above it, of four");
    // A hundredth of twenty is none: the threshold is above .95, and everybody is missed.
    let hundredth = r.fnir_at_fpir.iter().find(|p| close(p.fpir, 0.01)).unwrap();
    assert!(hundredth.threshold > 0.95 && close(hundredth.fnir.value, 1.0) && hundredth.support == 0);
    // At .5: ten of twenty strangers; the mates of .9 and .6, whatever their rank.
    assert!(close(r.at[0].fpir.unwrap().value, 0.5) && close(r.at[0].fnir.unwrap().value, 0.5));
    let s = r.searches;
    assert_eq!((s.mated, s.non_mated, s.mated_failed, s.non_mated_failed, s.mates_missing), (4, 21, 1, 1, 0));
}

#[test]
fn being_first_can_be_asked_for() {
    let searches = [mated(0.9, 2, 0.95), mated(0.9, 1, 0.9), stranger(0.1)];
    let r = run(&searches);
    let p = r.fnir_at_fpir[0];
    assert!(close(p.fnir.value, 0.0) && close(p.fnir_rank_1.value, 0.5), "{p:?}");
}

#[test]
fn without_strangers_there_are_ranks_alone_and_the_other_way_round() {
    let only_mated = run(&[mated(0.9, 1, 0.9)]);
    assert!(only_mated.fnir_at_fpir.is_empty() && only_mated.curve.is_empty() && only_mated.ranks.len() == 3);
    assert!(only_mated.at[0].fpir.is_none() && only_mated.at[0].fnir.is_some());
    let only_strangers = run(&[stranger(0.6), stranger(0.4)]);
    assert!(only_strangers.ranks.is_empty() && only_strangers.cmc.is_empty() && only_strangers.curve.is_empty());
    assert!(close(only_strangers.at[0].fpir.unwrap().value, 0.5));
}

#[test]
fn all_failed_is_all_missed() {
    let r = run(&[failed(true), failed(true), failed(false)]);
    assert!(r.ranks.iter().all(|k| close(k.rate.value, 0.0)) && r.fnir_at_fpir.is_empty());
    assert!(r.ranks[0].rate.interval.high > 0.5, "two failures do not prove that all would fail");
    assert!(r.at[0].fpir.is_none(), "no stranger was searched for in earnest");
    let empty = Outcome { top: f64::NEG_INFINITY, mate: None };
    let r = run(&[Search { outcome: Some(empty), ..failed(true) }, Search { outcome: Some(empty), ..failed(false) }]);
    assert_eq!(r.searches.mates_missing, 1);
    assert!(close(r.at[0].fpir.unwrap().value, 0.0) && close(r.at[0].fnir.unwrap().value, 1.0));
}

#[test]
fn ties_of_strangers_pass_or_fail_together() {
    let mut searches: Vec<Search> = (0..30).map(|_| stranger(0.5)).collect();
    searches.push(mated(0.5, 1, 0.5));
    let p = *run(&searches).fnir_at_fpir.last().unwrap();
    // Three of thirty may pass, but all thirty have the same score: none does, nor does the mate.
    assert!(p.threshold > 0.5 && close(p.fnir.value, 1.0) && p.support == 3, "{p:?}");
}

#[test]
fn no_search_and_bad_scores_are_errors() {
    assert_eq!(identification(&[], 1, &[], QUICK).unwrap_err(), EvaluationError::NoSearches);
    assert_eq!(identification(&[stranger(f64::NAN)], 1, &[], QUICK).unwrap_err(), EvaluationError::NotFinite);
    assert_eq!(identification(&[stranger(f64::INFINITY)], 1, &[], QUICK).unwrap_err(), EvaluationError::NotFinite);
}

#[test]
fn people_are_drawn_with_all_of_their_searches() {
    // Twenty people with ten searches each, that all succeed or all fail: 200 searches, but 20 independent ones.
    let of = |known: bool| -> Vec<Search> {
        let search = |i: u32| Search { subject: known.then_some(i / 10), ..mated(0.5, 1 + 20 * (i / 10 % 2), 0.5) };
        (0..200).map(search).chain([stranger(0.1)]).collect()
    };
    let width = |r: &IdentificationReport| r.ranks[0].rate.interval.high - r.ranks[0].rate.interval.low;
    let b = Bootstrap { resamples: 500, ..QUICK };
    let by_person = identification(&of(true), 50, &[], b).unwrap();
    let by_search = identification(&of(false), 50, &[], b).unwrap();
    assert_eq!(by_person.unit, Unit::Subject);
    let ratio = width(&by_person) / width(&by_search);
    assert!((2.2..4.5).contains(&ratio), "√10 times as wide, about: {ratio}");
}

#[test]
fn a_search_finds_the_best_template_of_each_person() {
    let mut gallery = Gallery::default();
    // Person 0 has two templates, one of them a bad one.
    for (subject, template) in [(0, [0.0, 1.0]), (1, [0.8, 0.6]), (0, [0.96, 0.28])] {
        assert!(gallery.push(subject, &template));
    }
    assert!(!gallery.push(2, &[1.0, 0.0, 0.0]), "templates of two lengths cannot be compared");
    let mut probes = Embeddings::default();
    assert!(probes.push(&[1.0, 0.0]));
    let found = gallery.search(&probes, 0, Some(1));
    assert_eq!((found.top, found.mate), (Some(2), Some(1)));
    assert_eq!(found.outcome.mate.unwrap().rank, 2);
    assert!((found.outcome.top - 0.96).abs() < 1e-6);
    assert_eq!(gallery.search(&probes, 0, Some(0)).outcome.mate.unwrap().rank, 1);
    assert_eq!(gallery.search(&probes, 0, Some(7)).outcome.mate, None, "nobody has that number");
    let nobody = Gallery::default().search(&probes, 0, Some(0));
    assert!(nobody.top.is_none() && nobody.outcome.top == f64::NEG_INFINITY);
}

#[test]
fn a_tie_counts_against_the_person_searched_for() {
    let mut gallery = Gallery::default();
    for subject in 0..3 {
        gallery.push(subject, &[1.0, 0.0]);
    }
    let mut probes = Embeddings::default();
    probes.push(&[1.0, 0.0]);
    assert_eq!(gallery.search(&probes, 0, Some(1)).outcome.mate.unwrap().rank, 3);
}

fn searches() -> impl Strategy<Value = Vec<Search>> {
    let score = (-10i32..=10).prop_map(|v| f64::from(v) / 10.0);
    let mate = (score.clone(), 1u32..30).prop_map(|(s, rank)| mated(s, rank, s));
    let one = prop_oneof![4 => mate, 4 => score.prop_map(stranger), 1 => any::<bool>().prop_map(failed)];
    prop::collection::vec(one, 1..80)
}

proptest! {
    #[test]
    fn curves_only_go_one_way(searches in searches()) {
        let r = identification(&searches, 40, &[], Bootstrap { resamples: 1, ..QUICK }).unwrap();
        prop_assert!(r.cmc.windows(2).all(|w| w[0] <= w[1] + 1e-12) && r.cmc.iter().all(|s| (0.0..=1.0).contains(s)));
        prop_assert!(r.curve.windows(2).all(|w| w[0].fpir <= w[1].fpir + 1e-12 && w[0].fnir >= w[1].fnir - 1e-12));
        prop_assert!(r.fnir_at_fpir.windows(2).all(|w| w[0].fnir.value >= w[1].fnir.value - 1e-12));
        prop_assert!(r.fnir_at_fpir.iter().all(|p| p.fnir_rank_1.value >= p.fnir.value - 1e-12));
    }

    #[test]
    fn rates_follow_their_definitions(searches in searches(), t in -1.1f64..1.1) {
        let r = identification(&searches, 40, &[t], Bootstrap { resamples: 1, ..QUICK }).unwrap();
        let tops: Vec<f64> = searches.iter().filter(|s| !s.mated).filter_map(|s| Some(s.outcome?.top)).collect();
        let share = |t: f64| tops.iter().filter(|&&s| s >= t).count() as f64 / tops.len() as f64;
        if let Some(fpir) = r.at[0].fpir {
            prop_assert!(close(fpir.value, share(t)));
        }
        for p in &r.fnir_at_fpir {
            prop_assert!(share(p.threshold) <= p.fpir + 1e-12, "the limit is kept");
            prop_assert!(share(p.threshold - 1e-6) > p.fpir, "and no lower threshold keeps it");
        }
        for p in &r.curve {
            prop_assert!(close(p.fpir, share(p.threshold)));
        }
    }
}
