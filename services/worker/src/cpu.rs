//! The CPU pool: pixels and models are worked on by threads of their own, as many as there are cores for it, and never
//! on the threads that serve the queue. A thread that is done takes the next piece itself: were it left to the async
//! runtime to wake another thread, a core would stand still for as long as that takes, several times a picture.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use domain::{ErrorCode, Problem};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

type Piece = Box<dyn FnOnce() + Send>;

/// Threads that compute; cheap to clone. They end with the last clone, once what waits is done.
#[derive(Clone, Debug)]
pub struct CpuPool {
    handle: Arc<Handle>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Work on pictures that are begun: it goes first, so that few are in memory and the first come are done first.
    begun: VecDeque<Piece>,
    fresh: VecDeque<Piece>,
    closed: bool,
}

impl CpuPool {
    /// So many threads (at least one).
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        let size = threads.max(1);
        let shared = Arc::new(Shared::default());
        // Made first, so that it closes what has begun if a later thread is not to be had.
        let handle = Arc::new(Handle { shared: Arc::clone(&shared), size });
        for number in 0..size {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("compute-{number}")).spawn(move || shared.work())?;
        }
        Ok(Self { handle })
    }

    /// Threads.
    #[must_use]
    pub fn size(&self) -> usize {
        self.handle.size
    }

    /// Has a thread do the first work on something. What nobody waits for any more when its turn comes is not done.
    ///
    /// # Errors
    /// `internal` when it panicked; the panic itself goes no further.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        self.answer(work, |state, piece| state.fresh.push_back(piece)).await
    }

    /// The same for further work on something, ahead of what is not yet begun.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn go_on<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        self.answer(work, |state, piece| state.begun.push_back(piece)).await
    }

    async fn answer<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        enter: impl FnOnce(&mut State, Piece),
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        let piece = move || {
            if !reply.is_closed() {
                // A caller that went away while it was computed misses nothing.
                drop(reply.send(work()));
            }
        };
        enter(&mut self.handle.shared.state.lock(), Box::new(piece));
        self.handle.shared.changed.notify_one();
        // Without a reply the work panicked, and its sender went with it.
        answer.await.map_err(|_| Problem::new(ErrorCode::Internal, "image processing failed unexpectedly"))
    }
}

impl Shared {
    /// The life of a thread.
    fn work(&self) {
        while let Some(piece) = self.next() {
            // One picture's panic is that picture's problem.
            drop(catch_unwind(AssertUnwindSafe(piece)));
        }
    }

    fn next(&self) -> Option<Piece> {
        let mut state = self.state.lock();
        loop {
            let piece = state.begun.pop_front().or_else(|| state.fresh.pop_front());
            if piece.is_some() || state.closed {
                return piece;
            }
            self.changed.wait(&mut state);
        }
    }
}

/// What the clones of a pool share; the last one ends the threads.
struct Handle {
    shared: Arc<Shared>,
    size: usize,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} threads", self.size)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_its_thread_goes_on() {
        let pool = CpuPool::new(1).unwrap();
        let failed = pool.run(|| -> u32 { panic!("on purpose") }).await;
        assert_eq!(failed.map_err(|p| p.code), Err(ErrorCode::Internal));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn what_is_begun_goes_first_and_what_nobody_waits_for_is_left_out() {
        let pool = CpuPool::new(1).unwrap();
        let (done, order) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        let busy = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(move || gate.recv()).await }
        });
        let enter = |name: &'static str, begun: bool| {
            let (pool, done) = (pool.clone(), done.clone());
            tokio::spawn(async move {
                let note = move || done.send(name);
                if begun { pool.go_on(note).await } else { pool.run(note).await }
            })
        };
        let fresh = enter("fresh", false);
        let gone = enter("gone", false);
        tokio::task::yield_now().await;
        let begun = enter("begun", true);
        tokio::task::yield_now().await;
        gone.abort();
        tokio::task::yield_now().await;
        open.send(()).unwrap();
        for task in [fresh, begun] {
            task.await.unwrap().unwrap().unwrap();
        }
        busy.await.unwrap().unwrap().unwrap();
        drop((done, pool));
        assert_eq!(order.iter().collect::<Vec<_>>(), ["begun", "fresh"]);
    }
}
