//! The page of a training run: how it ended, what it learnt from, its curves, and the candidate beside the model it began
//! with. Names nobody and shows no faces.

use domain::RunLineage;

use super::{
    html::{cards, facts, page, paragraph, section, table},
    plots::{self, Named},
    shared::{self, count, difference, estimate},
    svg::{Axis, Plot, Scale},
};
use crate::{
    VerificationReport,
    document::training_run::{Comparison, Step, TrainingRun},
};

/// Draws the page.
#[must_use]
pub fn training_run(d: &TrainingRun) -> String {
    let mut body = summary(d);
    if let Some(failure) = &d.failure {
        let text = format!("{}. No model was changed. ({})", failure.detail, failure.code.as_str());
        body += &section("Why it failed", &paragraph(&text));
    }
    body += &d.lineage.as_ref().map(dataset).unwrap_or_default();
    body += &curves(&d.steps);
    body += &match (&d.comparison, &d.not_measured) {
        (Some(c), _) => compared(c),
        (None, Some(why)) => section("Before and after", &paragraph(&format!("Nothing was measured: {why}."))),
        (None, None) => String::new(),
    };
    body += &provenance(d);
    page(&format!("Training run: {}", d.state), &format!("{} on {}", d.recipe, d.base_model), &body)
}

fn summary(d: &TrainingRun) -> String {
    let mut all = Vec::new();
    if let Some(l) = &d.lineage {
        let note = format!("with {} crops", count(l.crops as usize));
        all.push(("Learnt from", format!("{} subjects", count(l.subjects as usize)), note));
    }
    if let Some(c) = &d.comparison
        && let Some(tar) = c.paired.get("tar_at_fmr_1e-3")
    {
        let note = format!("from {} to {}", shared::percent(tar.first), shared::percent(tar.second));
        all.push(("One person recognised, at FMR 0.1 %", difference(&tar.difference), note));
    }
    if let Some(parity) = d.parity {
        all.push(("Largest difference when served", format!("{parity:.1e}"), "1e-4 is allowed".to_owned()));
    }
    cards(&all)
}

fn dataset(l: &RunLineage) -> String {
    let n = |n: u32| count(n as usize);
    let all = [
        ("learnt from", format!("{} crops of {} subjects", n(l.crops), n(l.subjects))),
        ("held out", format!("{} crops of {} subjects", n(l.held_out_crops), n(l.held_out_subjects))),
        ("left out as unreadable", n(l.unreadable)),
        ("consents looked through", l.consents_at.to_string()),
        ("SHA-256", l.dataset_sha256.clone()),
    ];
    let about = "Only subjects who agreed to training, at the time below and again before the model was registered. Nobody \
                 who is held out was learnt from. The lineage lists everybody by handle.";
    section("What it learnt from", &(paragraph(about) + &facts(&all)))
}

/// Loss and learning rate over the steps.
fn curves(steps: &[Step]) -> String {
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return String::new() };
    let x = || {
        let (from, to) = (first.step as f64, (last.step as f64).max(first.step as f64 + 1.0));
        Axis { label: "step", from, to, scale: Scale::Linear, ticks: ticks(from, to, 0) }
    };
    let plot = |title, label, of: fn(&Step) -> f64, digits, caption| {
        let most = steps.iter().map(of).fold(f64::MIN_POSITIVE, f64::max);
        let y = Axis { label, from: 0.0, to: most, scale: Scale::Linear, ticks: ticks(0.0, most, digits) };
        let mut plot = Plot::new(title, x(), y);
        plot.curve("ours", "", steps.iter().map(|s| (s.step as f64, of(s))));
        plot.figure(caption)
    };
    let loss = plot("Loss", "loss", |s| s.loss, 2, "What the training makes smaller.");
    let rate = plot("Learning rate", "learning rate", |s| s.learning_rate, 6, "How far each step goes.");
    section("How it learnt", &format!("<div class=\"plots\">\n{loss}{rate}</div>\n"))
}

fn ticks(from: f64, to: f64, digits: usize) -> Vec<(f64, String)> {
    (0..=5).map(|i| from + (to - from) * f64::from(i) / 5.0).map(|v| (v, format!("{v:.digits$}"))).collect()
}

