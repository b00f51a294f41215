//! The command line of `visavis convert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Of which system.
#[derive(Debug, Subcommand)]
pub enum ConvertCommand {
    /// Rows of subjects and pictures out of CompreFace, as bodies of bulk enrolment jobs (POST /v1/jobs)
    Compreface(CompreFaceArgs),
}

/// What to make of the rows.
#[derive(Debug, Args)]
pub struct CompreFaceArgs {
    /// One JSON object a line, sorted by subject: {"subject": "…", "image": "<base64>"}; `-` reads standard input
    pub rows: PathBuf,
    /// Collection to enrol them in
    #[arg(long, value_name = "ID")]
    pub collection: String,
    /// What these people have agreed to, separated by commas
    #[arg(long, value_name = "PURPOSES", required = true, value_delimiter = ',')]
    pub purposes: Vec<String>,
    /// How their consent was given, such as `signed_form`
    #[arg(long, value_name = "METHOD")]
    pub method: String,
    /// Folder to write the bodies into; made if absent
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Most bytes of a body
    #[arg(long, value_name = "BYTES", default_value_t = 48 << 20)]
    pub max_bytes: usize,
    /// Most pictures of a person
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_images: usize,
}
