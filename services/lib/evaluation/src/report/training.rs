//! The page of a training run.

use super::{
    html::{cards, facts, page, paragraph, section, table},
    plots::{self, Named},
    shared::{self, count, difference, estimate, percent, rate},
};
use crate::{
    Difference, Estimate, RocPoint,
    document::{Training, TrainingProtocol},
};

/// The words of this page.
const WORDS: [(&str, &str); 5] = [
    ("champion", "The model that training began with."),
    ("candidate", "The model that came out: the weights that were best on validation, not the last ones."),
    ("FMR, FNMR, TAR", "False match rate, false non-match rate, true accept rate (1 − FNMR)."),
    ("validation", "People who are not trained on and choose which weights are kept."),
    ("test", "People whom nothing was learned from or chosen by: only they tell how good the model is."),
];

/// Draws the page. It holds no faces and no names of people.
#[must_use]
pub fn training(d: &Training) -> String {
    let mut body = summary(d);
    for p in &d.protocols {
        body += &protocol(p);
    }
    body += &curves(d);
    body += &data(d);
    let lineage: Vec<(&str, String)> = d.lineage.iter().map(|l| (l.name.as_str(), l.value.clone())).collect();
    body += &section("Where this comes from", &facts(&lineage));
    body += &shared::glossary(&WORDS);
    page("Training: what a model has learned", &format!("{}, {}", d.recipe, d.method), &body)
}

fn summary(d: &Training) -> String {
    let mut all = vec![
        (
            "weights kept",
            format!("step {}", d.best_step),
            match d.best_step {
                0 => "nothing was better on validation than the weights it began with".to_owned(),
                _ => format!("the best on validation, of {} steps", count(usize_of(d.steps))),
            },
        ),
        ("photos", count(d.data.samples), format!("of {} people", count(d.data.identities))),
        ("speed", format!("{:.1} photos/s", d.images_per_second), "mean over the steps".to_owned()),
    ];
    let of = |p: &TrainingProtocol, measure: &str| {
        let d = p.paired.as_ref()?.get(measure)?;
        Some((p.name.clone(), verdict(d), difference(&d.difference)))
    };
    for p in &d.protocols {
        if let Some((name, verdict, gap)) = of(p, "tar_at_fmr_1e-3") {
            all.push(("TAR at FMR 0.1 %, points", gap, format!("photos {name}: {verdict}")));
        }
    }
    section("In short", &cards(&all))
}

