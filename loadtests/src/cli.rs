//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Load tests of Visavis.
#[derive(Parser)]
#[command(version, about, long_about = None)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run scenarios, one after the other, and hold them to their objectives.
    Run(RunArgs),
    /// Start a local cluster, say how it is reached, and keep it until the end of standard input.
    Cluster(ClusterArgs),
    /// Run a scenario with every combination of settings, each on a fresh local cluster.
    Sweep(SweepArgs),
    /// Measure what a request costs, predict from that what the machine carries, and hold the prediction to a measurement.
    Capacity(CapacityArgs),
    /// Send the same load by k6 and from here, in turns, and hold both measurements against each other.
    Agree(AgreeArgs),
    /// Hold a run against a former one of the same machine.
    Compare(CompareArgs),
    /// Hold a run that is over against other objectives.
    Judge(JudgeArgs),
    /// Make the page of a run again.
    Page(PageArgs),
    /// Print what the k6 scripts are to know of scenarios and objectives.
    K6Plan,
}

/// Where requests go.
#[derive(Args, Clone)]
pub struct StandArgs {
    /// Origin of a running service, such as https://faces.example:8443; a local cluster is started without.
    #[arg(long, requires_all = ["ca", "key_file"])]
    pub url: Option<String>,
    /// The certificate to trust there, PEM.
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// A file with an admin key.
    #[arg(long)]
    pub key_file: Option<PathBuf>,
    /// Admin address of one of its processes, for memory and dead letters; may be given several times.
    #[arg(long = "admin")]
    pub admins: Vec<std::net::SocketAddr>,
    /// Gateways of a local cluster; what the scenario says without.
    #[arg(long)]
    pub gateways: Option<usize>,
    /// Workers of a local cluster; what the scenario says without.
    #[arg(long)]
    pub workers: Option<usize>,
    /// A setting of every process of a local cluster, such as VISAVIS__WORKER__EMBED_BATCH=4; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<String>,
}

#[derive(Args)]
pub struct RunArgs {
    /// Names of scenarios in loadtests/scenarios, or files.
    #[arg(required = true)]
    pub scenarios: Vec<String>,
    #[command(flatten)]
    pub stand: StandArgs,
    /// Objectives other than the scenario's own: a name in loadtests/slo, or a file.
    #[arg(long)]
    pub slo: Option<String>,
    /// Requests a second that the service carries; measured before the load without.
    #[arg(long)]
    pub capacity: Option<f64>,
    /// Make every stage so many times as long.
    #[arg(long, default_value_t = 1.0)]
    pub stretch: f64,
    /// A folder with a folder of photos for each person, instead of the few that come with the tests.
    #[arg(long)]
    pub images: Option<PathBuf>,
    /// Folder for NAME.json and NAME.html.
    #[arg(long, default_value = "loadtests/out")]
    pub out: PathBuf,
}

#[derive(Args)]
pub struct ClusterArgs {
    #[command(flatten)]
    pub stand: StandArgs,
}

#[derive(Args)]
pub struct SweepArgs {
    /// The scenario.
    #[arg(default_value = "sweep")]
    pub scenario: String,
    /// What is varied: NAME=A,B,C, where NAME is `workers` or a setting such as VISAVIS__WORKER__BATCH_DELAY_MS; may be
    /// given several times. Batch × delay × workers without.
    #[arg(long = "axis", value_name = "NAME=A,B")]
    pub axes: Vec<String>,
    /// Seconds of each combination at the limit of what it carries.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Folder for sweep.json.
    #[arg(long, default_value = "loadtests/out")]
    pub out: PathBuf,
}

#[derive(Args)]
pub struct CapacityArgs {
    /// Seconds of each of the two measurements.
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// Largest share by which prediction and measurement may differ.
    #[arg(long, default_value_t = 0.15)]
    pub within: f64,
    /// Subjects to enrol, for the memory that each takes.
    #[arg(long, default_value_t = 200)]
    pub subjects: usize,
    /// Folder for capacity.json.
    #[arg(long, default_value = "loadtests/out")]
    pub out: PathBuf,
}

#[derive(Args)]
pub struct AgreeArgs {
    /// The scenario.
    #[arg(default_value = "agree")]
    pub scenario: String,
    #[command(flatten)]
    pub stand: StandArgs,
    /// Turns of each.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Requests a second that the service carries; measured before the load without.
    #[arg(long)]
    pub capacity: Option<f64>,
    /// Largest share by which the two may differ.
    #[arg(long, default_value_t = 0.1)]
    pub within: f64,
    /// Folder for agree.json.
    #[arg(long, default_value = "loadtests/out")]
    pub out: PathBuf,
}

#[derive(Args)]
pub struct CompareArgs {
    /// A run.
    pub run: PathBuf,
    /// A former one.
    pub baseline: PathBuf,
    /// How many times as slow as the former one it may be.
    #[arg(long, default_value_t = 1.25)]
    pub worse: f64,
}

#[derive(Args)]
pub struct JudgeArgs {
    /// A run.
    pub run: PathBuf,
    /// Objectives: a name in loadtests/slo, or a file.
    pub slo: String,
}

#[derive(Args)]
pub struct PageArgs {
    /// A run.
    pub run: PathBuf,
    /// The page.
    pub page: PathBuf,
}
