//! `visavis eval`: what is measured, and on what.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ModelArgs;
use crate::settings::Flags;

#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Compare labelled pairs of pictures: accuracy (with folds, too), AUC, EER, TAR at FMR, failures to enrol
    Verification(VerificationArgs),
    /// Search for people and strangers among enrolled people: rank-k, FNIR at FPIR, failures to enrol
    Identification(IdentificationArgs),
    /// Make the table of scores by false match rate that a manifest holds, from labelled pictures
    Calibrate(CalibrateArgs),
}

/// Flags of `eval verification`.
#[derive(Debug, Args)]
pub struct VerificationArgs {
    /// Pairs to measure on: CSV with the columns left,right,same and, if wanted, fold and cohort; or a pairs.txt in
    /// the form of Labeled Faces in the Wild
    #[arg(long, value_name = "FILE")]
    pub pairs: PathBuf,
    /// Folder the pictures' names are relative to
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,
    /// Pairs the threshold of the accuracy is chosen on; without them it is chosen on --pairs
    #[arg(long, value_name = "FILE")]
    pub threshold_from: Option<PathBuf>,
    /// Who is in a picture, and of which cohort: CSV with the columns image and subject, cohort or both
    #[arg(long, value_name = "CSV")]
    pub labels: Option<PathBuf>,
    #[command(flatten)]
    pub report: ReportArgs,
    /// The JSON of another run of the same kind, drawn and listed beside this one
    #[arg(long, value_name = "JSON", requires = "report")]
    pub compare: Option<PathBuf>,
    #[command(flatten)]
    pub models: ModelArgs,
}

/// Flags of `eval identification`.
#[derive(Debug, Args)]
pub struct IdentificationArgs {
    /// Who is enrolled: CSV with the columns subject,image and, if wanted, cohort
    #[arg(long, value_name = "CSV")]
    pub enrol: PathBuf,
    /// Who is searched for: CSV with the columns subject,image and, if wanted, cohort; a subject that is not enrolled,
    /// or none, is a stranger
    #[arg(long, value_name = "CSV")]
    pub probes: PathBuf,
    /// Folder the pictures' names are relative to [default: the folder of each CSV]
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    #[command(flatten)]
    pub report: ReportArgs,
    /// The JSON of another run of the same kind, drawn and listed beside this one
    #[arg(long, value_name = "JSON", requires = "report")]
    pub compare: Option<PathBuf>,
    #[command(flatten)]
    pub models: ModelArgs,
}

/// Flags of `eval calibrate`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("pictures").required(true).multiple(true).args(["images", "labels"])))]
pub struct CalibrateArgs {
    /// Folder with a folder for each person; with --labels, the folder its names are relative to
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Who is in a picture: CSV with the columns image,subject, instead of a folder for each person
    #[arg(long, value_name = "CSV")]
    pub labels: Option<PathBuf>,
    /// Pairs of names that are one person, left out: CSV with the columns subject,other
    #[arg(long, value_name = "CSV")]
    pub same_person: Option<PathBuf>,
    /// Id of the table [default: made from the models and the folder]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Most comparisons; of more, as many are drawn at random
    #[arg(long, value_name = "N", default_value_t = 50_000_000)]
    pub max_comparisons: usize,
    /// Write the table for the manifest, as JSON if the name ends in .json and else as TOML
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// What is printed: the table for the manifest as TOML, with the rest as comments, or as JSON
    #[arg(long, value_enum, default_value_t = TableFormat::Toml)]
    pub print: TableFormat,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub models: ModelArgs,
}

/// Forms of a calibration table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TableFormat {
    Toml,
    Json,
}

/// Where the results go, and how fast they are made.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Write a report for people, one HTML file, and its figures as JSON beside it: a folder, or a name in .html
    #[arg(long, value_name = "DIR|FILE.html")]
    pub report: Option<PathBuf>,
    /// Leave pictures of faces out of the report
    #[arg(long, requires = "report")]
    pub no_thumbnails: bool,
    /// Write the figures as JSON
    #[arg(long, value_name = "OUT")]
    pub json: Option<PathBuf>,
    /// Threads for each stage; 0 takes one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
}

impl EvalCommand {
    /// As the topmost layer of the configuration.
    pub fn settings(&self) -> Flags {
        let (Self::Verification(VerificationArgs { models, .. })
        | Self::Identification(IdentificationArgs { models, .. })
        | Self::Calibrate(CalibrateArgs { models, .. })) = self;
        models.settings()
    }
}
