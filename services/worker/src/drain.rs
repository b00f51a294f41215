//! Drain: what happens between being told to stop and stopping. The consumers have ceased to read; jobs begun are
//! finished, replied to and acknowledged, within the grace period. What is not done by then goes back to its lane.

use std::{future::Future, time::Duration};

use queue::Consumer;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longest time to take a name off its lane; what was given up is on its way back meanwhile.
const LEAVE: Duration = Duration::from_secs(2);

/// The jobs under way.
#[derive(Clone, Default)]
pub struct Running {
    jobs: TaskTracker,
    give_up: CancellationToken,
}

impl Running {
    /// Sees to a job in a task of its own. When it is given up, what it holds is dropped, which puts the job back.
    pub fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let give_up = self.give_up.clone();
        self.jobs.spawn(async move {
            give_up.run_until_cancelled(job).await;
        })
    }

    /// Waits for the running jobs, at most `grace`, then gives up the others. Gives the number of those: they are back
    /// on their lanes, for other workers to take at once.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.jobs.close();
        if tokio::time::timeout(grace, self.jobs.wait()).await.is_ok() {
            return 0;
        }
        let left = self.jobs.len();
        tracing::warn!(left, "the grace period ended before all jobs were done; the others are given back");
        self.give_up.cancel();
        self.jobs.wait().await;
        left
    }
}

/// Takes the consumers' names off their lanes. One that still holds jobs stays until others have taken those over.
pub async fn leave(consumers: Vec<Consumer>) {
    for consumer in consumers {
        let name = consumer.name().to_owned();
        match tokio::time::timeout(LEAVE, consumer.leave()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => tracing::info!(consumer = name, "left with jobs in hand; others take them over"),
            Ok(Err(error)) => tracing::debug!(consumer = name, %error, "the name stays on the lane for now"),
            Err(_) => tracing::debug!(consumer = name, "the name stays on the lane for now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_running_jobs_but_not_for_ever_and_lets_go_of_the_others() {
        let running = Running::default();
        running.spawn(tokio::time::sleep(Duration::from_secs(5)));
        assert_eq!(running.drain(Duration::from_secs(6)).await, 0);
        let running = Running::default();
        let held = Arc::new(());
        let mine = Arc::clone(&held);
        running.spawn(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(mine);
        });
        assert_eq!(running.drain(Duration::from_secs(6)).await, 1);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
