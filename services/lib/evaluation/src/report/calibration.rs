//! The page of a calibration.

use super::{
    Crops,
    html::{cards, escape, page, paragraph, section, table, word_table},
    plots,
    shared::{self, count, rate},
};
use crate::{
    CalibrationRow,
    document::{CALIBRATION, Calibration, PicturePair, Suspicion},
};

/// The words of this page.
const WORDS: [(&str, &str); 3] = [
    ("FMR", "False match rate: how many pairs of strangers score at or above the threshold."),
    ("score", "How alike two faces are for the model, from -1 to 1."),
    (
        "extrapolated",
        "Not measured, since the sample is too small for so rare a match, but extended from the rows above.",
    ),
];

/// Draws the page. Without `crops` it holds no faces.
#[must_use]
pub fn calibration(d: &Calibration, crops: Option<&Crops>) -> String {
    let s = &d.sample;
    let mut body = shared::faces_notice(crops);
    body += &cards(&[
        ("Comparisons of strangers", count(s.comparisons), format!("of {} that there are", count(s.possible as usize))),
        ("People", count(s.subjects), format!("in {} pictures of {}", count(s.images), s.source)),
        ("Suspected double names", count(d.guard.suspects.len()), "pairs of names that may be one person".to_owned()),
        ("Failures to enrol", count(s.failed_images), format!("of {} pictures", count(s.images))),
    ]);
    body += &rows(d);
    body += &curves(d);
    body += &suspects(d, crops);
    let manifest = format!("<pre>{}</pre>\n", escape(&d.manifest));
    body += &section("For the manifest", &(paragraph("To be put into the embedder's manifest as it is.") + &manifest));
    body += &shared::failures(&d.failures, s.images);
    body += &shared::provenance(&d.provenance, &d.speed, CALIBRATION);
    body += &shared::glossary(&WORDS);
    page("Calibration: which score is how rare?", &shared::models_line(&d.provenance), &body)
}

fn rows(d: &Calibration) -> String {
    let in_use = |fmr: f64| d.in_use.iter().find(|r| (r.fmr / fmr - 1.0).abs() < 1e-6).map(|r| r.score);
    let without = |fmr: f64| d.guard.rows_without.iter().find(|r| r.fmr == fmr).map(|r| r.score);
    let score = |s: Option<f64>| s.map_or_else(|| "–".to_owned(), |s| format!("{s:.4}"));
    let row = |r: &CalibrationRow| {
        let rests =
            if r.extrapolated { "extrapolated".to_owned() } else { format!("{} comparisons", count(r.support)) };
        let gap = in_use(r.fmr).map_or_else(|| "–".to_owned(), |s| shared::gap(r.score - s));
        vec![rate(r.fmr), format!("{:.4}", r.score), rests, score(without(r.fmr)), score(in_use(r.fmr)), gap]
    };
    let rows: Vec<Vec<String>> = d.rows.iter().map(row).collect();
    let head = ["FMR", "score", "rests on", "without suspects", "table in use", "difference"];
    let mut body = paragraph(&format!("{}. The table's id is {}.", d.sample_text, d.id));
    body += &table(&head, &rows);
    if let Some(id) = &d.in_use_id {
        body += &paragraph(&format!("The table in use for these models is {id}."));
    }
    section("Table", &body)
}

fn curves(d: &Calibration) -> String {
    let points = |rows: &[crate::document::InUse]| rows.iter().map(|r| (r.fmr, r.score)).collect::<Vec<_>>();
    let rows: Vec<(f64, f64)> = d.rows.iter().map(|r| (r.fmr, r.score)).collect();
    let scores = plots::histogram(
        &d.histogram,
        ["one person", "strangers"],
        None,
        "How scores are spread. Only those of strangers make the table.",
    );
    let plots = plots::score_by_fmr(&points(&d.curve), &rows, &points(&d.in_use)) + &scores;
    section("Plots", &format!("<div class=\"plots\">\n{plots}</div>\n"))
}

fn suspects(d: &Calibration, crops: Option<&Crops>) -> String {
    let g = &d.guard;
    let Some(from) = g.threshold else {
        let about =
            "There are too few pictures of one person to say how alike those are, so the labels were not checked.";
        return section("Are the labels right?", &paragraph(about));
    };
    let mut body = paragraph(&format!(
        "One person under two names makes strangers look more alike than they are and raises the table's last rows. From \
         {from:.4} on, a pair of strangers is as alike as pairs of one person are, and more alike than this sample lets \
         expect: {} comparisons of {} pairs of names. Nothing was left out because of that. Look at them; put those that are \
         one person into a file for --same-person, and measure again.",
        count(g.comparisons),
        count(g.suspects.len())
    ));
    if d.sample.one_person > 0 {
        body += &paragraph(&format!(
            "{} pairs of names were given as one person and left out.",
            count(d.sample.one_person)
        ));
    }
    let kind = |k: Suspicion| match k {
        Suspicion::SameFile => "the same file",
        Suspicion::NearDuplicate => "perhaps the same photo",
        Suspicion::Alike => "very alike",
    };
    let row = |s: &crate::document::Suspect| {
        vec![
            s.subject.clone(),
            s.other.clone(),
            format!("{:.4}", s.pair.score),
            count(s.comparisons),
            kind(s.kind).to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = g.suspects.iter().map(row).collect();
    if !rows.is_empty() {
        body += &word_table(&["subject", "other", "highest score", "comparisons", "why"], &rows);
    }
    let pairs: Vec<PicturePair> = g.suspects.iter().map(|s| s.pair.clone()).collect();
    body += &shared::pairs("Their most alike pictures", "Different names, highest scores.", &pairs, crops);
    section("Are the labels right?", &body)
}
