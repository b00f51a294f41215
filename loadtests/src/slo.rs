//! Objectives: the most or the least that a measure may be. TOML files in `slo`. A measure that is named and was not
//! taken is an objective that does not hold.

use std::{collections::BTreeMap, fs};

use serde::{Deserialize, Serialize};

use crate::{cli::JudgeArgs, document::Document, failure::Failure, output, scenario};

/// Objectives as their file says them. Measures are named as in the document of a run, such as `identify.p99_ms`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Where they come from, in a sentence.
    pub about: String,
    /// Not more than this.
    #[serde(default)]
    pub most: BTreeMap<String, f64>,
    /// Not less than this.
    #[serde(default)]
    pub least: BTreeMap<String, f64>,
}

/// Whether one objective holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The measure.
    pub measure: String,
    /// `≤ 500` or `≥ 0.99`.
    pub bound: String,
    /// What it was, if it was taken.
    pub value: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
}

impl Verdict {
    /// For people.
    pub fn line(&self) -> String {
        let value = self.value.map_or("not measured".to_owned(), |v| format!("{v:.3}"));
        let word = if self.holds { "holds " } else { "BROKEN" };
        format!("{word} {} {}: {value}", self.measure, self.bound)
    }
}

/// Holds a run that is over against other objectives.
///
/// # Errors
/// Files that are none.
pub fn judge(args: &JudgeArgs) -> Result<bool, Failure> {
    let (document, slo) = (Document::read(&args.run)?, Slo::read(&args.slo)?);
    let verdicts = slo.verdicts(&document.measures);
    verdicts.iter().for_each(|v| output::line(&v.line()));
    Ok(verdicts.iter().all(|v| v.holds))
}

impl Slo {
    /// Reads objectives by their name or file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(name: &str) -> Result<Self, Failure> {
        let path = scenario::named("slo", name);
        let text = fs::read_to_string(&path).map_err(|e| Failure::file(&path, &e))?;
        toml::from_str(&text).map_err(|e| Failure::file(&path, &e))
    }

    /// Each objective, held against what was measured.
    pub fn verdicts(&self, measures: &BTreeMap<String, f64>) -> Vec<Verdict> {
        let verdict = |(measure, bound): (&String, &f64), sign: &str, holds: fn(f64, f64) -> bool| {
            let value = measures.get(measure).copied();
            let holds = value.is_some_and(|v| holds(v, *bound));
            Verdict { measure: measure.clone(), bound: format!("{sign} {bound}"), value, holds }
        };
        let most = self.most.iter().map(|rule| verdict(rule, "≤", |v, bound| v <= bound));
        let least = self.least.iter().map(|rule| verdict(rule, "≥", |v, bound| v >= bound));
        most.chain(least).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let bound = |name: &str, value| [(name.to_owned(), value)].into_iter().collect();
        let slo =
            Slo { about: String::new(), most: bound("all.p99_ms", 10.0), least: bound("all.answered_share", 0.5) };
        let measured = |p99, share| BTreeMap::from([("all.p99_ms".into(), p99), ("all.answered_share".into(), share)]);
        let holds = |m: &BTreeMap<String, f64>| slo.verdicts(m).iter().map(|v| v.holds).collect::<Vec<_>>();
        assert_eq!(holds(&measured(10.0, 0.5)), [true, true]);
        assert_eq!(holds(&measured(10.1, 0.49)), [false, false]);
        assert_eq!(holds(&measured(f64::NAN, f64::NAN)), [false, false]);
        assert_eq!(holds(&BTreeMap::new()), [false, false]);
    }
}
