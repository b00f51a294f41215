//! The report as a table for people.

use evaluation::{Estimate, TarEstimate, ThresholdOrigin};

use super::Evaluation;

/// Below this many allowed false matches a TAR rests on too little; said beside it.
const THIN: u64 = 10;

/// Failures listed by name; the rest is counted.
const LISTED: usize = 10;

/// The table.
pub fn table(e: &Evaluation) -> String {
    let r = &e.report;
    let chosen = match (r.accuracy.threshold_origin, &e.protocol.threshold_from) {
        (ThresholdOrigin::OtherPairs, Some(file)) => format!("chosen on {file}"),
        _ => "the best for these very pairs, so an upper bound".to_owned(),
    };
    let (mated, non_mated) =
        (r.mated_scores.count + r.failures.mated_pairs, r.non_mated_scores.count + r.failures.non_mated_pairs);
    let mut rows = vec![
        ("models", format!("{} + {}, contract {}", e.models.detector, e.models.embedder, e.models.contract)),
        ("pairs", format!("{} ({mated} mated, {non_mated} non-mated) in {}", r.pairs, e.protocol.pairs)),
        ("accuracy", format!("{} at threshold {:.4}, {chosen}", percent(&r.accuracy.estimate), r.accuracy.threshold)),
        ("AUC", format!("{:.5} [{:.5}, {:.5}]", r.auc.value, r.auc.interval.low, r.auc.interval.high)),
        ("EER", format!("{} at threshold {:.4}", percent(&r.eer.estimate), r.eer.threshold)),
    ];
    rows.extend(r.tar_at_fmr.iter().map(|t| ("TAR", tar(t))));
    rows.push((
        "scores",
        format!(
            "mated {:.3} (sd {:.3}), non-mated {:.3} (sd {:.3})",
            r.mated_scores.mean, r.mated_scores.sd, r.non_mated_scores.mean, r.non_mated_scores.sd
        ),
    ));
    let f = &r.failures;
    rows.push((
        "FTE",
        format!(
            "{} of {} pictures ({:.2} %), in {} mated and {} non-mated pairs",
            f.failed_samples,
            f.samples,
            100.0 * f.rate(),
            f.mated_pairs,
            f.non_mated_pairs
        ),
    ));
    let s = &e.speed;
    rows.push(("speed", format!("{:.1} images/s ({} in {:.1} s)", s.images_per_second, s.images, s.seconds)));
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:9} {value}\n")).collect();
    for failed in e.failures.iter().take(LISTED) {
        text.push_str(&format!("  failed: {} ({})\n", failed.image, failed.reason));
    }
    if e.failures.len() > LISTED {
        text.push_str(&format!("  and {} more\n", e.failures.len() - LISTED));
    }
    text.push_str(&format!(
        "Intervals: {:.0} % bootstrap, {} resamples. {}\n",
        100.0 * r.bootstrap.confidence,
        r.bootstrap.resamples,
        r.failure_rule
    ));
    text
}

fn tar(t: &TarEstimate) -> String {
    let thin = if t.support < THIN { format!(", resting on {} non-mated pairs", t.support) } else { String::new() };
    format!("{} at FMR {:.0e}, threshold {:.4}{thin}", percent(&t.estimate), t.fmr, t.threshold)
}

fn percent(e: &Estimate) -> String {
    format!("{:.2} % [{:.2}, {:.2}]", 100.0 * e.value, 100.0 * e.interval.low, 100.0 * e.interval.high)
}
