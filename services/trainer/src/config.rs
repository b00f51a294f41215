//! What a trainer can be told. Built by the binary from its layered settings.

use std::time::Duration;

/// Settings of one trainer.
#[derive(Clone, Debug)]
pub struct TrainerConfig {
    /// Name of the machine, for the lane.
    pub host: String,
    /// Threads that learn.
    pub threads: usize,
    /// How much these let everything else on the machine go first, 0 to 19.
    pub niceness: u8,
    /// Silence after which another trainer takes a run over.
    pub min_idle: Duration,
    /// Bytes of opened crops held in memory; what is more is opened again at each use.
    pub crop_bytes: usize,
    /// Longest time for a run under way to come to a stop at the end.
    pub grace: Duration,
    /// Least time between two words on the progress of a run.
    pub report_every: Duration,
}

impl Default for TrainerConfig {
    fn default() -> Self {
        Self {
            host: "local".into(),
            threads: 1,
            niceness: 19,
            min_idle: Duration::from_secs(30),
            crop_bytes: 2 << 30,
            grace: Duration::from_secs(20),
            report_every: Duration::from_secs(1),
        }
    }
}
