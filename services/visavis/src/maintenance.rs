//! What has to be done now and then: galleries nobody searches catch up with erasures, expired records go, and the
//! probes learn whether queue and store are in reach.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crops::Crops;
use domain::Timestamp;
use gallery::Galleries;
use queue::Queue;
use registry::Registry;
use runtime::Condition;
use store::Store;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// Time between two rounds.
const EVERY: Duration = Duration::from_secs(30);

/// Time between two looks at queue and store, and how long a look may take.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// Runs a round every half minute until `stop`. A round that fails is logged; the next one tries again.
pub async fn run(store: Arc<dyn Store>, galleries: Arc<Galleries>, stop: CancellationToken) -> Result<(), Infallible> {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(_tick) = stop.run_until_cancelled(rounds.tick()).await {
        match store.sweep(Timestamp::now()).await {
            Ok(0) => {}
            Ok(swept) => tracing::debug!(swept, "expired records erased"),
            Err(error) => tracing::warn!(%error, "expired records could not be erased"),
        }
        if let Err(error) = galleries.maintain().await {
            tracing::warn!(%error, "the galleries could not be maintained");
        }
    }
    Ok(())
}

/// Deletes crops and files of models that nobody owns, `every` so often those older than `older`, until `stop`.
pub async fn sweep_objects(
    (crops, models): (Crops, Option<Registry>),
    (every, older): (Duration, Duration),
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(_tick) = stop.run_until_cancelled(rounds.tick()).await {
        // A sweep of many takes long, and may be broken off anywhere.
        match stop.run_until_cancelled(crops.sweep(older)).await {
            None => break,
            Some(Ok(swept)) if swept.deleted + swept.foreign == 0 => {}
            Some(Ok(swept)) => {
                tracing::info!(
                    looked_at = swept.looked_at,
                    deleted = swept.deleted,
                    foreign = swept.foreign,
                    "crops swept"
                );
            }
            Some(Err(error)) => tracing::warn!(%error, "crops that nobody owns could not be deleted"),
        }
        let Some(models) = &models else { continue };
        match stop.run_until_cancelled(models.sweep(older)).await {
            None => break,
            Some(Ok(0)) => {}
            Some(Ok(deleted)) => tracing::info!(deleted, "files of models that nobody owns deleted"),
            Some(Err(error)) => tracing::warn!(%error, "files of models that nobody owns could not be deleted"),
        }
    }
    Ok(())
}

/// What a look is told to.
pub struct Reach {
    /// Whether the queue answers.
    pub queue: Condition,
    /// Whether the store answers.
    pub store: Condition,
}

/// Looks at queue and store every second until `stop`.
pub async fn watch(
    queue: Queue,
    store: Arc<dyn Store>,
    reach: Reach,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(_tick) = stop.run_until_cancelled(looks.tick()).await {
        tell(&reach.queue, timeout(LOOK_LIMIT, queue.check()).await);
        tell(&reach.store, timeout(LOOK_LIMIT, store.check()).await);
    }
    Ok(())
}

fn tell<E: std::fmt::Display>(condition: &Condition, answer: Result<Result<(), E>, tokio::time::error::Elapsed>) {
    match answer {
        Ok(Ok(())) => condition.met(),
        Ok(Err(error)) => condition.unmet(error.to_string()),
        Err(_) => condition.unmet("no answer in time"),
    }
}
