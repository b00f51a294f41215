//! One run against a former one of the same scenario and machine: ratios, since times mean little elsewhere.

use std::path::Path;

use crate::{cli::CompareArgs, document::Document, failure::Failure, figures::Measures, output};

/// Measures that are held against each other; more is worse.
const TIMES: [&str; 3] = ["p50_ms", "p95_ms", "p99_ms"];
/// The same; less is worse.
const RATES: [&str; 1] = ["answered_per_second"];
/// Objects of measures.
const OF: [&str; 5] = ["all", "identify", "verify", "detect", "enrol"];

/// A measure in both runs.
#[derive(Debug, PartialEq)]
struct Line {
    measure: String,
    now: f64,
    before: f64,
    /// How many times as bad: above 1 for what has become worse.
    worse: f64,
}

/// Whether the run is not worse than allowed.
///
/// # Errors
/// Files that are no runs, or of different scenarios.
pub fn run(args: &CompareArgs) -> Result<bool, Failure> {
    let (now, before) = (Document::read(&args.run)?, Document::read(&args.baseline)?);
    same(&now, &before, &args.baseline)?;
    let mut fine = true;
    for line in lines(&now.measures, &before.measures) {
        let held = line.worse <= args.worse;
        fine &= held;
        let word = if held { "fine " } else { "WORSE" };
        output::line(&format!(
            "{word} {:32} {:>10.2} was {:>10.2}, {:.2} times as bad",
            line.measure, line.now, line.before, line.worse
        ));
    }
    Ok(fine)
}

fn same(now: &Document, before: &Document, path: &Path) -> Result<(), Failure> {
    if now.name != before.name {
        return Err(Failure::file(path, &format!("is of scenario {}, the run of {}", before.name, now.name)));
    }
    if now.machine.processor != before.machine.processor || now.machine.cores != before.machine.cores {
        output::line("another machine: only the service's own ratios mean something");
    }
    Ok(())
}

fn lines(now: &Measures, before: &Measures) -> Vec<Line> {
    let mut all = Vec::new();
    for of in OF {
        for (what, more_is_worse) in TIMES.iter().map(|t| (t, true)).chain(RATES.iter().map(|r| (r, false))) {
            let measure = format!("{of}.{what}");
            let (Some(now), Some(before)) = (now.get(&measure), before.get(&measure)) else { continue };
            let worse = if more_is_worse { now / before } else { before / now };
            all.push(Line { measure, now: *now, before: *before, worse });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slower_and_less_are_both_worse() {
        let measures = |p99: f64, rate: f64| -> Measures {
            [("all.p99_ms".to_owned(), p99), ("all.answered_per_second".to_owned(), rate)].into()
        };
        let all = lines(&measures(150.0, 50.0), &measures(100.0, 100.0));
        let worse: Vec<_> = all.iter().map(|l| (l.measure.as_str(), l.worse)).collect();
        assert_eq!(worse, [("all.p99_ms", 1.5), ("all.answered_per_second", 2.0)]);
    }
}
