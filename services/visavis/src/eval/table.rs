//! A calibration table in the form in which a manifest takes it: as TOML for the manifest itself, and as JSON.

use evaluation::CalibrationRow;
use serde_json::{Value, json};

/// A table with its names.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    /// Detector that the pictures went through.
    pub detector: &'a str,
    /// Id of the table.
    pub id: &'a str,
    /// What it was measured on.
    pub sample: &'a str,
    /// The rows, rate falling.
    pub rows: &'a [CalibrationRow],
}

impl Table<'_> {
    /// `[[calibration]]` with the measured rows; the extrapolated ones stand below it as comments, since a manifest's
    /// table extends itself and marks what it extends.
    pub fn toml(&self) -> String {
        let row = |r: &CalibrationRow| format!("{{ fmr = 1e{}, score = {:.4} }}", decade(r.fmr), upwards(r.score));
        let mut text = format!(
            "[[calibration]]\ndetector = {}\nid = {}\nsample = {}\npoints = [\n",
            quoted(self.detector),
            quoted(self.id),
            quoted(self.sample)
        );
        for r in self.rows.iter().filter(|r| !r.extrapolated) {
            text += &format!("    {},\n", row(r));
        }
        text += "]\n";
        for r in self.rows.iter().filter(|r| r.extrapolated) {
            text += &format!("# extrapolated, {} comparisons being too few: {}\n", r.support, row(r));
        }
        text
    }

    /// The same as JSON, extrapolated rows in a list of their own.
    pub fn json(&self) -> Value {
        let rows = |extrapolated: bool| -> Vec<Value> {
            let of = self.rows.iter().filter(|r| r.extrapolated == extrapolated);
            of.map(|r| json!({"fmr": 10f64.powi(decade(r.fmr)), "score": upwards(r.score), "support": r.support}))
                .collect()
        };
        json!({
            "detector": self.detector,
            "id": self.id,
            "sample": self.sample,
            "points": rows(false),
            "extrapolated": rows(true),
        })
    }
}

fn decade(fmr: f64) -> i32 {
    fmr.log10().round() as i32
}

/// Four decimals, rounded up: at the written score no more match than the row says.
fn upwards(score: f64) -> f64 {
    ((score * 1e4 - 1e-6).ceil() / 1e4).min(1.0)
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out += &format!("\\u{:04X}", c as u32),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<CalibrationRow> {
        let row = |(fmr, score, support)| CalibrationRow { fmr, score, support, extrapolated: support < 10 };
        [(1e-1, 0.21234, 10_000), (1e-2, 0.29903, 1000), (1e-3, 0.3655, 100), (1e-4, 0.42127, 10), (1e-5, 0.47, 1)]
            .map(row)
            .to_vec()
    }

    /// A manifest that takes the table gives back its rows.
    #[test]
    fn a_manifest_takes_the_table_as_it_is() {
        let rows = rows();
        let table = Table { detector: "yunet", id: "mine \"1\"", sample: "a\\b\n\"c\"", rows: &rows };
        let toml = table.toml();
        let own = include_str!("../../../lib/models/manifests/sface.toml");
        let without = own.split("[[calibration]]").next().unwrap();
        let manifest = models::Manifest::parse("test", &format!("{without}{toml}")).unwrap();
        let read = manifest.calibration("yunet").unwrap();
        assert_eq!(read.id(), "mine \"1\"");
        let scores: Vec<f64> = read.points().iter().map(|p| p.score).collect();
        assert_eq!(scores, [0.2124, 0.2991, 0.3655, 0.4213], "rounded up, extrapolated rows left out");
        assert!(toml.contains("# extrapolated, 1 comparisons being too few: { fmr = 1e-5, score = 0.4700 }"), "{toml}");
        let json = table.json();
        assert_eq!(json["points"][3]["score"], 0.4213);
        assert_eq!(json["extrapolated"][0]["fmr"], 1e-5);
    }
}
