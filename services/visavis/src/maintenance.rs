//! What has to be done now and then: galleries nobody searches catch up with erasures, expired records go.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use gallery::Galleries;
use store::Store;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Time between two rounds.
const EVERY: Duration = Duration::from_secs(30);

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
