//! What machine a figure is from. Called by `bench`.

use std::fmt;
use std::fs;

use serde::Serialize;

/// The processor, as the system names it, and how much of it there is for this process.
#[derive(Debug, Serialize)]
pub struct Machine {
    processor: String,
    cores: usize,
    architecture: &'static str,
}

impl Machine {
    /// The machine this runs on.
    pub fn here() -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find(|l| l.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        Self {
            processor: processor.unwrap_or_else(|| "unknown".to_owned()),
            cores: cores(),
            architecture: std::env::consts::ARCH,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}), {} cores for this process", self.processor, self.architecture, self.cores)
    }
}

/// Cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
