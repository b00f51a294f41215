//! Drain: what happens between being told to stop and stopping. The consumers have ceased to read; jobs begun are
//! finished, replied to and acknowledged, within the grace period.

use std::time::Duration;

use queue::Consumer;
use tokio_util::task::TaskTracker;

/// Longest time to take a name off its lane.
const LEAVE: Duration = Duration::from_secs(2);

/// Waits for the running jobs, at most `grace`. Gives the number of jobs left behind: they stay on the lane and are
/// delivered to another worker.
pub async fn drain(running: &TaskTracker, grace: Duration) -> usize {
    running.close();
    if tokio::time::timeout(grace, running.wait()).await.is_err() {
        tracing::warn!(left = running.len(), "the grace period ended before all jobs were done");
    }
    running.len()
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_running_jobs_but_not_for_ever() {
        let running = TaskTracker::new();
        running.spawn(tokio::time::sleep(Duration::from_secs(5)));
        assert_eq!(drain(&running, Duration::from_secs(6)).await, 0);
        let running = TaskTracker::new();
        running.spawn(tokio::time::sleep(Duration::from_secs(60)));
        assert_eq!(drain(&running, Duration::from_secs(6)).await, 1);
    }
}
