//! The command line of `visavis sealing`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::text;
use crate::settings::Flags;

/// What to do with key-encryption keys.
#[derive(Debug, Subcommand)]
pub enum SealingCommand {
    /// Make a key-encryption key
    Key {
        /// File to put it into, on top of the keys that are there [default: print it]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show the keys, and how many data keys each wraps
    Status(SealingArgs),
    /// Wrap every data key with the first key, so that the others can be taken away; while processes on a shared server
    /// go on, or on an embedded store that nobody has open
    Rotate(SealingArgs),
}

/// Where the store is. The keys come from the configuration or the data directory, as they do for the roles.
#[derive(Debug, Args)]
pub struct SealingArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Redis or Valkey that holds the store
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Folder of the embedded store and its key [default: the user's data folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// File with the keys
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl SealingCommand {
    /// As the topmost layer of the configuration.
    pub fn settings(&self) -> Flags {
        let (Self::Status(at) | Self::Rotate(at)) = self else { return Flags::default() };
        let mut flags = Flags { file: at.config.clone(), settings: Vec::new() };
        flags.redis(at.redis.as_deref());
        flags.set("--data-dir", "store.data_dir", text(at.data_dir.as_deref()));
        flags.set("--key-file", "sealing.key_file", text(at.key_file.as_deref()));
        flags
    }
}
