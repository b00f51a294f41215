//! Parts that all reports have: pictures of the worst pairs, failures to enrol, provenance, words for figures.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Crops,
    html::{escape, facts, paragraph, section, table, word_table},
};
use crate::{
    Bootstrap, CohortReport, Estimate, Unit,
    document::{FailedImage, PicturePair, Provenance, Speed},
};

/// Failures listed by name; the rest is counted.
const LISTED: usize = 200;

/// Below this many errors allowed, a rate rests on too little.
pub const THIN: u64 = 10;

/// `98.40 %`.
pub fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if value != 0.0 && value.abs() < 0.01 { format!("{value:.4} %") } else { format!("{value:.2} %") }
}

/// `98.40 % (97.80 – 99.00)`.
pub fn estimate(e: &Estimate) -> String {
    let ends = [e.interval.low, e.interval.high].map(percent);
    format!("{} ({} – {})", percent(e.value), ends[0].trim_end_matches(" %"), ends[1].trim_end_matches(" %"))
}

/// The same for a difference, in percentage points with a sign.
pub fn difference(e: &Estimate) -> String {
    let points = |v: f64| format!("{:+.2}", 100.0 * v);
    format!("{} ({} – {})", points(e.value), points(e.interval.low), points(e.interval.high))
}

/// An estimate, or a dash where there is none.
pub fn or_dash(e: Option<&Estimate>, words: fn(&Estimate) -> String) -> String {
    e.map_or_else(|| "–".to_owned(), words)
}

/// A threshold; there is none above every score.
pub fn threshold(t: f64) -> String {
    if t.is_finite() { format!("{t:.4}") } else { "above every score".to_owned() }
}

/// A limit on a rate: `0.1 %`, `1e-5`.
pub fn rate(r: f64) -> String {
    if r >= 1e-3 { format!("{} %", 100.0 * r) } else { format!("{r:e}") }
}

/// A difference of scores with its sign, if it has one at four decimals.
pub fn gap(difference: f64) -> String {
    if difference.abs() < 5e-5 { "0.0000".to_owned() } else { format!("{difference:+.4}") }
}

/// `1,234,567`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Says whether the file holds faces, since that decides who may have it.
pub fn faces_notice(crops: Option<&Crops>) -> String {
    let held = crops.map(|c| c.iter().flatten().flatten().count());
    let text = match held {
        Some(n) if n > 0 => format!(
            "This file holds {n} pictures of faces and the names of picture files. Treat it as personal data, and make \
             it with --no-thumbnails for people who must not have them."
        ),
        _ => "This file holds no pictures of faces. It holds the names of picture files, which may name people."
            .to_owned(),
    };
    format!("<p class=\"notice\">{}</p>\n", escape(&text))
}

/// Pairs of pictures with their scores. `crops` are those of these very pairs.
pub fn pairs(title: &str, about: &str, pairs: &[PicturePair], crops: Option<&Crops>) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let figure = |(i, pair): (usize, &PicturePair)| {
        let faces: String = match crops {
            None => String::new(),
            Some(crops) => {
                let two = crops.get(i).map_or(&[None, None], |c| c);
                let faces: String =
                    two.iter().zip([&pair.left, &pair.right]).map(|(c, name)| face(c.as_deref(), name)).collect();
                format!("<div class=\"faces\">{faces}</div>")
            }
        };
        let (left, right) = (escape(&pair.left), escape(&pair.right));
        format!(
            "<figure class=\"pair\">{faces}<figcaption><span class=\"score\">{:.4}</span><br>{left}<br>{right}</figcaption>\
             </figure>\n",
            pair.score
        )
    };
    let figures: String = pairs.iter().enumerate().map(figure).collect();
    format!("<h3>{}</h3>\n{}<div class=\"pairs\">\n{figures}</div>\n", escape(title), paragraph(about))
}

fn face(png: Option<&[u8]>, name: &str) -> String {
    let name = escape(name);
    match png {
        Some(png) => {
            let data = STANDARD.encode(png);
            format!("<img width=\"112\" height=\"112\" alt=\"face in {name}\" src=\"data:image/png;base64,{data}\">")
        }
        None => "<div class=\"missing\">no picture</div>".to_owned(),
    }
}

