//! Flags of `visavis healthcheck`.

use std::path::PathBuf;

use clap::Args;

use crate::settings::Flags;

/// Which process is asked, and for what.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// Configuration file (TOML) of the process
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its address for metrics and probes [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
    /// Ask whether it is alive, not whether it is ready
    #[arg(long)]
    pub live: bool,
}

impl HealthcheckArgs {
    /// As the topmost layer of the configuration.
    pub fn settings(&self) -> Flags {
        let mut flags = Flags { file: self.config.clone(), settings: Vec::new() };
        flags.set("--admin-listen", "admin.listen", self.admin_listen.clone());
        flags
    }
}
