//! `visavis eval`: measures accuracy on labelled pictures after ISO/IEC 19795-1, through the worker's own pipeline, and
//! reports it for people and for programs. The measures themselves are those of the `evaluation` library.

mod calibrate;
mod csv;
mod embed;
mod identification;
mod pairs;
mod people;
mod pictures;
mod session;
mod show;
mod table;
mod verification;
mod write;

use runtime::Config;
use runtime::telemetry;

use crate::cli::EvalCommand;
use crate::failure::Failure;

pub use pictures::file_name;

/// Which face of a picture counts; part of every report.
const FACE: &str = "the most prominent (largest and most central)";

/// Comparisons of each kind whose pictures a report shows.
const WORST: usize = 12;

/// Measures, prints, and writes what was asked for.
///
/// # Errors
/// Unusable input files or models.
pub async fn run(config: Config, command: EvalCommand) -> Result<(), Failure> {
    telemetry::init(&config.telemetry)?;
    match command {
        EvalCommand::Verification(args) => verification::run(&config, &args).await,
        EvalCommand::Identification(args) => identification::run(&config, &args).await,
        EvalCommand::Calibrate(args) => calibrate::run(&config, &args).await,
    }
}
