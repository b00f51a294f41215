//! The page of a verification.

use super::{
    Crops, Other,
    html::{cards, page, paragraph, section, table},
    plots::{self, Named},
    shared::{self, THIN, count, estimate, percent, rate, threshold},
};
use crate::{
    FoldsReport, TarEstimate, ThresholdOrigin,
    document::{VERIFICATION, Verification},
};

/// The words of this page.
const WORDS: [(&str, &str); 7] = [
    (
        "score",
        "How alike two faces are for the model, from -1 to 1. At or above the threshold they count as one person.",
    ),
    ("FMR", "False match rate: how many pairs of strangers are taken for one person."),
    (
        "FNMR",
        "False non-match rate: how many pairs of one person are not recognised. TAR is the rest: true accept rate.",
    ),
    ("EER", "Equal error rate: the error at the threshold where both kinds of error are as frequent."),
    ("AUC", "Area under the ROC: how often a pair of one person scores above a pair of strangers. 1 is perfect."),
    ("failure to enrol", "A picture in which no face was found, or that could not be read."),
    ("aligned crop", "The part of a picture that the model sees: the face, turned upright."),
];

/// Draws the page. Without `crops` it holds no faces; `other` is a second run to compare with.
#[must_use]
pub fn verification(d: &Verification, crops: Option<&Crops>, other: Option<&Other<Verification>>) -> String {
    let mut body = shared::faces_notice(crops);
    body += &summary(d);
    body += &measures(d, other);
    body += d.folds.as_ref().map(folds).unwrap_or_default().as_str();
    body += &curves(d, other);
    if let Some(c) = &d.cohorts {
        let about = format!(
            "All at the common threshold {}. Only pairs within one cohort count here; {} pairs across cohorts or without a \
             label do not.",
            threshold(c.threshold),
            count(c.left_out)
        );
        body += &shared::cohorts(c, ["FNMR", "FMR"], &about);
    }
    body += &worst(d, crops);
    body += &shared::failures(&d.failures, d.report.failures.samples.max(d.failures.len()));
    body += &shared::provenance(&d.provenance, &d.speed, VERIFICATION);
    body += &shared::glossary(&WORDS);
    page("Verification: are two pictures of one person?", &shared::models_line(&d.provenance), &body)
}

fn summary(d: &Verification) -> String {
    let r = &d.report;
    let (value, note) = match &d.folds {
        Some(f) => (
            format!("{} ± {}", percent(f.accuracy), percent(f.standard_error)),
            format!("mean and standard error of {} folds, each at the threshold of the others", f.folds.len()),
        ),
        None => (percent(r.accuracy.estimate.value), format!("{}; {}", range(&r.accuracy.estimate), origin(d))),
    };
    let best = r.tar_at_fmr.iter().rfind(|t| t.support >= THIN).or(r.tar_at_fmr.first());
    let mut all = vec![("Decided rightly", value, note)];
    if let Some(t) = best {
        let note = format!("{}; when {} of strangers may pass", range(&t.estimate), rate(t.fmr));
        all.push(("One person recognised", percent(t.estimate.value), note));
    }
    all.push((
        "Equal error rate",
        percent(r.eer.estimate.value),
        format!("{}; lower is better", range(&r.eer.estimate)),
    ));
    let f = &r.failures;
    let note = format!("{} of {} pictures gave no template", count(f.failed_samples), count(f.samples));
    all.push(("Failures to enrol", percent(f.rate()), note));
    cards(&all)
}

fn range(e: &crate::Estimate) -> String {
    format!("{} – {}", percent(e.interval.low), percent(e.interval.high))
}

fn origin(d: &Verification) -> String {
    match (d.report.accuracy.threshold_origin, &d.protocol.threshold_from) {
        (ThresholdOrigin::OtherPairs, Some(file)) => format!("threshold chosen on {file}"),
        (ThresholdOrigin::OtherPairs, None) => "threshold chosen on other pairs".to_owned(),
        (ThresholdOrigin::SamePairs, _) => "threshold chosen on these very pairs, so an upper bound".to_owned(),
    }
}