fn compared(c: &Comparison) -> String {
    let about = format!(
        "Both models on the same comparisons of {} held-out subjects with {} crops, as they are served. Differences are in \
         percentage points; an interval that spans 0 means that this sample shows no difference.",
        count(c.subjects),
        count(c.crops)
    );
    let named = |name: &str| match name {
        "auc" => "AUC".to_owned(),
        "eer" => "equal error rate, lower is better".to_owned(),
        name => name.strip_prefix("tar_at_fmr_").map_or_else(|| name.to_owned(), |fmr| format!("TAR at FMR {fmr}")),
    };
    let row = |d: &crate::Difference| {
        vec![named(&d.measure), shared::percent(d.first), shared::percent(d.second), difference(&d.difference)]
    };
    let rows: Vec<Vec<String>> = c.paired.differences.iter().map(row).collect();
    let mut body = paragraph(&about) + &table(&["measure", "before", "after", "difference"], &rows);
    let accuracy = |r: &VerificationReport| estimate(&r.accuracy.estimate);
    body += &paragraph(&format!(
        "Pairs decided rightly, each model at its own best threshold: {} before, {} after.",
        accuracy(&c.base.0),
        accuracy(&c.candidate.0)
    ));
    let curves = [Named { name: "after", of: &c.candidate.1[..] }, Named { name: "before", of: &c.base.1[..] }];
    let eer = [c.candidate.0.eer.estimate.value, c.base.0.eer.estimate.value];
    body += &format!("<div class=\"plots\">\n{}{}</div>\n", plots::roc(&curves), plots::det(&curves, &eer));
    body += &paragraph(&shared::intervals(&c.paired.bootstrap, c.paired.unit));
    section("Before and after", &body)
}

fn provenance(d: &TrainingRun) -> String {
    let moment = |t: Option<domain::Timestamp>| t.map(|t| t.to_string());
    let overrides: Vec<String> = d.overrides.iter().map(|(k, v)| format!("{k} = {v}")).collect();
    let all = [
        ("run", Some(d.run.clone())),
        ("asked for", moment(d.created_at)),
        ("ended", moment(d.ended_at)),
        ("recipe", Some(d.recipe.clone())),
        ("replaced in it", Some(overrides.join(", ")).filter(|o| !o.is_empty())),
        ("began with", Some(d.base_model.clone())),
        ("that model and its licence", d.licence.clone()),
        ("collections", Some(d.collections.join(", "))),
        ("purpose", d.purpose.clone()),
        ("gone on with by another trainer", Some(format!("{} times", d.resumes)).filter(|_| d.resumes > 0)),
        ("begun anew without somebody", Some(format!("{} times", d.restarts)).filter(|_| d.restarts > 0)),
        ("candidate", d.model.clone()),
    ];
    let told: Vec<(&str, String)> = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    section("Where this comes from", &facts(&told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{RunFailure, RunFailureCode};

    #[test]
    fn a_failed_run_says_why_and_what_it_had_learnt_from() {
        let lineage = RunLineage {
            dataset_sha256: "ab".repeat(32),
            subjects: 1_234,
            crops: 5_678,
            held_out_subjects: 9,
            held_out_crops: 27,
            unreadable: 3,
            consents_at: domain::Timestamp::from_millis(0),
        };
        let failure = RunFailure::new(RunFailureCode::LossNotFinite, "the loss of step 7 is NaN <b>");
        let document = TrainingRun {
            state: "failed".into(),
            lineage: Some(lineage),
            failure: Some(failure),
            steps: [2.0, 1.0].map(|loss| Step { step: 1, loss, learning_rate: 0.1 }).to_vec(),
            ..TrainingRun::default()
        };
        let html = training_run(&document);
        for told in ["loss_not_finite", "is NaN &lt;b&gt;", "1,234 subjects", "5,678 crops", "1970-01-01", "polyline"] {
            assert!(html.contains(told), "{told}: {html}");
        }
        assert!(!html.contains("Before and after"));
    }
}
