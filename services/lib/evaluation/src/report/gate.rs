//! The page of a gate's document: what the candidate did better or worse, and what was decided.

use super::html::{escape, facts, page, paragraph, section, table};
use crate::gate::{GatePart, GateReport};

/// One page; `candidate` and `champion` are the models' names.
#[must_use]
pub fn gate(report: &GateReport, candidate: &str, champion: &str) -> String {
    let decided = if report.passed { "passed" } else { "refused" };
    let reasons: String = report.reasons.iter().map(|r| format!("<li>{}</li>\n", escape(r))).collect();
    let notes: String = report.notes.iter().map(|n| paragraph(n)).collect();
    let p = &report.policy;
    let asked = facts(&[
        ("Better on held-out people", if p.require_better { "required" } else { "not required" }.to_owned()),
        ("May be worse on held-out people by", format!("{}", p.held_out_margin)),
        ("May be worse on the general set by", format!("{}", p.general_margin)),
        ("General set", if p.require_general_set { "required" } else { "not required" }.to_owned()),
        ("Fewest held-out people with two pictures", p.least_subjects.to_string()),
    ]);
    let mut body = section("Decision", &format!("<p>{}</p>\n<ul>\n{reasons}</ul>\n", escape(decided)));
    body += &section("Held-out people", &part(report.held_out.as_ref(), "There were too few to measure anything."));
    body += &section("General set", &part(report.general.as_ref(), "None was looked at."));
    body += &section("What was asked", &asked);
    body += &section("Notes", &notes);
    page(&format!("{candidate}: {decided}"), &format!("held against {champion}"), &body)
}

fn part(part: Option<&GatePart>, absent: &str) -> String {
    let Some(part) = part else { return paragraph(absent) };
    let searches = part.searches;
    let mut body = facts(&[
        ("People", format!("{}, {} with two pictures at least", part.subjects, part.subjects_with_mates)),
        ("Pictures", part.samples.to_string()),
        ("Comparisons", format!("{} mated, {} non-mated", part.mated, part.non_mated)),
        ("Searches", format!("{} for people enrolled, {} for others", searches[0], searches[1])),
        ("Intervals", format!("95 %, {}", part.verification.unit.in_words())),
    ]);
    let all = part.verification.differences.iter();
    let rows: Vec<Vec<String>> = all
        .chain(part.identification.iter().flat_map(|p| &p.differences))
        .map(|d| {
            let i = d.difference.interval;
            let verdict = if d.is_better() {
                "better"
            } else if d.may_be_worse_by(0.0) {
                "may be worse"
            } else {
                ""
            };
            let interval = format!("{:+.4} … {:+.4}", i.low, i.high);
            let [first, second] = [d.first, d.second].map(|v| format!("{v:.4}"));
            vec![d.measure.clone(), first, second, format!("{:+.4}", d.difference.value), interval, verdict.to_owned()]
        })
        .collect();
    body += &table(&["Measure", "Champion", "Candidate", "Difference", "Interval", ""], &rows);
    body
}
