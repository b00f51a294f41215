//! The command line of `visavis bench`. Each part of it has its flags here and its work in the file of the same name
//! under `bench/`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ModelArgs;
use crate::settings::Flags;

/// What to measure. Every figure stands beside its bound, measured in the same run.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// From photos to templates, by stage, beside the time that the models alone take
    Pipeline(PipelineArgs),
}

impl BenchCommand {
    /// As the topmost layer of the configuration.
    pub fn settings(&self) -> Flags {
        match self {
            Self::Pipeline(args) => args.models.settings(),
        }
    }
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `bench pipeline`.
#[derive(Debug, Args)]
pub struct PipelineArgs {
    /// Folder with photos, looked through to the bottom [default: the sample photo]
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Photos taken from the folder, evenly over its names; 0 takes all
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub count: usize,
    /// Photos under way at once; 0 takes two per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub concurrency: usize,
    /// Rounds over the photos; the models alone take as many, in turn
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub rounds: usize,
    #[command(flatten)]
    pub models: ModelArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}
