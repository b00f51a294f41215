//! What the commands print: the figures of a report as a table for people.

use evaluation::document::{Calibration, CalibrationSample, FailedImage, Identification, Speed, Verification};
use evaluation::report::{count, gap};
use evaluation::{Bootstrap, Estimate, TarEstimate, ThresholdOrigin, Unit};

use super::write::Destination;

/// Below this many errors allowed a rate rests on too little; said beside it.
const THIN: u64 = 10;

/// Failures listed by name; the rest is counted.
const LISTED: usize = 10;

/// The table of a verification.
pub fn verification(e: &Verification, destination: Option<&Destination>) -> String {
    let r = &e.report;
    let chosen = match (r.accuracy.threshold_origin, &e.protocol.threshold_from) {
        (ThresholdOrigin::OtherPairs, Some(file)) => format!("chosen on {file}"),
        _ => "the best for these very pairs, so an upper bound".to_owned(),
    };
    let (mated, non_mated) =
        (r.mated_scores.count + r.failures.mated_pairs, r.non_mated_scores.count + r.failures.non_mated_pairs);
    let models = &e.provenance.models;
    let mut rows = vec![
        ("models", format!("{} + {}, contract {}", models.detector, models.embedder, models.contract)),
        ("pairs", format!("{} ({mated} mated, {non_mated} non-mated) in {}", r.pairs, e.protocol.pairs)),
    ];
    if let Some(f) = &e.folds {
        let each: Vec<String> = f.folds.iter().map(|f| format!("{:.2}", 100.0 * f.accuracy)).collect();
        let (mean, error) = (100.0 * f.accuracy, 100.0 * f.standard_error);
        rows.push(("accuracy", format!("{mean:.2} % ± {error:.2} % (mean ± standard error of {} folds)", each.len())));
        rows.push(("folds", format!("{} %, mean threshold {:.4}", each.join(" "), f.threshold)));
    }
    rows.extend([
        ("accuracy", format!("{} at threshold {:.4}, {chosen}", percent(&r.accuracy.estimate), r.accuracy.threshold)),
        ("AUC", format!("{:.5} [{:.5}, {:.5}]", r.auc.value, r.auc.interval.low, r.auc.interval.high)),
        ("EER", format!("{} at threshold {:.4}", percent(&r.eer.estimate), r.eer.threshold)),
    ]);
    rows.extend(r.tar_at_fmr.iter().map(|t| ("TAR", tar(t))));
    rows.push((
        "scores",
        format!(
            "mated {:.3} (sd {:.3}), non-mated {:.3} (sd {:.3})",
            r.mated_scores.mean, r.mated_scores.sd, r.non_mated_scores.mean, r.non_mated_scores.sd
        ),
    ));
    for c in e.cohorts.iter().flat_map(|c| &c.rows) {
        let rates = [("FNMR", &c.fnmr), ("FMR", &c.fmr)];
        let rates =
            rates.map(|(name, e)| e.as_ref().map_or_else(|| format!("{name} -"), |e| format!("{name} {}", percent(e))));
        rows.push((
            "cohort",
            format!("{}: {}, {} at threshold {:.4}", c.cohort, rates[0], rates[1], cohort_threshold(e)),
        ));
    }
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
    rows.push(("speed", speed(&e.speed)));
    lines(&rows) + &failed(&e.failures) + &intervals(&r.bootstrap, r.unit, &r.failure_rule) + &written(destination)
}

fn cohort_threshold(e: &Verification) -> f64 {
    e.cohorts.as_ref().map_or(e.report.accuracy.threshold, |c| c.threshold)
}

