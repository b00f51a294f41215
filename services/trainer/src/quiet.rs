//! Work that takes a processor for long, on a thread of its own that lets everything else on the machine go first.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use tokio::sync::oneshot;

use crate::Halt;

/// Does `work` on such a thread.
///
/// # Errors
/// Those of `work`; a panic is a failure of the run.
pub async fn quietly<T: Send + 'static>(
    niceness: u8,
    work: impl FnOnce() -> Result<T, Halt> + Send + 'static,
) -> Result<T, Halt> {
    let (told, outcome) = oneshot::channel();
    let whole = move || {
        // Of this thread alone, and of those it starts.
        if let Err(error) = rustix::process::nice(i32::from(niceness)) {
            tracing::debug!(%error, "work on a training run is done at the usual priority");
        }
        let done = catch_unwind(AssertUnwindSafe(work));
        // Nobody listens where the process is about to end.
        drop(told.send(done.unwrap_or_else(|_| Err(Halt::internal("the work on the run failed unexpectedly")))));
    };
    thread::Builder::new().name("training".into()).spawn(whole).map_err(Halt::internal)?;
    outcome.await.map_err(Halt::internal)?
}
