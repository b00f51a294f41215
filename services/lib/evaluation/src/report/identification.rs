//! The page of an identification.

use super::{
    Crops, Other,
    html::{cards, page, paragraph, section, table},
    plots::{self, Named},
    shared::{self, THIN, count, estimate, or_dash, percent, rate, threshold},
};
use crate::document::{IDENTIFICATION, Identification};

/// The words of this page.
const WORDS: [(&str, &str); 6] = [
    ("gallery", "The people who are enrolled."),
    ("mated search", "A search for somebody who is enrolled. Non-mated: for a stranger."),
    ("FPIR", "False positive identification rate: how many searches for strangers return somebody."),
    ("FNIR", "False negative identification rate: how many searches for enrolled people do not return them."),
    ("rank", "Place of the right person in the list of candidates, best first. The threshold plays no part in it."),
    ("failure to enrol", "A picture in which no face was found, or that could not be read."),
];

/// Names of strangers listed on the page.
const LISTED: usize = 20;

/// Draws the page. Without `crops` it holds no faces; `other` is a second run to compare with.
#[must_use]
pub fn identification(d: &Identification, crops: Option<&Crops>, other: Option<&Other<Identification>>) -> String {
    let mut body = shared::faces_notice(crops);
    body += &summary(d);
    body += &protocol(d);
    body += &ranks(d, other);
    body += &open_set(d, other);
    body += &service(d);
    body += &curves(d, other);
    if let Some(c) = &d.cohorts {
        let about = format!("All at the common threshold {} ({}).", threshold(c.report.threshold), c.threshold_origin);
        body += &shared::cohorts(&c.report, ["FNIR", "FPIR"], &about);
    }
    body += &worst(d, crops);
    body += &shared::failures(&d.failures, d.speed.images);
    body += &shared::provenance(&d.provenance, &d.speed, IDENTIFICATION);
    body += &shared::glossary(&WORDS);
    page("Identification: who is it, if anybody?", &shared::models_line(&d.provenance), &body)
}

fn summary(d: &Identification) -> String {
    let r = &d.report;
    let mut all = Vec::new();
    if let Some(first) = r.ranks.first() {
        let note = format!(
            "{} – {}; of searches for people in the gallery",
            percent(first.rate.interval.low),
            percent(first.rate.interval.high)
        );
        all.push(("Right person first", percent(first.rate.value), note));
    }
    if let Some(p) = r.fnir_at_fpir.iter().find(|p| p.support >= THIN).or(r.fnir_at_fpir.last()) {
        let note = format!(
            "{} – {}; when {} of strangers may be taken for somebody",
            percent(p.fnir.interval.low),
            percent(p.fnir.interval.high),
            rate(p.fpir)
        );
        all.push(("Enrolled people missed", percent(p.fnir.value), note));
    }
    let e = &d.enrolment;
    all.push(("Gallery", count(e.subjects), format!("people with {} pictures", count(e.images))));
    let failed = e.failed_images + r.searches.mated_failed + r.searches.non_mated_failed;
    let note = format!("of {} pictures, enrolled or searched for", count(d.speed.images));
    all.push(("Failures to enrol", count(failed), note));
    cards(&all)
}

fn protocol(d: &Identification) -> String {
    let (s, e, p) = (&d.report.searches, &d.enrolment, &d.protocol);
    let mut body = paragraph(&format!(
        "{} enrols {} people with {} pictures; {} pictures failed, and {} people have no template at all. {} searches for \
         {} people in the gallery and for {} strangers. In each picture {} face is taken.",
        p.enrol,
        count(e.subjects),
        count(e.images),
        count(e.failed_images),
        count(e.failed_subjects),
        p.probes,
        count(s.mated),
        count(s.non_mated),
        p.face
    ));
    if s.mated_failed + s.mates_missing + s.non_mated_failed > 0 {
        body += &paragraph(&format!(
            "Of the searches for people in the gallery {} came to nothing because the probe failed, and {} because the \
             person has no template. Of those for strangers {} probes failed.",
            count(s.mated_failed),
            count(s.mates_missing),
            count(s.non_mated_failed)
        ));
    }
    if !p.not_enrolled.is_empty() {
        let mut names = p.not_enrolled.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
        if p.not_enrolled.len() > LISTED {
            names += &format!(" and {} more", count(p.not_enrolled.len() - LISTED));
        }
        body += &paragraph(&format!("Named in the probes but not enrolled, hence strangers: {names}."));
    }
    body += &paragraph(&d.report.rule);
    body += &paragraph(&shared::intervals(&d.report.bootstrap, d.report.unit));
    body += &paragraph("The gallery is held fixed: another gallery would give other figures, a larger one worse ones.");
    section("What was measured", &body)
}