/// Cohorts against each other; `names` are what the two error rates are called.
pub fn cohorts(report: &CohortReport, names: [&str; 2], about: &str) -> String {
    let head = ["cohort", "same person", names[0], "against the rest", "strangers", names[1], "against the rest"];
    let row = |r: &crate::CohortRow| {
        vec![
            r.cohort.clone(),
            count(r.mated),
            or_dash(r.fnmr.as_ref(), estimate),
            or_dash(r.fnmr_difference.as_ref(), difference),
            count(r.non_mated),
            or_dash(r.fmr.as_ref(), estimate),
            or_dash(r.fmr_difference.as_ref(), difference),
        ]
    };
    let rows: Vec<Vec<String>> = report.rows.iter().map(row).collect();
    let mut body = paragraph(about) + &table(&head, &rows);
    body += &paragraph(
        "Differences are in percentage points against all other cohorts together. An interval that spans 0 means that \
         this sample does not show a difference, which is not the same as there being none.",
    );
    section("By cohort", &body)
}

/// Pictures without a template.
pub fn failures(failed: &[FailedImage], images: usize) -> String {
    if failed.is_empty() {
        return section(
            "Failures to enrol",
            &paragraph(&format!("None: each of {} pictures gave a template.", count(images))),
        );
    }
    let listed: Vec<Vec<String>> =
        failed.iter().take(LISTED).map(|f| vec![f.image.clone(), f.reason.clone()]).collect();
    let mut body = paragraph(&format!("{} of {} pictures gave no template.", count(failed.len()), count(images)));
    body += &word_table(&["picture", "why"], &listed);
    if failed.len() > LISTED {
        body += &paragraph(&format!("And {} more; the JSON beside this file lists all.", count(failed.len() - LISTED)));
    }
    section("Failures to enrol", &body)
}

/// How intervals came about.
pub fn intervals(bootstrap: &Bootstrap, unit: Unit) -> String {
    format!(
        "Ranges in brackets hold the true rate in about {:.0} of 100 such measurements: {} resamples of the bootstrap, in \
         which {}.",
        100.0 * bootstrap.confidence,
        count(bootstrap.resamples),
        unit.in_words()
    )
}

/// Machine, models, inputs.
pub fn provenance(p: &Provenance, speed: &Speed, schema: &str) -> String {
    let m = &p.machine;
    let cpu = if m.cpu.is_empty() { String::new() } else { format!(", {}", m.cpu) };
    let mut all = vec![
        ("made", format!("{} by visavis {}", p.made, p.visavis)),
        ("machine", format!("{} {}{cpu}, {} processors", m.os, m.arch, m.cores)),
        ("models", format!("{} + {}, run on {}", p.models.detector, p.models.embedder, p.models.provider)),
        ("embedding contract", p.models.contract.clone()),
    ];
    for f in &p.models.files {
        let commercial = if f.commercial { "" } else { ", not for commercial use" };
        all.push(("model file", format!("{}: {}{commercial}, SHA-256 {}", f.name, f.licence, f.sha256)));
    }
    all.extend(p.inputs.iter().map(|i| ("input", format!("{} {}, SHA-256 {}", i.role, i.name, i.sha256))));
    all.push((
        "speed",
        format!("{} pictures in {:.1} s, {:.1} a second", count(speed.images), speed.seconds, speed.images_per_second),
    ));
    all.push(("schema", schema.to_owned()));
    section("Where this comes from", &facts(&all))
}

/// What the words mean.
pub fn glossary(words: &[(&str, &str)]) -> String {
    let words: Vec<(&str, String)> = words.iter().map(|(word, meaning)| (*word, (*meaning).to_owned())).collect();
    section("Words", &facts(&words))
}

/// What another run is, so that its name alone does not have to say it.
pub fn compared(name: &str, p: &Provenance) -> String {
    paragraph(&format!("{name} is of {}, contract {}.", models_line(p), p.models.contract))
}

/// Title of a run.
pub fn models_line(p: &Provenance) -> String {
    format!("{} + {}, {}", p.models.detector, p.models.embedder, p.made)
}
