//! What alerts, dashboards and recorded series ask for, against what processes of the service show. Used by `chart.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

/// Metrics that show only after what a test cannot bring about in a moment, each with what that is.
const SELDOM: [(&str, &str); 6] = [
    ("visavis_batch_size", "a worker on a GPU"),
    ("visavis_batch_wait_seconds", "a worker on a GPU"),
    ("visavis_jobs_rejected_total", "a job that is too late, cancelled or given up"),
    ("visavis_enrolled_subjects", "the round of the gateway that sweeps, an hour after its start"),
    ("visavis_retention_erased_total", "somebody who was kept too long"),
    ("visavis_requests_refused_total", "a service with more to do than it can"),
];
/// Labels that Prometheus adds.
const ADDED: [&str; 3] = ["job", "instance", "role"];

/// One selector of a query: a metric and the labels it names.
type Selector = (String, BTreeSet<String>);

/// Fails with every metric, and every label, that a query names and no process has.
pub fn everything_that_is_asked_for_is_shown(scrapes: &[String]) {
    let (asked, shown) = (asked(), shown(scrapes));
    assert!(asked.len() > 20, "only {} metrics are asked for", asked.len());
    let mut missing = Vec::new();
    for (metric, labels) in asked {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| metric.strip_suffix(s)).unwrap_or(&metric);
        let found = shown.get(metric.as_str()).or_else(|| shown.get(base));
        match found {
            Some(has) => {
                let unknown: Vec<_> = labels.iter().filter(|l| !has.contains(*l)).collect();
                if !unknown.is_empty() {
                    missing.push(format!("{metric} has no label {unknown:?}, only {has:?}"));
                }
            }
            None if SELDOM.iter().any(|(name, _)| *name == base) => {
                assert!(in_sources(base), "{base} is registered nowhere");
            }
            None => missing.push(format!("nobody shows {metric}")),
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Names with their labels, as the processes show them.
fn shown(scrapes: &[String]) -> BTreeMap<&str, BTreeSet<String>> {
    let mut all: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for line in scrapes.iter().flat_map(|s| s.lines()).filter(|l| !l.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let labels = line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(labels, _)| labels);
        all.entry(name).or_default().extend(label_names(labels));
    }
    all
}

/// Every selector of the rules and dashboards.
fn asked() -> BTreeMap<String, BTreeSet<String>> {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root").join("helm/visavis/files");
    let rules = fs::read_to_string(files.join("rules.yaml")).expect("rules");
    let mut queries = vec![rules.lines().filter(|l| !l.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")];
    for file in fs::read_dir(files.join("dashboards")).expect("dashboards").flatten() {
        let text = fs::read_to_string(file.path()).expect("a dashboard");
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        for panel in dashboard["panels"].as_array().expect("panels") {
            let targets = panel["targets"].as_array().expect("queries");
            queries.extend(targets.iter().map(|t| t["expr"].as_str().expect("a query").to_owned()));
        }
    }
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (metric, labels) in queries.iter().flat_map(|q| selectors(q)) {
        all.entry(metric).or_default().extend(labels);
    }
    all
}

/// The selectors of a query: words that name a metric of ours or of the process, with what stands in braces behind them.
fn selectors(query: &str) -> Vec<Selector> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = rest.find(|c: char| word(c)) {
        let begin = &rest[at..];
        let end = begin.find(|c| !word(c)).unwrap_or(begin.len());
        let (name, after) = begin.split_at(end);
        if name.starts_with("visavis_") || name.starts_with("process_") {
            let inside = after.strip_prefix('{').and_then(|a| a.split_once('}')).map_or("", |(labels, _)| labels);
            let labels = label_names(inside).filter(|l| !ADDED.contains(&l.as_str())).collect();
            found.push((name.to_owned(), labels));
        }
        rest = after;
    }
    found
}

/// Names of labels in what stands between braces, whose values may hold anything but quotes.
fn label_names(inside: &str) -> impl Iterator<Item = String> {
    let outside_quotes = inside.split('"').step_by(2);
    outside_quotes.map(|p| p.trim_matches([',', ' ', '=', '~', '!'])).filter(|p| !p.is_empty()).map(str::to_owned)
}

/// Whether a source of the service has the name as a text.
fn in_sources(metric: &str) -> bool {
    fn search(folder: &Path, text: &str) -> bool {
        fs::read_dir(folder).expect("a folder").flatten().any(|e| {
            let path = e.path();
            if path.is_dir() {
                return search(&path, text);
            }
            path.extension().is_some_and(|e| e == "rs") && fs::read_to_string(&path).is_ok_and(|t| t.contains(text))
        })
    }
    search(
        &Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root").join("services"),
        &format!("\"{metric}\""),
    )
}

#[test]
fn selectors_are_found_with_their_labels() {
    let found = selectors(r#"sum by (le) (rate(visavis_a_bucket{job="visavis",lane=~"a{b,c"}[5m])) / process_x"#);
    let labels = ["lane"].map(str::to_owned).into();
    assert_eq!(found, [("visavis_a_bucket".to_owned(), labels), ("process_x".to_owned(), BTreeSet::new())]);
}
