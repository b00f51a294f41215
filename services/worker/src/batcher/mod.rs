//! Batching: single items of different requests to batches for a session, and the answers back. [`Policy`] decides,
//! [`BatchQueue`] keeps the order, [`dispatch`] drives both, [`run`] isolates an item that fails its batch. Used by
//! the detect and embed stages.

mod dispatch;
mod policy;
mod queue;
mod run;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{ErrorCode, Problem};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::timeout_at,
};

use dispatch::Closing;
pub use policy::Policy;
use queue::{BatchQueue, Ticket};

/// Why an item has no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// As many items wait as may.
    #[error("the model's queue is full")]
    Overloaded,
    /// Not run, or not done, by the item's deadline.
    #[error("the deadline passed before the model was done")]
    DeadlineExceeded,
    /// The run failed, and this item is to blame or cannot be told from the one that is.
    #[error(transparent)]
    Failed(Problem),
    /// Nothing runs batches any more.
    #[error("the model's batches are no longer run")]
    Ended,
}

impl BatchError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Overloaded => ErrorCode::Overloaded,
            Self::DeadlineExceeded => ErrorCode::DeadlineExceeded,
            Self::Failed(problem) => problem.code,
            Self::Ended => ErrorCode::InferenceFailed,
        }
    }
}

impl From<BatchError> for Problem {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Failed(problem) => problem,
            other => Self::new(other.code(), other.to_string()),
        }
    }
}

/// Told what a batcher does, for metrics.
pub trait Observer: Send + Sync + 'static {
    /// A batch goes to the session; how long each of its items waited.
    fn batch(&self, model: &'static str, waits: &[Duration]);

    /// A batch was in the engine for so long, waiting not counted.
    fn ran(&self, model: &'static str, elapsed: Duration) {
        let _ = (model, elapsed);
    }

    /// A batch of this size failed and is tried again in halves.
    fn bisected(&self, model: &'static str, size: usize) {
        let _ = (model, size);
    }

    /// So many items were past their deadline and did not run.
    fn expired(&self, model: &'static str, items: usize) {
        let _ = (model, items);
    }
}

/// An item that waits, and where its output goes.
struct Waiting<I, O> {
    item: I,
    reply: Reply<O>,
    /// What it is for.
    asked_by: trace::Handle,
}

type Reply<O> = oneshot::Sender<Result<O, BatchError>>;

struct State<I, O> {
    queue: BatchQueue<Waiting<I, O>>,
    /// False once nothing takes from the queue any more, or nobody can put into it.
    open: bool,
}

struct Shared<I, O> {
    model: &'static str,
    policy: Policy,
    observer: Option<Arc<dyn Observer>>,
    state: Mutex<State<I, O>>,
    changed: Notify,
}

impl<I, O> Shared<I, O> {
    fn close(&self) {
        self.state.lock().open = false;
        self.changed.notify_one();
    }
}

/// Takes single items; a task behind it runs them in batches. Cheap to clone; the task ends with the last clone.
/// `I` is cloned for each run, so wrap what is large in an `Arc`.
pub struct Batcher<I, O> {
    handle: Arc<Handle<I, O>>,
}

impl<I, O> Clone for Batcher<I, O> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<I, O> Batcher<I, O>
where
    I: Clone + Send + Sync + 'static,
    O: Send + 'static,
{
    /// Starts the task on the current tokio runtime; `observer` is told of each batch. `runner` gives one output per
    /// item, in order.
    pub fn spawn_observed<R, F>(
        model: &'static str,
        policy: Policy,
        observer: Option<Arc<dyn Observer>>,
        runner: R,
    ) -> Self
    where
        R: Fn(Vec<I>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<O>, Problem>> + Send + 'static,
    {
        let state = Mutex::new(State { queue: BatchQueue::default(), open: true });
        let shared = Arc::new(Shared { model, policy, observer, state, changed: Notify::new() });
        tokio::spawn(dispatch::dispatch(Closing(Arc::clone(&shared)), Arc::new(runner)));
        Self { handle: Arc::new(Handle { shared }) }
    }

    /// The item's output. Dropping the future takes the item back where it has not gone to the session yet.
    ///
    /// # Errors
    /// [`BatchError`]; never later than `deadline`.
    pub async fn submit(&self, item: I, deadline: Instant) -> Result<O, BatchError> {
        let (reply, answer) = oneshot::channel();
        let _place = self.handle.shared.enter(Waiting { item, reply, asked_by: trace::current() }, deadline)?;
        match timeout_at(deadline.into(), answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(BatchError::Ended),
            Err(_) => Err(BatchError::DeadlineExceeded),
        }
    }
}

impl<I, O> Shared<I, O> {
    fn enter(&self, waiting: Waiting<I, O>, deadline: Instant) -> Result<Place<'_, I, O>, BatchError> {
        let now = now();
        if deadline <= now {
            return Err(BatchError::DeadlineExceeded);
        }
        let ticket = {
            let mut state = self.state.lock();
            if !state.open {
                return Err(BatchError::Ended);
            }
            if state.queue.len() >= self.policy.capacity() {
                return Err(BatchError::Overloaded);
            }
            state.queue.push(now, deadline, waiting)
        };
        self.changed.notify_one();
        Ok(Place { shared: self, ticket })
    }
}

/// A caller's place in the queue; given up when the caller goes.
struct Place<'a, I, O> {
    shared: &'a Shared<I, O>,
    ticket: Ticket,
}

impl<I, O> Drop for Place<'_, I, O> {
    fn drop(&mut self) {
        // Dropped outside the lock: it may be megabytes.
        let left = self.shared.state.lock().queue.remove(&self.ticket);
        drop(left);
    }
}

/// What the clones of a batcher share; the last one ends the task.
struct Handle<I, O> {
    shared: Arc<Shared<I, O>>,
}

impl<I, O> Drop for Handle<I, O> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// The runtime's clock, which tests may pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
