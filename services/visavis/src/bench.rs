//! `visavis bench`: speed, each figure beside its bound and both from one run. A part is a function that gives a
//! [`Report`]; this file prints it.

mod machine;
mod models;
pub mod pictures;
mod pipeline;
mod search;
mod serve;

use runtime::{Config, telemetry};
use serde::Serialize;

use crate::cli::{BenchCommand, OutputArgs};
use crate::failure::Failure;
use crate::output;
use machine::Machine;

/// What a part of the bench found.
pub trait Report: Serialize {
    /// The report as a table for people.
    fn table(&self) -> String;
}

/// A report with where and by what it was made.
#[derive(Debug, Serialize)]
struct Bench<'a, R> {
    /// Version of this program.
    visavis: &'static str,
    /// Whether the program is optimised; figures of one that is not say little.
    optimised: bool,
    machine: Machine,
    #[serde(flatten)]
    report: &'a R,
}

/// Runs one part and prints its report.
///
/// # Errors
/// Unusable input, models that cannot be loaded.
pub async fn run(config: Config, command: BenchCommand) -> Result<(), Failure> {
    telemetry::init(&config.telemetry)?;
    match command {
        BenchCommand::Models(args) => show(&models::run(&config, &args).await?, args.output),
        BenchCommand::Pipeline(args) => show(&pipeline::run(&config, &args).await?, args.output),
        BenchCommand::Search(args) => show(&search::run(&args).await?, args.output),
        BenchCommand::Serve(args) => show(&serve::run(&config, &args).await?, args.output),
    }
}

fn show(report: &impl Report, how: OutputArgs) -> Result<(), Failure> {
    let bench = Bench {
        visavis: env!("CARGO_PKG_VERSION"),
        optimised: !cfg!(debug_assertions),
        machine: Machine::here(),
        report,
    };
    if how.json {
        let text = serde_json::to_string_pretty(&bench).map_err(|e| Failure::Other(e.to_string()))?;
        output::text(&text);
    } else {
        let unoptimised = if bench.optimised { "" } else { "NOT an optimised build: the figures say little.\n" };
        output::text(&format!("{unoptimised}{}\n{}", bench.machine, report.table()));
    }
    Ok(())
}

/// The middle one of some figures; the upper middle one of an even number. Zero of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