/// The table of an identification.
pub fn identification(e: &Identification, destination: Option<&Destination>) -> String {
    let (r, models, g) = (&e.report, &e.provenance.models, &e.enrolment);
    let mut rows = vec![
        ("models", format!("{} + {}, contract {}", models.detector, models.embedder, models.contract)),
        ("gallery", format!("{} people, {} pictures in {}", g.subjects, g.images, e.protocol.enrol)),
        (
            "searches",
            format!(
                "{} for enrolled people, {} for strangers in {}",
                r.searches.mated, r.searches.non_mated, e.protocol.probes
            ),
        ),
    ];
    let ranks: Vec<String> = r.ranks.iter().map(|k| format!("rank-{} {}", k.rank, percent(&k.rate))).collect();
    rows.extend((!ranks.is_empty()).then(|| ("ranks", ranks.join(", "))));
    for p in &r.fnir_at_fpir {
        let thin = if p.support < THIN { format!(", resting on {} searches", p.support) } else { String::new() };
        rows.push(("FNIR", format!("{} at FPIR {}, threshold {:.4}{thin}", percent(&p.fnir), p.fpir, p.threshold)));
    }
    for p in e.service.iter().flat_map(|s| &s.points) {
        let rate = |e: &Option<Estimate>| e.as_ref().map_or_else(|| "-".to_owned(), percent);
        let (fpir, fnir) = (rate(&p.rates.fpir), rate(&p.rates.fnir));
        rows.push((
            "service",
            format!("target FPIR {}: FPIR {fpir}, FNIR {fnir} at {:.4}", p.target_fpir, p.rates.threshold),
        ));
    }
    for c in e.cohorts.iter().flat_map(|c| &c.report.rows) {
        let rate = |e: &Option<Estimate>| e.as_ref().map_or_else(|| "-".to_owned(), percent);
        rows.push(("cohort", format!("{}: FNIR {}, FPIR {}", c.cohort, rate(&c.fnmr), rate(&c.fmr))));
    }
    let s = &r.searches;
    rows.push((
        "FTE",
        format!(
            "{} enrolled pictures, {} people altogether; {} probes of enrolled people, {} of strangers",
            g.failed_images, g.failed_subjects, s.mated_failed, s.non_mated_failed
        ),
    ));
    rows.push(("speed", speed(&e.speed)));
    let mut text = lines(&rows);
    if !e.protocol.not_enrolled.is_empty() {
        let names: Vec<&str> = e.protocol.not_enrolled.iter().take(LISTED).map(String::as_str).collect();
        let more = e.protocol.not_enrolled.len().saturating_sub(LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text += &format!("Not enrolled, hence strangers: {}{more}.\n", names.join(", "));
    }
    text + &failed(&e.failures) + &intervals(&r.bootstrap, r.unit, &r.rule) + &written(destination)
}

/// The table of a calibration as TOML: the manifest's part, with everything else as comments.
pub fn calibration(e: &Calibration, destination: Option<&Destination>) -> String {
    let mut text = String::new();
    let models = &e.provenance.models;
    text += &format!("{} + {}, contract {}\n", models.detector, models.embedder, models.contract);
    text += &format!(
        "scores of strangers {:.4} (sd {:.4}), of one person {:.4} (sd {:.4})\n",
        e.non_mated_scores.mean, e.non_mated_scores.sd, e.mated_scores.mean, e.mated_scores.sd
    );
    for r in &e.rows {
        let own = e.in_use.iter().find(|u| (u.fmr / r.fmr - 1.0).abs() < 1e-6);
        let own = own.map_or_else(String::new, |u| format!(", in use {:.4} ({})", u.score, gap(r.score - u.score)));
        let without = e.guard.rows_without.iter().find(|w| w.fmr == r.fmr);
        let without = without.map_or_else(String::new, |w| format!(", without suspects {:.4}", w.score));
        let rests = if r.extrapolated { "extrapolated" } else { "measured" };
        text += &format!("FMR {:e}: score {:.4}, {rests} ({} comparisons){without}{own}\n", r.fmr, r.score, r.support);
    }
    if let Some(from) = e.guard.threshold {
        let (all, names) = (e.guard.comparisons, e.guard.suspects.len());
        text += &format!(
            "labels: {all} comparisons of {names} pairs of names score {from:.4} or more, as one person does\n"
        );
        for s in e.guard.suspects.iter().take(LISTED) {
            text += &format!(
                "  {} and {}: {:.4} ({} and {})\n",
                s.subject, s.other, s.pair.score, s.pair.left, s.pair.right
            );
        }
    }
    text += &format!("{}\n{}{}", speed(&e.speed), failed(&e.failures), written(destination));
    let comments: String = text.lines().map(|l| format!("# {}\n", l.replace(char::is_control, " "))).collect();
    comments + &e.manifest
}

/// What a calibration was measured on, in a sentence for the manifest.
pub fn sample(s: &CalibrationSample) -> String {
    let drawn = if s.possible > s.comparisons as u64 {
        format!(" drawn at random of {}", count(s.possible as usize))
    } else {
        String::new()
    };
    let pairs = if s.one_person > 0 {
        format!(", {} pairs of double names left out", count(s.one_person))
    } else {
        String::new()
    };
    let failed =
        if s.failed_images > 0 { format!(" ({} failed to enrol)", count(s.failed_images)) } else { String::new() };
    format!(
        "{} non-mated pairs{drawn} of {} pictures{failed} of {} people in {}{pairs}",
        count(s.comparisons),
        count(s.images),
        count(s.subjects),
        s.source
    )
}

fn lines(rows: &[(&str, String)]) -> String {
    rows.iter().map(|(name, value)| format!("{name:9} {value}\n")).collect()
}

fn speed(s: &Speed) -> String {
    format!("{:.1} images/s ({} in {:.1} s)", s.images_per_second, s.images, s.seconds)
}

fn failed(failures: &[FailedImage]) -> String {
    let mut text: String =
        failures.iter().take(LISTED).map(|f| format!("  failed: {} ({})\n", f.image, f.reason)).collect();
    if failures.len() > LISTED {
        text.push_str(&format!("  and {} more\n", failures.len() - LISTED));
    }
    text
}

fn intervals(b: &Bootstrap, unit: Unit, rule: &str) -> String {
    let (confidence, resamples) = (100.0 * b.confidence, b.resamples);
    format!("Intervals: {confidence:.0} % bootstrap, {resamples} resamples; {}. {rule}\n", unit.in_words())
}

fn written(destination: Option<&Destination>) -> String {
    destination.map_or_else(String::new, |d| format!("Report: {}\n", d.html.display()))
}

fn tar(t: &TarEstimate) -> String {
    let thin = if t.support < THIN { format!(", resting on {} non-mated pairs", t.support) } else { String::new() };
    format!("{} at FMR {:.0e}, threshold {:.4}{thin}", percent(&t.estimate), t.fmr, t.threshold)
}

fn percent(e: &Estimate) -> String {
    format!("{:.2} % [{:.2}, {:.2}]", 100.0 * e.value, 100.0 * e.interval.low, 100.0 * e.interval.high)
}
