//! How the cores are shared out between model runs: many runs at a time on one core each, or fewer on several. What is
//! better depends on the model, on the processor and on how many of its cores are real, so it is measured at start.
//! Called by `load`.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use inference::{Engine, InferenceError, TensorRef};

/// How long each trial of a candidate takes: some ten runs of a small embedder.
const TRIAL: Duration = Duration::from_millis(80);

/// Trials of each candidate. The best one counts: whatever else the machine does can only slow a trial down.
const TRIALS: usize = 3;

/// Runs on more threads are done sooner. That is worth this share of the throughput.
const WORTH: f64 = 0.95;

/// Most threads of one run that are tried.
const MOST_THREADS: usize = 8;

/// So many runs at a time, each on so many threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Runs at a time.
    pub engines: usize,
    /// Threads of each.
    pub threads: usize,
}

impl Layout {
    /// Runs on so many threads, as many as fill the cores.
    #[must_use]
    pub fn with_threads(threads: usize, cores: usize) -> Self {
        Self { engines: (cores / threads.max(1)).max(1), threads: threads.max(1) }
    }

    /// What may be best on this many cores: 1, 2, 4 … threads a run.
    fn candidates(cores: usize) -> impl Iterator<Item = Self> {
        let threads = std::iter::successors(Some(1), |t| Some(t * 2));
        threads.take_while(move |t| *t <= cores.clamp(1, MOST_THREADS)).map(move |t| Self::with_threads(t, cores))
    }

    /// The best layout for the engines that `load` makes with a number of threads, measured on inputs of `shape`, and
    /// these engines.
    ///
    /// # Errors
    /// Those of `load` and of the runs.
    pub fn measured<E: Engine>(
        cores: usize,
        shape: &[usize],
        load: impl Fn(usize) -> Result<E, InferenceError> + Sync,
    ) -> Result<(Self, Vec<E>), InferenceError> {
        let mut best: Option<(f64, Self, Vec<E>)> = None;
        for layout in Self::candidates(cores) {
            let mut engines = layout.load(&load)?;
            if cores == 1 {
                return Ok((layout, engines));
            }
            let mut rate = 0.0_f64;
            for _ in 0..TRIALS {
                rate = rate.max(self::rate(&mut engines, shape)?);
            }
            tracing::debug!(engines = layout.engines, threads = layout.threads, rate, "measured a layout of threads");
            if best.as_ref().is_none_or(|(most, ..)| rate >= most * WORTH) {
                // The bar stays at the highest rate seen, or a row of small losses would add up.
                let most = best.as_ref().map_or(rate, |(most, ..)| most.max(rate));
                best = Some((most, layout, engines));
            }
        }
        let none = || InferenceError::Run("there is no layout to choose from".into());
        best.map(|(_, layout, engines)| (layout, engines)).ok_or_else(none)
    }

    /// The engines of this layout, loaded side by side.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn load<E: Send>(
        &self,
        load: &(impl Fn(usize) -> Result<E, InferenceError> + Sync),
    ) -> Result<Vec<E>, InferenceError> {
        thread::scope(|scope| {
            let loads: Vec<_> = (0..self.engines).map(|_| scope.spawn(|| load(self.threads))).collect();
            loads.into_iter().map(|l| l.join().unwrap_or_else(|_| Err(died()))).collect()
        })
    }
}

/// Runs a second over all engines at once.
fn rate<E: Engine>(engines: &mut [E], shape: &[usize]) -> Result<f64, InferenceError> {
    let input = vec![0.5; shape.iter().product()];
    let ready = Barrier::new(engines.len());
    let work = |engine: &mut E| {
        let batch = TensorRef { shape, data: &input };
        // The first run sets up memory.
        let warm = engine.infer(batch, &mut |_| ());
        ready.wait();
        warm?;
        let (start, mut runs) = (Instant::now(), 0.0);
        while start.elapsed() < TRIAL {
            engine.infer(batch, &mut |_| ())?;
            runs += 1.0;
        }
        Ok(runs / start.elapsed().as_secs_f64())
    };
    thread::scope(|scope| {
        let trials: Vec<_> = engines.iter_mut().map(|engine| scope.spawn(|| work(engine))).collect();
        trials.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(died()))).sum()
    })
}

fn died() -> InferenceError {
    InferenceError::Run("the engine panicked".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use inference::FakeEngine;

    use super::*;

    /// Engines that sleep for as long as a run on so many threads would take.
    fn chosen(cores: usize, millis: impl Fn(usize) -> u64 + Sync) -> Layout {
        let loads = Mutex::new(0);
        let load = |threads: usize| {
            *loads.lock().unwrap() += 1;
            let pause = Duration::from_millis(millis(threads));
            let like = FakeEngine::embedder(&[3, 2, 2], 4);
            let signature = like.signature().clone();
            Ok(FakeEngine::new(signature, 1, move |_| {
                thread::sleep(pause);
                Ok(vec![vec![0.0; 4]])
            }))
        };
        let (layout, engines) = Layout::measured(cores, &[1, 3, 2, 2], load).unwrap();
        assert_eq!(engines.len(), layout.engines);
        layout
    }

    #[test]
    fn more_threads_are_taken_only_where_they_pay() {
        // Two threads are hardly faster than one: two runs at a time do more.
        assert_eq!(chosen(2, |threads| if threads == 1 { 10 } else { 8 }), Layout { engines: 2, threads: 1 });
        // They do the run in half the time: the same throughput, sooner.
        assert_eq!(chosen(2, |threads| if threads == 1 { 20 } else { 10 }), Layout { engines: 1, threads: 2 });
        assert_eq!(chosen(1, |_| 5), Layout { engines: 1, threads: 1 });
    }

    #[test]
    fn the_cores_are_filled() {
        assert_eq!(Layout::with_threads(0, 4), Layout { engines: 4, threads: 1 });
        assert_eq!(Layout::with_threads(3, 8), Layout { engines: 2, threads: 3 });
        assert_eq!(Layout::with_threads(16, 8), Layout { engines: 1, threads: 16 });
    }
}