fn ranks(d: &Identification, other: Option<&Other<Identification>>) -> String {
    if d.report.ranks.is_empty() {
        return section("Ranks", &paragraph("Nobody in the gallery was searched for, so there are no ranks."));
    }
    let row = |(i, r): (usize, &crate::RankEstimate)| {
        let theirs = other.and_then(|o| o.document.report.ranks.get(i)).map(|r| estimate(&r.rate));
        [Some(format!("rank {}", r.rank)), Some(estimate(&r.rate)), theirs].into_iter().flatten().collect()
    };
    let rows: Vec<Vec<String>> = d.report.ranks.iter().enumerate().map(row).collect();
    let name = other.map(|o| format!("compared: {}", o.name));
    let mut head = vec!["the right person is within", "share of searches"];
    head.extend(name.as_deref());
    let compared = other.map_or_else(String::new, |o| shared::compared(&o.name, &o.document.provenance));
    section("Ranks", &(table(&head, &rows) + &compared))
}

fn open_set(d: &Identification, other: Option<&Other<Identification>>) -> String {
    let r = &d.report;
    if r.fnir_at_fpir.is_empty() {
        let about =
            "This needs searches for people in the gallery as well as for strangers, and one of the two is missing.";
        return section("Open set", &paragraph(about));
    }
    let row = |(i, p): (usize, &crate::FnirEstimate)| {
        let thin = if p.support < THIN { format!(" (rests on {} searches)", p.support) } else { String::new() };
        let theirs = other.and_then(|o| o.document.report.fnir_at_fpir.get(i)).map(|p| estimate(&p.fnir));
        let own =
            [format!("{}{thin}", rate(p.fpir)), threshold(p.threshold), estimate(&p.fnir), estimate(&p.fnir_rank_1)];
        own.into_iter().chain(theirs).collect()
    };
    let rows: Vec<Vec<String>> = r.fnir_at_fpir.iter().enumerate().map(row).collect();
    let name = other.map(|o| format!("FNIR, compared: {}", o.name));
    let mut head = vec!["limit on FPIR", "threshold", "FNIR", "FNIR, must be first"];
    head.extend(name.as_deref());
    let about = "How many enrolled people are missed when at most so many strangers may be taken for somebody.";
    section("Open set", &(paragraph(about) + &table(&head, &rows)))
}

fn service(d: &Identification) -> String {
    let Some(s) = &d.service else { return String::new() };
    let row = |p: &crate::document::ServicePoint| {
        vec![
            rate(p.target_fpir),
            threshold(p.rates.threshold),
            or_dash(p.rates.fpir.as_ref(), estimate),
            or_dash(p.rates.fnir.as_ref(), estimate),
        ]
    };
    let rows: Vec<Vec<String>> = s.points.iter().map(row).collect();
    let about = format!(
        "What the service itself would do with this gallery: the threshold that the calibration {} gives for a target, and \
         what came of it here.",
        s.calibration
    );
    let head = ["target FPIR", "threshold", "FPIR measured", "FNIR measured"];
    section("At the service's own thresholds", &(paragraph(&about) + &table(&head, &rows)))
}

fn curves(d: &Identification, other: Option<&Other<Identification>>) -> String {
    let mut open = vec![Named { name: "this run", of: &d.report.curve }];
    let mut ranks = vec![Named { name: "this run", of: &d.report.cmc }];
    if let Some(o) = other {
        open.push(Named { name: &o.name, of: &o.document.report.curve });
        ranks.push(Named { name: &o.name, of: &o.document.report.cmc });
    }
    let names = ["the person searched for", "best stranger"];
    let mark = d.report.fnir_at_fpir.iter().find(|p| p.support >= THIN).map(|p| p.threshold);
    let mut plots = plots::histogram(
        &d.histogram,
        names,
        mark,
        "Scores of the person searched for, and the best score that a search for a stranger found.",
    );
    if !d.report.curve.is_empty() {
        plots += &plots::open_set(&open);
    }
    if !d.report.cmc.is_empty() {
        plots += &plots::cmc(&ranks);
    }
    section("Plots", &format!("<div class=\"plots\">\n{plots}</div>\n"))
}

fn worst(d: &Identification, crops: Option<&Crops>) -> String {
    let split = d.worst.mated.len();
    let part = |from: usize| crops.map(|c| c.get(from..).unwrap_or_default());
    let mut body = shared::pairs(
        "Enrolled people, least alike",
        "Probe, and the most alike picture that the person is enrolled with, where the score is lowest.",
        &d.worst.mated,
        part(0),
    );
    body += &shared::pairs(
        "Strangers, most alike",
        "Probe of somebody who is not enrolled, and the most alike picture in the gallery, where the score is highest. One \
         person under two names here is an error of the labels.",
        &d.worst.non_mated,
        part(split),
    );
    section("Hardest searches", &body)
}
