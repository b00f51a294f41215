//! What the k6 scripts are to know: scenarios, weights and objectives of this package's own files, as one JSON that lies
//! beside the scripts. A test sees to it that it is what the files say. And the running of k6.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    output,
    pictures::Album,
    scenario::{self, Flow, Mix, Scenario, Shares},
    slo::Slo,
    stand::Stand,
};

/// Scenarios that k6 can run: those that need nothing done to the service.
const SCENARIOS: [&str; 6] = ["agree", "burst", "mixed", "smoke", "soak", "steady"];
/// Measures that k6 has too, and what they are there.
const TIMES: [(&str, &str); 4] = [("p50_ms", "med"), ("p90_ms", "p(90)"), ("p95_ms", "p(95)"), ("p99_ms", "p(99)")];

/// One scenario for k6.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Plan {
    about: String,
    enrolled: usize,
    deadline_ms: u64,
    mix: BTreeMap<String, u32>,
    no_face: f64,
    corrupt: f64,
    /// Seconds, and a rate or a share of what the service carries.
    stages: Vec<BTreeMap<String, f64>>,
    /// By metric.
    thresholds: BTreeMap<String, Vec<String>>,
}

/// All scenarios, as the scripts read them.
///
/// # Errors
/// Files that cannot be read.
fn plans() -> Result<BTreeMap<&'static str, Plan>, Failure> {
    SCENARIOS.iter().map(|name| Ok((*name, plan(name)?))).collect()
}

fn plan(name: &str) -> Result<Plan, Failure> {
    let (_, scenario) = Scenario::read(name)?;
    let slo = Slo::read(&scenario.slo)?;
    let Mix { identify, verify, detect, enrol } = scenario.mix;
    let mix = [("identify", identify), ("verify", verify), ("detect", detect), ("enrol", enrol)];
    let Shares { no_face, corrupt } = scenario.pictures;
    let stages = scenario.stages.iter().map(|s| {
        let numbers = [("seconds", Some(s.seconds)), ("rate", s.rate), ("of_capacity", s.of_capacity)];
        numbers.into_iter().filter_map(|(n, v)| Some((n.to_owned(), v?))).collect()
    });
    Ok(Plan {
        about: scenario.about.clone(),
        enrolled: scenario.enrolled,
        deadline_ms: scenario.deadline_ms,
        mix: mix.into_iter().filter(|(_, w)| *w > 0).map(|(n, w)| (n.to_owned(), w)).collect(),
        no_face,
        corrupt,
        stages: stages.collect(),
        thresholds: thresholds(&slo),
    })
}

/// Objectives as k6 writes them; those that it cannot measure are left to this program.
fn thresholds(slo: &Slo) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // What could not be sent in its moment was not measured.
    all.insert("dropped_iterations".into(), vec!["count==0".into()]);
    for (measure, bound) in &slo.most {
        let Some((of, what)) = measure.split_once('.') else { continue };
        let tag = if of == "all" { String::new() } else { format!("{{operation:{of}}}") };
        if let Some((_, theirs)) = TIMES.iter().find(|(ours, _)| *ours == what) {
            all.entry(format!("answered_ms{tag}")).or_default().push(format!("{theirs}<={bound}"));
        } else if what == "error_share" {
            all.entry(format!("errors{tag}")).or_default().push(format!("rate<={bound}"));
        } else if what == "refused_share" {
            all.entry(format!("refused{tag}")).or_default().push(format!("rate<={bound}"));
        }
    }
    all
}

/// Prints what lies in `k6/plans.json`.
///
/// # Errors
/// Files that cannot be read.
pub fn print() -> Result<bool, Failure> {
    output::line(&text()?);
    Ok(true)
}

fn text() -> Result<String, Failure> {
    serde_json::to_string_pretty(&plans()?).map_err(|e| Failure::Other(e.to_string()))
}

/// What k6 found.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    /// Of the answers, in milliseconds.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Answers as they should be, a second.
    pub answered_per_second: f64,
    /// Moments at which nothing was sent.
    pub dropped: f64,
}

/// Runs k6 once with one constant rate.
///
/// # Errors
/// k6 does not run, or tells nothing.
pub fn run(stand: &Stand, (name, collection): (&str, &str), album: &Album, flow: Flow) -> Result<Summary, Failure> {
    let scratch = tempfile::tempdir().map_err(|e| Failure::Other(format!("a folder for k6: {e}")))?;
    let pictures = export(album, scratch.path())?;
    let summary = scratch.path().join("summary.json");
    let output = Command::new(testkit::k6())
        .args(["run", "--quiet", "--no-usage-report", "--no-color"])
        .arg(scenario::folder().join("k6/visavis.js"))
        .env("SSL_CERT_FILE", stand.ca())
        .env("ORIGIN", stand.origin())
        .env("KEY", stand.key())
        .env("COLLECTION", collection)
        .env("SCENARIO", name)
        .env("PICTURES", pictures)
        .env("SUMMARY", &summary)
        .env("RATE", flow.rate.to_string())
        .env("SECONDS", flow.seconds.to_string())
        .output()
        .map_err(|e| Failure::Other(format!("k6 cannot be run: {e}")))?;
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    let text =
        fs::read_to_string(&summary).map_err(|e| Failure::Other(format!("k6 has told nothing: {e}\n{}", said())))?;
    serde_json::from_str(&text).map_err(|e| Failure::Other(format!("k6 has told something else: {e}\n{text}")))
}

/// The pictures as files, with a list of them.
fn export(album: &Album, folder: &Path) -> Result<PathBuf, Failure> {
    let mut list = Vec::new();
    for (shows, pictures) in [("face", &album.faces), ("no_face", &album.without), ("corrupt", &album.damaged)] {
        for (i, picture) in pictures.iter().enumerate() {
            let path = folder.join(format!("{shows}-{i}"));
            fs::write(&path, &picture.bytes).map_err(|e| Failure::file(&path, &e))?;
            let media_type = picture.media_type;
            list.push(
                serde_json::json!({"path": path, "shows": shows, "media_type": media_type, "person": picture.person}),
            );
        }
    }
    let path = folder.join("pictures.json");
    crate::document::write(&path, &list)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_know_the_same_scenarios_and_objectives() {
        let there = fs::read_to_string(scenario::folder().join("k6/plans.json")).unwrap();
        assert_eq!(there.trim(), text().unwrap(), "loadtest k6-plan > loadtests/k6/plans.json");
    }

    #[test]
    fn objectives_become_thresholds() {
        let rule = |name: &str, bound| [(name.to_owned(), bound)].into();
        let slo = |most| Slo { about: String::new(), most, least: BTreeMap::new() };
        let all = thresholds(&slo(rule("identify.p99_ms", 500.0)));
        assert_eq!(all["answered_ms{operation:identify}"], ["p(99)<=500"]);
        assert_eq!(all["dropped_iterations"], ["count==0"]);
        assert_eq!(thresholds(&slo(rule("all.error_share", 0.001)))["errors"], ["rate<=0.001"]);
        assert_eq!(thresholds(&slo(rule("service.recovery_seconds", 30.0))).len(), 1);
    }
}
