//! Which roles a process has, and a role that runs.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Which roles a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// All of them.
    Up,
    /// The HTTPS edge.
    Gateway,
    /// Inference.
    Worker,
    /// Training runs.
    Trainer,
}

impl Roles {
    /// Whether it serves HTTPS.
    pub const fn gateway(self) -> bool {
        matches!(self, Self::Up | Self::Gateway)
    }

    /// Whether it loads models.
    pub const fn worker(self) -> bool {
        matches!(self, Self::Up | Self::Worker)
    }

    /// Their names.
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Up => &["gateway", "worker"],
            Self::Gateway => &["gateway"],
            Self::Worker => &["worker"],
            Self::Trainer => &["trainer"],
        }
    }
}

/// A role that runs, and the token that stops it.
pub struct Role<E> {
    stop: CancellationToken,
    task: JoinHandle<Result<(), E>>,
}

impl<E: std::fmt::Display + Send + 'static> Role<E> {
    /// Starts it.
    pub fn spawn<F>(start: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(start(stop.clone())), stop }
    }

    /// Waits until it ends although nobody has stopped it; gives the reason.
    pub async fn ended_early(&mut self, role: &str) -> Failure {
        let ended = (&mut self.task).await;
        Failure::Other(match ended {
            Ok(Ok(())) => format!("the {role} stopped by itself"),
            Ok(Err(error)) => format!("the {role} stopped: {error}"),
            Err(error) => format!("the {role} ended abnormally: {error}"),
        })
    }

    /// Stops the role and waits for it. Each role bounds its own drain; a second signal ends the process.
    pub async fn finish(&mut self, name: &str) {
        self.stop.cancel();
        if self.task.is_finished() {
            return;
        }
        match (&mut self.task).await {
            Ok(Ok(())) => tracing::debug!(role = name, "drained"),
            Ok(Err(error)) => tracing::error!(role = name, %error, "ended with an error"),
            Err(error) => tracing::error!(role = name, %error, "ended abnormally"),
        }
    }
}

/// The same of a role that this process may not have: one that is not there never ends.
pub async fn ended_early<E: std::fmt::Display + Send + 'static>(role: &mut Option<Role<E>>, name: &str) -> Failure {
    match role {
        Some(role) => role.ended_early(name).await,
        None => std::future::pending().await,
    }
}
