//! The command line of `visavis bench`. Each part of it has its flags here and its work in the file of the same name
//! under `bench/`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ModelArgs;
use crate::settings::Flags;

/// What to measure. Every figure stands beside its bound, measured in the same run.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Each model alone in ONNX Runtime: as shipped, as served and in 8 bits, over batch sizes and threads
    Models(ModelsBenchArgs),
    /// From photos to templates, by stage, beside the time that the models alone take
    Pipeline(PipelineArgs),
    /// Exact search of a gallery, beside the time that reading as many bytes takes
    Search(SearchArgs),
    /// A service of its own over HTTPS under load, beside its bound and beside other servers
    Serve(ServeArgs),
}

impl BenchCommand {
    /// As the topmost layer of the configuration.
    pub fn settings(&self) -> Flags {
        match self {
            Self::Models(args) => args.models.settings(),
            Self::Pipeline(args) => args.models.settings(),
            Self::Search(_) => Flags::default(),
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

/// Flags of `bench search`.
#[derive(Clone, Debug, Args)]
pub struct SearchArgs {
    /// Templates in the gallery
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub rows: u64,
    /// Values of each
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub dim: usize,
    /// Templates of each subject
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub per_subject: u64,
    /// Probes in a pass; several numbers are measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 32])]
    pub batch: Vec<usize>,
    /// Threads that share a pass; 0 takes all cores
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Candidates asked for
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub limit: usize,
    /// Passes of each number of probes; memory is read before each
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub rounds: usize,
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
    /// Measure a gateway and a worker on this Redis too, in turns with the one process; it has to be empty, and keeps
    /// what is enrolled
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Hold the process that runs the models to these cores, as `taskset` takes them: what else is needed (Redis, the
    /// gateway, the clients) then has to be on others, and a worker's own rate is seen
    #[arg(long, value_name = "LIST")]
    pub model_cores: Option<String>,
    /// Another server, NAME=HOST:PORT, that takes POST /enrol?id=ID and POST /identify with a photo as body and
    /// answers {"id": ID}; may be given several times
    #[arg(long = "peer", value_name = "PEER")]
    pub peers: Vec<String>,
    #[command(flatten)]
    pub models: ModelArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Flags of `bench models`.
#[derive(Debug, Args)]
pub struct ModelsBenchArgs {
    /// Batch sizes
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32])]
    pub batch: Vec<usize>,
    /// Threads of a run [default: 1, 2, 4 … up to the cores]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub threads: Vec<usize>,
    /// Side of the detector's canvas in pixels [default: as its manifest says]
    #[arg(long, value_name = "PIXELS")]
    pub canvas: Option<u32>,
    /// Milliseconds for each form in each of five rounds
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub millis: u64,
    #[command(flatten)]
    pub models: ModelArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}
