//! One OS thread owns each engine and takes whole batches over a channel of capacity 1: while one batch runs, one more
//! may wait, and a third waits for room on the caller's side. Callers: the worker's batchers; tools through
//! [`SessionHandle::run_blocking`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use crate::{Engine, InferenceError, Outputs, Provider, Signature, Tensor, block_on::block_on, buckets_up_to};

/// Sends batches to the thread of one engine. Cheap to clone; the thread ends when the last handle is gone.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    jobs: mpsc::Sender<Job>,
    about: Arc<About>,
}

#[derive(Debug)]
struct Job {
    batch: Tensor,
    reply: oneshot::Sender<Result<Outputs, InferenceError>>,
}

#[derive(Debug)]
struct About {
    name: String,
    signature: Signature,
    max_batch: usize,
    provider: Provider,
    runs: AtomicU64,
    items: AtomicU64,
    busy_nanos: AtomicU64,
}

/// What a session has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// Successful runs, warm-up included.
    pub runs: u64,
    /// Items in them.
    pub items: u64,
    /// Time in the engine.
    pub busy: Duration,
}

impl SessionHandle {
    /// Moves `engine` to a thread of its own, named after the model.
    ///
    /// # Errors
    /// [`InferenceError::SessionEnded`] if the system gives no thread.
    pub fn spawn(name: &str, engine: impl Engine + 'static) -> Result<Self, InferenceError> {
        // Capacity 1: the queue proper is the batcher's, which can still drop what is past its deadline.
        let (jobs, inbox) = mpsc::channel(1);
        let about = Arc::new(About {
            name: name.to_owned(),
            signature: engine.signature().clone(),
            max_batch: engine.max_batch(),
            provider: engine.provider(),
            runs: AtomicU64::new(0),
            items: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
        });
        let counters = Arc::clone(&about);
        thread::Builder::new()
            .name(format!("session-{name}"))
            .spawn(move || serve(engine, inbox, &counters))
            .map_err(|_| InferenceError::SessionEnded(name.to_owned()))?;
        Ok(Self { jobs, about })
    }

    /// Runs a batch. Dropping the future before the batch's turn cancels it.
    ///
    /// # Errors
    /// Those of [`Engine::run`], and [`InferenceError::SessionEnded`] if the thread is gone; it never hangs on that.
    pub async fn run(&self, batch: Tensor) -> Result<Outputs, InferenceError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { batch, reply }).await.map_err(|_| self.ended())?;
        answer.await.map_err(|_| self.ended())?
    }

    /// [`Self::run`] for a thread that may block.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_blocking(&self, batch: Tensor) -> Result<Outputs, InferenceError> {
        block_on(self.run(batch))
    }

    /// Runs every bucket once on zeros of this item shape (such as [3, 112, 112]), so that no request pays for the
    /// first run of a shape. Blocks.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn warm_up(&self, item_shape: &[usize]) -> Result<(), InferenceError> {
        for n in buckets_up_to(self.max_batch()) {
            let shape = [&[n], item_shape].concat();
            let len = shape.iter().product();
            self.run_blocking(Tensor::new(shape, vec![0.0; len])?)?;
        }
        Ok(())
    }

    /// Whether the thread still takes batches.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.jobs.is_closed()
    }

    /// Name of the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// What goes in and what comes out.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.about.signature
    }

    /// The largest batch.
    #[must_use]
    pub fn max_batch(&self) -> usize {
        self.about.max_batch
    }

    /// What computes.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.about.provider
    }

    /// Counts so far.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        let read = |n: &AtomicU64| n.load(Relaxed);
        let busy = Duration::from_nanos(read(&self.about.busy_nanos));
        SessionStats { runs: read(&self.about.runs), items: read(&self.about.items), busy }
    }

    fn ended(&self) -> InferenceError {
        InferenceError::SessionEnded(self.about.name.clone())
    }
}

/// The thread's life. A panic in the engine ends it: the replies it owes are dropped, which every caller notices.
fn serve(mut engine: impl Engine, mut inbox: mpsc::Receiver<Job>, about: &About) {
    while let Some(Job { batch, reply }) = block_on(inbox.recv()) {
        if reply.is_closed() {
            continue;
        }
        let items = batch.batch() as u64;
        let outcome = engine.run(&batch);
        if let Ok(outputs) = &outcome {
            about.runs.fetch_add(1, Relaxed);
            about.items.fetch_add(items, Relaxed);
            let nanos = u64::try_from(outputs.elapsed.as_nanos()).unwrap_or(u64::MAX);
            about.busy_nanos.fetch_add(nanos, Relaxed);
        }
        // The caller may have gone meanwhile; nobody misses the answer then.
        drop(reply.send(outcome));
    }
}
