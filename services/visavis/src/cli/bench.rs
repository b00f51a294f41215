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
    /// A service of its own over HTTPS under load, beside its bound and beside other servers
    Serve(ServeArgs),
}

impl BenchCommand {
    /// As the topmost layer of the configuration.
    pub fn settings(&self) -> Flags {
        match self {
            Self::Pipeline(args) => args.models.settings(),
            Self::Serve(args) => args.models.settings(),
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

/// Flags of `bench serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Folder with a folder of photos for each identity
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,
    /// Identities enrolled, those with several photos first
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub gallery: usize,
    /// Photos to ask with, evenly over the names; 0 takes all
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub probes: usize,
    /// Ask only with photos of at least so many pixels
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_pixels: u64,
    /// Clients of a closed loop; several numbers are measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 4, 16])]
    pub clients: Vec<usize>,
    /// Requests a second of an open loop; several numbers are measured one after the other
    #[arg(long = "rate", value_name = "N", value_delimiter = ',')]
    pub rates: Vec<f64>,
    /// Seconds of each load
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    pub seconds: f64,
    /// Rounds; servers and loads take turns in each
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rounds: usize,
    /// Another server, NAME=HOST:PORT, that takes POST /enrol?id=ID and POST /identify with a photo as body and
    /// answers {"id": ID}; may be given several times
    #[arg(long = "peer", value_name = "PEER")]
    pub peers: Vec<String>,
    #[command(flatten)]
    pub models: ModelArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}
