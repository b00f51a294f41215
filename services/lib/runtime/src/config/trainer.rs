//! `[trainer]`: a section of the configuration with its rules; read by the binary.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Least silence after which a run may be taken over: a trainer on a busy machine has to get a word in.
const LEAST_IDLE_MS: u64 = 1000;

/// `[trainer]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerSection {
    /// Whether `visavis up` trains.
    pub in_up: bool,
    /// Threads that learn; 0 takes half the cores.
    pub threads: usize,
    /// How much they let everything else go first.
    pub niceness: u8,
    /// Folder in memory for files of a training.
    pub scratch_dir: PathBuf,
    /// Bytes of opened crops held in memory.
    pub crop_bytes: usize,
    /// Silence after which a run is taken over, in milliseconds.
    pub min_idle_ms: u64,
    /// Time between two words on a run's progress, in milliseconds.
    pub report_every_ms: u64,
}

impl TrainerSection {
    /// Silence after which a run is taken over.
    #[must_use]
    pub const fn min_idle(&self) -> Duration {
        Duration::from_millis(self.min_idle_ms)
    }

    /// Time between two words on a run's progress.
    #[must_use]
    pub const fn report_every(&self) -> Duration {
        Duration::from_millis(self.report_every_ms)
    }

    /// What of it cannot be.
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut broken = Vec::new();
        if self.niceness > 19 {
            broken.push(("trainer.niceness", "must be at most 19".into()));
        }
        if self.min_idle_ms < LEAST_IDLE_MS {
            broken.push(("trainer.min_idle_ms", format!("must be at least {LEAST_IDLE_MS}")));
        }
        if !(100..=60_000).contains(&self.report_every_ms) {
            broken.push(("trainer.report_every_ms", "must lie between 100 and 60000".into()));
        }
        broken
    }
}
