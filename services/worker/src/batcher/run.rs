//! One batch from the runner to its callers. A batch that fails is tried again in halves, so that only the item that
//! cannot be run fails; a panic counts as a failure.

use std::{ops::Range, panic::AssertUnwindSafe, sync::Arc};

use domain::{ErrorCode, Problem};
use futures::FutureExt;

use super::{BatchError, Observer, Reply, Waiting};

/// Items of a batch and where their outputs go.
pub(super) struct Batch<I, O> {
    /// `None` once an item has gone to a run of its own, which is its last.
    items: Vec<Option<I>>,
    replies: Vec<Option<Reply<O>>>,
}

impl<I: Clone, O> Batch<I, O> {
    pub(super) fn new(waiting: impl Iterator<Item = Waiting<I, O>>) -> Self {
        let (items, replies) = waiting.map(|w| (Some(w.item), Some(w.reply))).unzip();
        Self { items, replies }
    }

    /// Answers every caller.
    pub(super) async fn run<R, F>(mut self, runner: &R, model: &'static str, observer: Option<Arc<dyn Observer>>)
    where
        R: Fn(Vec<I>) -> F,
        F: Future<Output = Result<Vec<O>, Problem>>,
    {
        let whole = 0..self.items.len();
        let mut todo = vec![whole];
        while let Some(range) = todo.pop() {
            if self.nobody_waits(&range) {
                continue;
            }
            match attempt(runner, self.inputs(&range)).await {
                Ok(outputs) => outputs.into_iter().zip(range).for_each(|(output, i)| self.answer(i, Ok(output))),
                Err(problem) if range.len() > 1 && concerns_input(&problem) => {
                    if let Some(observer) = &observer {
                        observer.bisected(model, range.len());
                    }
                    let (first, second) = halves(range);
                    todo.extend([second, first]);
                }
                Err(problem) => range.for_each(|i| self.answer(i, Err(BatchError::Failed(problem.clone())))),
            }
        }
    }

    /// Items of a run. One that runs alone is not tried again, so it is handed over itself: a large input then needs no
    /// copy.
    fn inputs(&mut self, range: &Range<usize>) -> Vec<I> {
        let alone = range.len() == 1;
        let items = self.items[range.clone()].iter_mut();
        items.filter_map(|item| if alone { item.take() } else { item.clone() }).collect()
    }

    /// Whether all callers have gone: their items need not run again.
    fn nobody_waits(&self, range: &Range<usize>) -> bool {
        self.replies[range.clone()].iter().flatten().all(Reply::is_closed)
    }

    fn answer(&mut self, i: usize, outcome: Result<O, BatchError>) {
        if let Some(reply) = self.replies[i].take() {
            // A caller that has gone meanwhile misses nothing.
            drop(reply.send(outcome));
        }
    }
}

/// One run; a panic and a wrong number of outputs are problems like any other.
async fn attempt<I, O, R, F>(runner: &R, items: Vec<I>) -> Result<Vec<O>, Problem>
where
    R: Fn(Vec<I>) -> F,
    F: Future<Output = Result<Vec<O>, Problem>>,
{
    let n = items.len();
    let run = AssertUnwindSafe(async { runner(items).await }).catch_unwind();
    let outcome = run.await.unwrap_or_else(|_| Err(Problem::new(ErrorCode::Internal, "the model run panicked")));
    match outcome {
        Ok(outputs) if outputs.len() != n => {
            let detail = format!("the model run gave {} outputs for {n} items", outputs.len());
            Err(Problem::new(ErrorCode::Internal, detail))
        }
        other => other,
    }
}

/// Whether fewer items might fare better. Otherwise the engine is at fault, and halves would fail the same way.
fn concerns_input(problem: &Problem) -> bool {
    matches!(problem.code, ErrorCode::InferenceFailed | ErrorCode::Internal)
}

/// Two parts, the first a power of two, so that the parts of a warmed size are warmed sizes.
fn halves(range: Range<usize>) -> (Range<usize>, Range<usize>) {
    let middle = range.start + range.len().next_power_of_two() / 2;
    (range.start..middle, middle..range.end)
}
