//! The CPU pool: pixel work runs on blocking threads, as many at a time as there are cores for it, and never on the
//! threads that serve the queue.

use std::sync::Arc;

use domain::{ErrorCode, Problem};
use tokio::sync::Semaphore;

/// Bounded access to blocking threads; cheap to clone.
#[derive(Clone, Debug)]
pub struct CpuPool {
    permits: Arc<Semaphore>,
    size: usize,
}

impl CpuPool {
    /// At most `threads` pieces of work at a time (at least one).
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let size = threads.max(1);
        Self { permits: Arc::new(Semaphore::new(size)), size }
    }

    /// Pieces of work at a time.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Runs `work` on a blocking thread.
    ///
    /// # Errors
    /// `internal` when it panicked or the runtime is shutting down; the panic itself goes no further.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let task = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller that goes away does not free the core it still uses.
            let _permit = permit;
            work()
        });
        task.await.map_err(|_| Problem::new(ErrorCode::Internal, "image processing failed unexpectedly"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_its_place() {
        let pool = CpuPool::new(1);
        let failed = pool.run(|| -> u32 { panic!("on purpose") }).await;
        assert_eq!(failed.map_err(|p| p.code), Err(ErrorCode::Internal));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}