fn measures(d: &Verification, other: Option<&Other<Verification>>) -> String {
    let r = &d.report;
    let (mated, non_mated) =
        (r.mated_scores.count + r.failures.mated_pairs, r.non_mated_scores.count + r.failures.non_mated_pairs);
    let mut body = paragraph(&format!(
        "{} pairs of {}: {} of one person, {} of two. In each picture {} face is compared. {}",
        count(r.pairs),
        d.protocol.pairs,
        count(mated),
        count(non_mated),
        d.protocol.face,
        d.protocol.subjects
    ));
    let rows = |d: &Verification| -> Vec<(String, String, String)> {
        let r = &d.report;
        let auc = |v: f64| format!("{v:.5}");
        let ends = [r.auc.interval.low, r.auc.interval.high].map(auc);
        let mut rows = vec![
            ("accuracy".to_owned(), estimate(&r.accuracy.estimate), threshold(r.accuracy.threshold)),
            ("– strangers let through (FMR)".to_owned(), estimate(&r.accuracy.fmr), threshold(r.accuracy.threshold)),
            ("– one person missed (FNMR)".to_owned(), estimate(&r.accuracy.fnmr), threshold(r.accuracy.threshold)),
            ("AUC".to_owned(), format!("{} ({} – {})", auc(r.auc.value), ends[0], ends[1]), String::new()),
            ("EER".to_owned(), estimate(&r.eer.estimate), threshold(r.eer.threshold)),
        ];
        let tar = |t: &TarEstimate| {
            let thin = if t.support < THIN { format!(", resting on {} pairs", t.support) } else { String::new() };
            (format!("TAR at FMR {}{thin}", rate(t.fmr)), estimate(&t.estimate), threshold(t.threshold))
        };
        rows.extend(r.tar_at_fmr.iter().map(tar));
        rows
    };
    let ours = rows(d);
    body += &match other {
        None => {
            let rows: Vec<Vec<String>> = ours.into_iter().map(|(n, v, t)| vec![n, v, t]).collect();
            table(&["measure", "value", "threshold"], &rows)
        }
        Some(o) => {
            let join = |((n, v, t), (_, v2, t2))| vec![n, v, t, v2, t2];
            let rows: Vec<Vec<String>> = ours.into_iter().zip(rows(&o.document)).map(join).collect();
            let name = format!("compared: {}", o.name);
            let mut compared = table(&["measure", "this run", "threshold", &name, "threshold"], &rows);
            compared += &shared::compared(&o.name, &o.document.provenance);
            if o.document.protocol.pairs != d.protocol.pairs || o.document.report.pairs != d.report.pairs {
                compared += "<p class=\"notice\">The two runs are not of the same pairs.</p>\n";
            }
            compared
        }
    };
    body += &paragraph(&format!(
        "Scores of one person: mean {:.3}, standard deviation {:.3}. Of strangers: mean {:.3}, standard deviation {:.3}.",
        r.mated_scores.mean, r.mated_scores.sd, r.non_mated_scores.mean, r.non_mated_scores.sd
    ));
    body += &paragraph(&format!("{} The accuracy's threshold: {}.", r.failure_rule, origin(d)));
    body += &paragraph(&shared::intervals(&r.bootstrap, r.unit));
    section("Measures", &body)
}

fn folds(f: &FoldsReport) -> String {
    let row = |f: &crate::Fold| {
        vec![f.name.clone(), count(f.pairs), threshold(f.threshold), count(f.pairs - f.correct), percent(f.accuracy)]
    };
    let mut rows: Vec<Vec<String>> = f.folds.iter().map(row).collect();
    let mean = format!("{} ± {}", percent(f.accuracy), percent(f.standard_error));
    rows.push(vec!["mean ± standard error".to_owned(), String::new(), threshold(f.threshold), String::new(), mean]);
    let about = "Each fold is decided at the threshold that decides the other folds best, so no pair helped to choose its \
                 own threshold. A pair with a failure to enrol is an error.";
    section("Folds", &(paragraph(about) + &table(&["fold", "pairs", "threshold", "errors", "accuracy"], &rows)))
}

fn curves(d: &Verification, other: Option<&Other<Verification>>) -> String {
    let mut curves = vec![Named { name: "this run", of: &d.curve }];
    let mut eer = vec![d.report.eer.estimate.value];
    if let Some(o) = other {
        curves.push(Named { name: &o.name, of: &o.document.curve });
        eer.push(o.document.report.eer.estimate.value);
    }
    let scores = plots::histogram(
        &d.histogram,
        ["one person", "strangers"],
        Some(d.report.accuracy.threshold),
        "How scores are spread. The less the two overlap, the better. The line is the accuracy's threshold.",
    );
    let plots = [scores, plots::roc(&curves), plots::det(&curves, &eer)].concat();
    section("Plots", &format!("<div class=\"plots\">\n{plots}</div>\n"))
}

fn worst(d: &Verification, crops: Option<&Crops>) -> String {
    let split = d.worst.mated.len();
    let part = |from: usize| crops.map(|c| c.get(from..).unwrap_or_default());
    let mut body = shared::pairs(
        "One person, least alike",
        "The lowest scores of pairs labelled as one person. Pictures of another person here are errors of the labels or a \
         bystander who was taken for the one meant.",
        &d.worst.mated,
        part(0),
    );
    body += &shared::pairs(
        "Strangers, most alike",
        "The highest scores of pairs labelled as two persons. One person under two names here is an error of the labels.",
        &d.worst.non_mated,
        part(split),
    );
    section("Hardest pairs", &body)
}