fn usize_of(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn verdict(d: &Difference) -> String {
    let i = d.difference.interval;
    let (worse, better) = if d.higher_is_better { (i.high < 0.0, i.low > 0.0) } else { (i.low > 0.0, i.high < 0.0) };
    match (better, worse) {
        (true, _) => "better, beyond chance",
        (_, true) => "worse, beyond chance",
        _ => "no difference shown",
    }
    .to_owned()
}

fn protocol(p: &TrainingProtocol) -> String {
    let r = &p.candidate.report;
    let mut body = paragraph(&format!(
        "{} photos of {} people who were not trained on: {} pairs. {}",
        count(p.samples),
        count(p.identities),
        count(r.pairs),
        match p.chose_the_step {
            true => "The same people have chosen which weights are kept, so the candidate's figures flatter it.",
            false => "They have chosen nothing either.",
        }
    ));
    body += &paragraph(&shared::intervals(&r.bootstrap, r.unit));
    body += &table(&["measure", "champion", "candidate", "difference in points"], &rows(p));
    let empty: &[RocPoint] = &[];
    let champion = p.champion.as_ref().map_or(empty, |c| &c.curve);
    let mut named = vec![Named { name: "candidate", of: p.candidate.curve.as_slice() }];
    let mut eer = vec![r.eer.estimate.value];
    if let Some(c) = &p.champion {
        named.push(Named { name: "champion", of: champion });
        eer.push(c.report.eer.estimate.value);
    }
    body += &format!("<div class=\"plots\">\n{}{}</div>\n", plots::det(&named, &eer), plots::roc(&named));
    section(&format!("Photos {}", p.name), &body)
}

/// Measures of both models.
fn rows(p: &TrainingProtocol) -> Vec<Vec<String>> {
    let r = &p.candidate.report;
    let champion = p.champion.as_ref().map(|c| &c.report);
    let gap = |measure: &str| p.paired.as_ref().and_then(|x| x.get(measure)).map(|d| d.difference);
    let row = |name: String, ours: &Estimate, theirs: Option<&Estimate>, measure: &str| {
        vec![
            name,
            shared::or_dash(theirs, estimate),
            estimate(ours),
            shared::or_dash(gap(measure).as_ref(), difference),
        ]
    };
    let names = ["tar_at_fmr_1e-2", "tar_at_fmr_1e-3", "tar_at_fmr_1e-4"];
    let tars = r.tar_at_fmr.iter().enumerate().zip(names).map(|((i, t), measure)| {
        let theirs = champion.and_then(|c| c.tar_at_fmr.get(i)).map(|t| &t.estimate);
        row(format!("TAR at FMR {}", rate(t.fmr)), &t.estimate, theirs, measure)
    });
    let eer = row("EER".into(), &r.eer.estimate, champion.map(|c| &c.eer.estimate), "eer");
    let auc = row("AUC".into(), &r.auc, champion.map(|c| &c.auc), "auc");
    tars.chain([eer, auc]).collect()
}

fn curves(d: &Training) -> String {
    let loss: Vec<(f64, f64)> = d.losses.iter().map(|l| (l.step as f64, l.loss)).collect();
    let lr: Vec<(f64, f64)> = d.losses.iter().map(|l| (l.step as f64, l.learning_rate)).collect();
    let tar: Vec<(f64, f64)> = d.validations.iter().map(|v| (v.step as f64, v.tar)).collect();
    let auc: Vec<(f64, f64)> = d.validations.iter().map(|v| (v.step as f64, v.auc)).collect();
    let mut plots = plots::by_step("Loss", "loss", &[("", &loss)], None, "Mean over each batch. Lower is better.");
    let about = "The dot marks the weights that were kept.";
    let best = d.validations.iter().filter(|v| v.step == d.best_step).map(|v| (v.step as f64, v.tar)).next_back();
    let fmr = d.validations.first().map_or(1e-3, |v| v.fmr);
    let name = format!("TAR at FMR {}", rate(fmr));
    plots += &plots::by_step("Validation", "share", &[(&name, &tar), ("AUC", &auc)], best, about);
    plots += &plots::by_step("Learning rate", "rate", &[("", &lr)], None, "Grows, then falls as half a cosine.");
    section("How it learned", &format!("<div class=\"plots\">\n{plots}</div>\n"))
}

fn data(d: &Training) -> String {
    let t = &d.data;
    let mut body = String::new();
    let warned: Vec<Vec<String>> = t.warnings.iter().map(|w| vec![w.clone()]).collect();
    if !warned.is_empty() {
        body += &super::html::word_table(&["what deserves a look"], &warned);
    }
    let split: Vec<Vec<String>> =
        t.split.iter().map(|(role, people, photos)| vec![role.clone(), count(*people), count(*photos)]).collect();
    body += &table(&["people for", "people", "photos"], &split);
    let [least, median, most] = t.balance;
    let three = |v: Option<[f32; 3]>, unit: &str| {
        v.map_or_else(|| "not known".to_owned(), |[l, m, h]| format!("{l:.0}{unit}, {m:.0}{unit}, {h:.0}{unit}"))
    };
    let all = [
        ("photos of a person", format!("{least} to {most}, {median} in the middle")),
        ("left out", count(t.unusable)),
        ("nearly the same", format!("{} pairs", count(t.near_duplicates))),
        ("more like somebody else", format!("{} ({})", count(t.suspects), percent(share(t.suspects, t.samples)))),
        ("turned to the side (5, 50, 95 %)", three(t.yaw, "°")),
        ("up and down (5, 50, 95 %)", three(t.pitch, "°")),
        ("quality (5, 50, 95 %)", three(t.quality, "")),
    ];
    body += &facts(&all);
    section("The photos", &body)
}

fn share(part: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}
