//! The same load with every combination of settings, each on a cluster of its own: batch × delay × workers, or what the
//! command line names.

use serde::Serialize;

use crate::{
    cli::SweepArgs,
    document,
    failure::Failure,
    figures::{self, count},
    load::{ROOM, closed_loop, open_loop},
    output,
    pictures::Album,
    plan::sender,
    residents::prepare,
    run::CALLERS,
    scenario::{Flow, Processes, Scenario},
    stand::Stand,
};

/// Where nothing else is asked for. On processors an engine takes one item at a time, so only a GPU notices batches.
const AXES: [&str; 3] =
    ["VISAVIS__WORKER__EMBED_BATCH=1,8,32", "VISAVIS__WORKER__BATCH_DELAY_MS=0,2,10", "workers=1,2"];
/// The number of workers, which is no setting of a process.
const WORKERS: &str = "workers";
/// Share of what was carried at which answers are timed.
const LOADED: f64 = 0.7;

/// A setting and its values.
#[derive(Clone, Debug, PartialEq)]
struct Axis {
    name: String,
    values: Vec<String>,
}

/// What one combination gave.
#[derive(Debug, Serialize)]
struct Cell {
    settings: Vec<(String, String)>,
    carried_per_second: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

/// Runs every combination.
///
/// # Errors
/// Axes that cannot be read, a service that does not answer.
pub async fn run(args: &SweepArgs) -> Result<bool, Failure> {
    let (_, scenario) = Scenario::read(&args.scenario)?;
    let given: Vec<String> =
        if args.axes.is_empty() { AXES.iter().map(|&a| a.to_owned()).collect() } else { args.axes.clone() };
    let axes: Vec<Axis> = given.iter().map(|a| Axis::parse(a)).collect::<Result<_, _>>()?;
    let album = Album::open(None)?;
    let mut cells = Vec::new();
    for settings in combinations(&axes) {
        let cell = cell(&scenario, settings, &album, args.seconds).await?;
        output::line(&cell.line());
        cells.push(cell);
    }
    document::write(&args.out.join("sweep.json"), &cells)?;
    Ok(true)
}

async fn cell(
    scenario: &Scenario,
    settings: Vec<(String, String)>,
    album: &Album,
    seconds: f64,
) -> Result<Cell, Failure> {
    let (mut processes, mut environment) = (scenario.cluster, Vec::new());
    for (name, value) in &settings {
        if name == WORKERS {
            let workers = value.parse().map_err(|_| Failure::Other(format!("{name}={value}: write a number")))?;
            processes = Processes { workers, ..processes };
        } else {
            environment.push((name.clone(), value.clone()));
        }
    }
    let stand = Stand::local(processes, environment);
    let mut at = prepare(&stand, scenario, album).await?;
    let lasting = std::time::Duration::from_secs_f64(seconds);
    drop(closed_loop(CALLERS, lasting / 4, sender(&at.client, &at.plan.next_series())).await);
    let load = closed_loop(CALLERS, lasting, sender(&at.client, &at.plan.next_series())).await;
    let carried = load.replies.iter().filter(|r| r.fate == crate::answers::Fate::Answered).count() as u64;
    let rate = count(carried) / load.seconds;
    let flow = Flow { rate: LOADED * rate, seconds };
    let load = open_loop(&[flow], ROOM, sender(&at.client, &at.plan.next_series())).await;
    let measures = figures::measures(&load, 0.0)?;
    let get = |name: &str| measures.get(name).copied();
    Ok(Cell { settings, carried_per_second: rate, p50_ms: get("all.p50_ms"), p99_ms: get("all.p99_ms") })
}

impl Axis {
    fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || Failure::Other(format!("--axis {text}: write NAME=A,B"));
        let (name, values) = text.split_once('=').ok_or_else(wrong)?;
        let values: Vec<String> = values.split(',').map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect();
        if name.is_empty() || values.is_empty() {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), values })
    }
}

fn combinations(axes: &[Axis]) -> Vec<Vec<(String, String)>> {
    axes.iter().fold(vec![Vec::new()], |all, axis| {
        let with = |so_far: &Vec<(String, String)>| {
            let so_far = so_far.clone();
            axis.values
                .iter()
                .map(move |value| {
                    let mut longer = so_far.clone();
                    longer.push((axis.name.clone(), value.clone()));
                    longer
                })
                .collect::<Vec<_>>()
        };
        all.iter().flat_map(with).collect()
    })
}

impl Cell {
    fn line(&self) -> String {
        let settings: Vec<String> = self.settings.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let ms = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.0} ms"));
        format!(
            "{}: {:.1}/s carried; at {LOADED} of that p50 {}, p99 {}",
            settings.join(" "),
            self.carried_per_second,
            ms(self.p50_ms),
            ms(self.p99_ms)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_comes_once() {
        let axes = [Axis::parse("A=1,2").unwrap(), Axis::parse("workers=1,2,3").unwrap()];
        let all = combinations(&axes);
        assert_eq!(all.len(), 6);
        assert_eq!(all[0], [("A".to_owned(), "1".to_owned()), ("workers".to_owned(), "1".to_owned())]);
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
        assert!(Axis::parse("A").is_err() && Axis::parse("A=").is_err());
    }
}
