//! The task behind a batcher: asks the policy, hands batches to the runner, wakes when something changes.

use std::{sync::Arc, time::Instant};

use domain::Problem;
use tokio::{task::JoinSet, time::sleep_until};
use trace::Joint;

use super::{BatchError, Shared, now, policy::Next, queue::Taken, run::Batch};

enum Step<T> {
    Run(Vec<Taken<T>>),
    Wait(Option<Instant>),
    End,
}

/// Runs until the last batcher is gone; batches under way are finished then.
pub(super) async fn dispatch<I, O, R, F>(shared: Closing<I, O>, runner: Arc<R>)
where
    I: Clone + Send + Sync + 'static,
    O: Send + 'static,
    R: Fn(Vec<I>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Vec<O>, Problem>> + Send + 'static,
{
    let shared = &*shared.0;
    // Each batch in a task of its own: laying tensors together must not hold up the answers of another.
    let mut runs = JoinSet::new();
    loop {
        while runs.try_join_next().is_some() {}
        match shared.step(runs.len()) {
            Step::Run(taken) => {
                shared.observe(&taken);
                let span = Joint::begin("batch", shared.model, taken.iter().map(|t| t.item.asked_by.clone()));
                let batch = Batch::new(taken.into_iter().map(|t| t.item));
                let (runner, model, observer) = (Arc::clone(&runner), shared.model, shared.observer.clone());
                runs.spawn(async move {
                    batch.run(&*runner, model, observer).await;
                    drop(span);
                });
            }
            Step::Wait(until) => {
                tokio::select! {
                    () = shared.changed.notified() => {}
                    Some(_) = runs.join_next() => {}
                    () = sleep_until(until.unwrap_or_else(now).into()), if until.is_some() => {}
                }
            }
            Step::End => break,
        }
    }
    while runs.join_next().await.is_some() {}
}

impl<I, O> Shared<I, O> {
    fn step(&self, in_flight: usize) -> Step<super::Waiting<I, O>> {
        let now = now();
        let (step, late) = {
            let mut state = self.state.lock();
            let late = state.queue.expire(now);
            let step = if !state.open && state.queue.is_empty() {
                Step::End
            } else if in_flight >= self.policy.in_flight() {
                Step::Wait(None)
            } else {
                match self.policy.next(now, &state.queue, in_flight == 0) {
                    Next::Take(n) => Step::Run(state.queue.take(n)),
                    Next::Wait(until) => Step::Wait(until),
                }
            };
            (step, late)
        };
        if let Some(observer) = self.observer.as_ref().filter(|_| !late.is_empty()) {
            observer.expired(self.model, late.len());
        }
        for waiting in late {
            drop(waiting.reply.send(Err(BatchError::DeadlineExceeded)));
        }
        step
    }

    fn observe<T>(&self, taken: &[Taken<T>]) {
        if let Some(observer) = &self.observer {
            let now = now();
            let waits: Vec<_> = taken.iter().map(|t| now.saturating_duration_since(t.arrived)).collect();
            observer.batch(self.model, &waits);
        }
    }
}

/// The task's share. Dropped with the task, however and whenever that ends: refuses further items and answers those
/// that wait, by dropping where their outputs would go.
pub(super) struct Closing<I, O>(pub(super) Arc<Shared<I, O>>);

impl<I, O> Drop for Closing<I, O> {
    fn drop(&mut self) {
        let left = {
            let mut state = self.0.state.lock();
            state.open = false;
            std::mem::take(&mut state.queue)
        };
        drop(left);
    }
}
