//! How a process is told to stop: the first SIGINT or SIGTERM cancels a token that the roles watch, a second one
//! ends the process at once. The binary makes one and drains the roles in order.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit status after a second signal (128 + SIGINT).
const EXIT_INTERRUPTED: i32 = 130;

/// The process's stop token and how long draining may take.
#[derive(Clone, Debug)]
pub struct Shutdown {
    token: CancellationToken,
    grace: Duration,
}

impl Shutdown {
    /// A shutdown that only [`Shutdown::begin`] starts.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { token: CancellationToken::new(), grace }
    }

    /// A shutdown started by SIGINT or SIGTERM. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals(grace: Duration) -> io::Result<Self> {
        let shutdown = Self::new(grace);
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let token = shutdown.token.clone();
        tokio::spawn(async move {
            for first in [true, false] {
                let name = tokio::select! { _ = interrupt.recv() => "SIGINT", _ = terminate.recv() => "SIGTERM" };
                if first {
                    tracing::info!(signal = name, "draining; a second signal ends at once");
                    token.cancel();
                }
            }
            tracing::warn!("second signal, ending at once");
            std::process::exit(EXIT_INTERRUPTED);
        });
        Ok(shutdown)
    }

    /// Starts the shutdown as a signal would.
    pub fn begin(&self) {
        self.token.cancel();
    }

    /// A token that is cancelled when the shutdown begins.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.child_token()
    }

    /// Waits for the shutdown to begin.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Grace period for all that drains.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        self.grace
    }

    /// Waits for one role to finish within the grace period; `None` when it did not.
    pub async fn drained<T>(&self, role: &str, finished: impl Future<Output = T>) -> Option<T> {
        let outcome = tokio::time::timeout(self.grace, finished).await.ok();
        if outcome.is_none() {
            tracing::warn!(role, grace_ms = self.grace.as_millis() as u64, "did not drain in time");
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beginning_cancels_tokens_given_out_before_and_after() {
        let shutdown = Shutdown::new(Duration::from_secs(5));
        let before = shutdown.token();
        assert!(!before.is_cancelled());
        shutdown.begin();
        before.cancelled().await;
        shutdown.token().cancelled().await;
        shutdown.begun().await;
    }

    #[tokio::test]
    async fn a_role_that_never_finishes_is_given_up_on() {
        let shutdown = Shutdown::new(Duration::from_millis(1));
        assert_eq!(shutdown.drained("quick", async { 7 }).await, Some(7));
        assert_eq!(shutdown.drained("stuck", std::future::pending::<()>()).await, None);
    }
}
