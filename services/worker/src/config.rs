//! What a worker can be told. Filled by the binary from the configuration; the defaults suit a small CPU machine.

use std::{path::PathBuf, time::Duration};

use domain::ThresholdSpec;
use evaluation::gate::GatePolicy;
use inference::Provider;
use trace::Tracer;

/// Settings of a worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Name of the machine, first half of the consumers' names.
    pub host: String,
    /// Bounds on one encoded image, checked from its header.
    pub limits: vision::Limits,
    /// Pixels decoded at any one time, over all jobs: bounds the memory for pictures (3 bytes a pixel, about three
    /// times that while a progressive picture is read).
    pub max_pixels_in_flight: u64,
    /// Jobs worked on at a time from the interactive lane.
    pub interactive_jobs: usize,
    /// Jobs worked on at a time from the bulk lane.
    pub bulk_jobs: usize,
    /// What computes.
    pub provider: Provider,
    /// Folder for what TensorRT has compiled.
    pub engine_cache: Option<PathBuf>,
    /// Threads of one model run; 0 for the number that is measured at start to be best, on a GPU for one per core.
    pub session_threads: usize,
    /// Pictures in work at a time on processors; 0 for as many as models run at a time.
    pub cpu_threads: usize,
    /// Longest side of the detector's canvas in pixels, a multiple of 32.
    pub detector_canvas: u32,
    /// Shortest longer side of that canvas on processors, a multiple of 32: smaller pictures are enlarged to it.
    pub detector_canvas_least: u32,
    /// Whether on processors a single face is looked for on a small canvas first, where the detector is known to
    /// give the same landmarks then.
    pub detector_scouts: bool,
    /// Most tiles in which a large picture is looked at where nothing was found in it; 0 for none.
    pub detect_tiles: usize,
    /// Largest batch of the detector; on a CPU a batch costs more per picture than singles.
    pub detect_batch: usize,
    /// Largest batch of the embedder.
    pub embed_batch: usize,
    /// Longest a face waits for company while the engine is busy.
    pub batch_delay: Duration,
    /// Threshold of compare and verify when the caller names none.
    pub verification: ThresholdSpec,
    /// How long a finished job's result is kept.
    pub result_ttl: Duration,
    /// How long the others count this worker as alive after its last word. An erasure waits for a dead worker at most
    /// this long.
    pub lease: Duration,
    /// An entry that no worker has touched for this long is taken over by another.
    pub min_idle: Duration,
    /// For tests of crashes: the process aborts when it meets this image (SHA-256, hex).
    #[cfg(debug_assertions)]
    pub crash_on: Option<String>,
    /// What is asked of a model before it is promoted.
    pub gate: GateConfig,
    /// How long running jobs may take to finish when the worker is told to stop.
    pub drain_grace: Duration,
    /// Where spans of jobs go; nowhere unless said.
    pub tracer: Tracer,
}

/// What is asked of a model before it is promoted, and what it is measured on.
#[derive(Clone, Debug, PartialEq)]
pub struct GateConfig {
    /// What is asked.
    pub policy: GatePolicy,
    /// A folder with a folder of photos for each of many people who are not in any collection; none where what a model
    /// has forgotten is not looked for.
    pub general_set: Option<PathBuf>,
    /// Most people of a collection that are looked at.
    pub most_subjects: usize,
    /// Resamples behind the intervals.
    pub resamples: usize,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { policy: GatePolicy::default(), general_set: None, most_subjects: 500, resamples: 1000 }
    }
}

impl Default for WorkerConfig {
    fn default() -> Self {
        let cores = cores();
        Self {
            host: "local".into(),
            limits: vision::Limits::default(),
            max_pixels_in_flight: 120_000_000,
            interactive_jobs: 4 * cores,
            bulk_jobs: cores,
            provider: Provider::Cpu,
            engine_cache: None,
            session_threads: 0,
            cpu_threads: 0,
            detector_canvas: 640,
            detector_canvas_least: 320,
            detector_scouts: true,
            detect_tiles: 32,
            detect_batch: 1,
            embed_batch: 8,
            batch_delay: Duration::from_millis(2),
            verification: ThresholdSpec::fmr(1e-4),
            result_ttl: Duration::from_secs(24 * 3600),
            lease: Duration::from_secs(5),
            min_idle: queue::Timing::default().min_idle,
            #[cfg(debug_assertions)]
            crash_on: None,
            gate: GateConfig::default(),
            drain_grace: Duration::from_secs(20),
            tracer: Tracer::default(),
        }
    }
}

impl WorkerConfig {
    /// Threads within one operator of a session.
    #[must_use]
    pub fn session_threads(&self) -> usize {
        if self.session_threads == 0 { cores() } else { self.session_threads }
    }

    /// Threads for decoding and aligning.
    #[must_use]
    pub fn cpu_threads(&self) -> usize {
        if self.cpu_threads == 0 { cores() } else { self.cpu_threads }
    }
}

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
