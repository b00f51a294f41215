//! Batches made ahead on threads, in a fixed order: thread t makes every n-th one and hands it through a channel of its
//! own, from which the consumer takes in turn. Called by the loop and by whoever embeds.

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::{
    TrainingError,
    inputs::{Inputs, View},
};

/// Batches that each thread may be ahead.
const AHEAD: usize = 2;

/// Inputs of a few photos.
pub(crate) struct Batch {
    /// Row by row.
    pub values: Vec<f32>,
    /// Which photos.
    pub items: Vec<(usize, View)>,
}

/// Hands out batches.
pub(crate) struct Loader {
    channels: Vec<Receiver<Result<Batch, TrainingError>>>,
    next: usize,
}

impl Loader {
    /// The next batch.
    ///
    /// # Errors
    /// What making it came to.
    pub fn next(&mut self) -> Result<Batch, TrainingError> {
        let channel = &self.channels[self.next % self.channels.len()];
        self.next += 1;
        // A channel ends early only with a thread that panicked: the scope passes that on.
        channel.recv().unwrap_or_else(|_| Err(TrainingError::Model("a loading thread ended".into())))
    }
}

/// Runs `body` with a loader of these jobs. `items` says which photos a job has.
pub(crate) fn with_loader<T>(
    inputs: &dyn Inputs,
    jobs: Range<u64>,
    threads: usize,
    items: &(dyn Fn(u64) -> Vec<(usize, View)> + Sync),
    body: impl FnOnce(Loader) -> T,
) -> T {
    thread::scope(|scope| {
        let threads = threads.max(1) as u64;
        let channels = (0..threads).map(|t| {
            let (sender, receiver) = sync_channel(AHEAD);
            let mine = (jobs.start + t..jobs.end).step_by(threads as usize);
            scope.spawn(move || {
                for job in mine {
                    let made = make(inputs, items(job));
                    let failed = made.is_err();
                    // The consumer may stop early: then there is nobody to make more for.
                    if sender.send(made).is_err() || failed {
                        return;
                    }
                }
            });
            receiver
        });
        body(Loader { channels: channels.collect(), next: 0 })
    })
}

fn make(inputs: &dyn Inputs, items: Vec<(usize, View)>) -> Result<Batch, TrainingError> {
    let size = inputs.size();
    let mut values = vec![0.0; items.len() * size];
    for ((sample, view), row) in items.iter().zip(values.chunks_exact_mut(size)) {
        inputs.fill(*sample, *view, row)?;
    }
    Ok(Batch { values, items })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers;

    impl Inputs for Numbers {
        fn size(&self) -> usize {
            2
        }

        fn fill(&self, sample: usize, view: View, out: &mut [f32]) -> Result<(), TrainingError> {
            if sample == 66 {
                return Err(TrainingError::Unreadable("sixty-six".into()));
            }
            out.copy_from_slice(&[sample as f32, f32::from(u8::from(view == View::Plain))]);
            Ok(())
        }
    }

    #[test]
    fn batches_come_in_order_whatever_the_threads_and_stop_with_the_consumer() {
        let items = |job: u64| vec![(2 * job as usize, View::Plain), (2 * job as usize + 1, View::Domain)];
        for threads in 1..5 {
            let all = with_loader(&Numbers, 3..17, threads, &items, |mut loader| {
                (3..17).map(|_| loader.next().unwrap().values).collect::<Vec<_>>()
            });
            for (i, values) in all.iter().enumerate() {
                let first = 2.0 * (i + 3) as f32;
                assert_eq!(values, &[first, 1.0, first + 1.0, 0.0]);
            }
            let first = with_loader(&Numbers, 0..1_000_000, threads, &items, |mut loader| loader.next().unwrap().items);
            assert_eq!(first, items(0));
            let failed = with_loader(&Numbers, 32..40, threads, &items, |mut loader| {
                loader.next().unwrap();
                loader.next().map(|b| b.items).unwrap_err().to_string()
            });
            assert_eq!(failed, "sixty-six");
        }
    }
}
