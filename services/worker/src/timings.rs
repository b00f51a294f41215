//! Where a job's time went: to the reply (and so to `server-timing`) and to the stage histogram alike.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::HistogramVec;
use trace::Handle;
use wire::v1::StageTiming;

/// The parts of a job, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// On the lane, before the worker took it.
    Queue,
    /// Bytes to an upright picture.
    Decode,
    /// Letterboxing, the detector with its wait for a batch, and reading its outputs.
    Detect,
    /// Faces to 112×112 crops, with pose and quality.
    Align,
    /// The embedder with its wait for a batch.
    Embed,
    /// Catching up with the store and searching.
    Search,
    /// Writing to the store.
    Store,
}

const STAGES: [&str; 7] = ["queue", "decode", "detect", "align", "embed", "search", "store"];

/// Sums by stage over all images of one job; images of one job overlap, so the sum may exceed the wall time.
#[derive(Debug)]
pub struct Timings {
    micros: Mutex<[u64; STAGES.len()]>,
    histogram: HistogramVec,
    trace: Handle,
}

impl Timings {
    /// Nothing spent yet; observations go to `histogram`, labelled by stage.
    #[must_use]
    pub fn new(histogram: HistogramVec) -> Self {
        Self { micros: Mutex::new([0; STAGES.len()]), histogram, trace: Handle::default() }
    }

    /// The same with a span of this job for each part.
    #[must_use]
    pub fn traced(self, trace: Handle) -> Self {
        Self { trace, ..self }
    }

    /// Adds to a stage.
    pub fn add(&self, stage: Stage, spent: Duration) {
        let micros = u64::try_from(spent.as_micros()).unwrap_or(u64::MAX);
        let slot = stage as usize;
        let mut all = self.micros.lock();
        all[slot] = all[slot].saturating_add(micros);
        self.histogram.with_label_values(&[STAGES[slot]]).observe(spent.as_secs_f64());
        // The wait was over before the job's span began: whoever takes the job tells of it.
        if stage != Stage::Queue {
            self.trace.past(STAGES[slot], spent);
        }
    }

    /// Adds the time since `start` to a stage.
    pub fn since(&self, stage: Stage, start: Instant) {
        self.add(stage, start.elapsed());
    }

    /// Adds what `work` takes to a stage.
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.since(stage, start);
        done
    }

    /// The stages that took any time, as the reply carries them.
    #[must_use]
    pub fn to_wire(&self) -> Vec<StageTiming> {
        let all = self.micros.lock();
        let spent = STAGES.iter().zip(*all).filter(|(_, micros)| *micros > 0);
        spent.map(|(stage, micros)| StageTiming { stage: (*stage).into(), micros }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::HistogramOpts;

    #[test]
    fn stages_add_up_and_idle_ones_are_left_out() {
        let histogram = HistogramVec::new(HistogramOpts::new("t", "t"), &["stage"]).unwrap();
        let timings = Timings::new(histogram.clone());
        timings.add(Stage::Decode, Duration::from_millis(2));
        timings.add(Stage::Decode, Duration::from_millis(3));
        let told = timings.to_wire();
        assert_eq!(told, vec![StageTiming { stage: "decode".into(), micros: 5_000 }]);
        assert_eq!(histogram.with_label_values(&["decode"]).get_sample_count(), 2);
    }
}
