//! Takes runs off the lane, one at a time, and sees each through. A run lasts for hours: the lane is told that its trainer
//! lives, and hands it to another when that falls silent. How often a run may be taken up without getting any further is
//! counted in its record, not by the lane.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{JobId, RunFailure, RunFailureCode, RunId, RunState, TenantId};
use futures::FutureExt;
use queue::{Consumer, Delivery, OnRejected, QueueError, Rejection};
use store::{Claim, RunRecord};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use wire::v1::Envelope;

use crate::{Halt, carrier::Carrier, desk::Desk, report, run, stop::Stop};

/// Pause after the queue or the store failed.
const BACKOFF: Duration = Duration::from_secs(1);

/// Longest time between two words to the lane, and two looks whether the run was cancelled.
const BEAT: Duration = Duration::from_secs(2);

/// How often a run is taken up without getting any further before it is given up.
const MOST_FRUITLESS: u32 = 3;

/// Takes runs until `shutdown`.
pub async fn consume(desk: &Arc<Desk>, consumer: &Consumer, shutdown: &CancellationToken) {
    loop {
        let taken = tokio::select! {
            // First: what was just given back is not to be taken again.
            biased;
            () = shutdown.cancelled() => return,
            taken = consumer.next(1) => taken,
        };
        match taken {
            Ok(deliveries) => {
                for delivery in deliveries {
                    see_through(desk, delivery, shutdown).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the train lane cannot be read; trying again");
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(BACKOFF) => {}
                }
            }
        }
    }
}

/// Whose run an envelope is about.
fn about(envelope: &Envelope) -> Option<(TenantId, RunId)> {
    Some((TenantId::new(&envelope.tenant).ok()?, RunId::new(&envelope.job_id).ok()?))
}

/// One run from its delivery to its end, or to where another trainer goes on.
async fn see_through(desk: &Arc<Desk>, delivery: Delivery, shutdown: &CancellationToken) {
    let Some((tenant, id)) = about(&delivery.envelope) else {
        log(delivery.bury("names no run").await);
        return;
    };
    let carrier = desk.carrier(&tenant, &id, JobId::generate().to_string());
    let run = match carrier.runs.claim(&id, &carrier.name).await {
        Ok(Claim::Claimed(run)) => run,
        Ok(Claim::Ended | Claim::Missing) => {
            log_halt(&id, carrier.sweep().await);
            log(delivery.acknowledge().await);
            return;
        }
        Err(error) => return put_off(&carrier, delivery, &error.to_string()).await,
    };
    if run.fruitless > MOST_FRUITLESS {
        let detail = format!("{MOST_FRUITLESS} trainers in a row ended without getting it any further");
        let failure = RunFailure::new(RunFailureCode::GaveUp, detail);
        if ended(desk, &carrier, &run, Err(failure)).await {
            log(delivery.bury("no trainer got any further with it").await);
        }
        return;
    }
    if run.resumes > 0 {
        desk.metrics.resumed.inc();
        tracing::info!(run = %id, resumes = run.resumes, "going on with a training run");
    }
    desk.metrics.active.set(1);
    let outcome = watched(desk, &carrier, &delivery, shutdown).await;
    desk.metrics.active.set(0);
    match outcome {
        Ok(run) => {
            finished(desk, &carrier, &run, "done").await;
            log(delivery.acknowledge().await);
        }
        Err(Halt::Failed(failure)) => {
            if ended(desk, &carrier, &run, Err(failure)).await {
                log(delivery.acknowledge().await);
            } else {
                put_off(&carrier, delivery, "its failure cannot be written down").await;
            }
        }
        Err(Halt::NotOurs) => not_ours(desk, &carrier, delivery).await,
        Err(Halt::Draining) => {
            tracing::info!(run = %id, "left to another trainer");
            give_back(&carrier, delivery).await;
        }
        Err(halt @ (Halt::Later(_) | Halt::Changed)) => put_off(&carrier, delivery, &halt.to_string()).await,
    }
}

/// Carries it out, telling the lane all the while that this trainer lives.
async fn watched(
    desk: &Arc<Desk>,
    carrier: &Carrier,
    delivery: &Delivery,
    shutdown: &CancellationToken,
) -> Result<RunRecord, Halt> {
    let stop = Arc::new(Stop::default());
    let work = AssertUnwindSafe(run::carry_out(desk, carrier, &stop)).catch_unwind();
    let mut work = std::pin::pin!(work);
    let mut beat = interval(BEAT.min(desk.config.min_idle / 6));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut draining = false;
    loop {
        tokio::select! {
            outcome = &mut work => {
                return outcome.unwrap_or_else(|_| Err(Halt::internal("the work on the run failed unexpectedly")));
            }
            () = shutdown.cancelled(), if !draining => {
                draining = true;
                stop.draining();
            }
            _ = beat.tick() => match delivery.touch().await {
                Err(QueueError::Lost) => stop.not_ours(),
                Err(error) => tracing::debug!(run = %carrier.id, %error, "the lane cannot be told that this trainer lives"),
                Ok(()) if delivery.cancelled().await => stop.not_ours(),
                Ok(()) => {}
            },
        }
    }
}

/// Writes a failure down; whether the run has ended, by this or otherwise.
async fn ended(desk: &Desk, carrier: &Carrier, run: &RunRecord, outcome: Result<(), RunFailure>) -> bool {
    let Err(failure) = outcome else { return true };
    let code = failure.code.as_str();
    tracing::warn!(run = %carrier.id, code, detail = failure.detail, "a training run has failed");
    let page = report::of_failure(run, &failure);
    match carrier.fail(&failure, &[(report::DOCUMENT, page)]).await {
        Ok(()) => {
            finished(desk, carrier, run, code).await;
            true
        }
        Err(Halt::NotOurs) => true,
        Err(error) => {
            tracing::warn!(run = %carrier.id, %error, "the failure of a run cannot be written down yet");
            false
        }
    }
}

/// What follows the end of a run. Whatever of it fails now: the record says how it ended.
async fn finished(desk: &Desk, carrier: &Carrier, run: &RunRecord, outcome: &str) {
    desk.metrics.runs.with_label_values(&[outcome]).inc();
    desk.audit(&carrier.tenant, run, if outcome == "done" { "ok" } else { outcome }).await;
    log_halt(&carrier.id, carrier.sweep().await);
}

/// Cancelled, or in the hands of another trainer, which has an envelope of its own.
async fn not_ours(desk: &Desk, carrier: &Carrier, delivery: Delivery) {
    match carrier.runs.get(&carrier.id).await {
        Ok(found) if found.as_ref().is_none_or(|f| f.value.state.is_final()) => {
            tracing::info!(run = %carrier.id, "a training run was cancelled");
            if found.is_some_and(|f| f.value.state == RunState::Cancelled) {
                desk.metrics.runs.with_label_values(&["cancelled"]).inc();
            }
            log_halt(&carrier.id, carrier.sweep().await);
            log(delivery.acknowledge().await);
        }
        Ok(_) => log(delivery.acknowledge().await),
        Err(error) => put_off(carrier, delivery, &error.to_string()).await,
    }
}

/// Gives a run back that could not be gone on with for want of something else; it did not fail by that.
async fn put_off(carrier: &Carrier, delivery: Delivery, why: &str) {
    tracing::warn!(run = %carrier.id, why, "a training run is put off");
    tokio::time::sleep(BACKOFF).await;
    give_back(carrier, delivery).await;
}

async fn give_back(carrier: &Carrier, delivery: Delivery) {
    let uncounted = carrier.write(&[], |run| run.fruitless = run.fruitless.saturating_sub(1)).await;
    log_halt(&carrier.id, uncounted.map(drop));
    delivery.release().await;
}

fn log(done: Result<(), QueueError>) {
    if let Err(error) = done {
        tracing::debug!(%error, "an envelope of a run stays on its lane; its next reader finds the run's record");
    }
}

fn log_halt(run: &RunId, done: Result<(), Halt>) {
    if let Err(error) = done {
        tracing::debug!(%run, %error, "something of a run is left to be cleaned up");
    }
}

/// Runs that the lane does not deliver: cancelled before they were begun, or nobody's for a month.
pub struct Rejected(pub Arc<Desk>);

#[async_trait]
impl OnRejected for Rejected {
    async fn rejected(&self, envelope: &Envelope, rejection: Rejection) {
        let Some((tenant, id)) = about(envelope) else { return };
        let desk = &self.0;
        let carrier = desk.carrier(&tenant, &id, JobId::generate().to_string());
        if rejection == Rejection::PastDeadline {
            match carrier.runs.claim(&id, &carrier.name).await {
                Ok(Claim::Claimed(run)) => {
                    let failure = RunFailure::new(RunFailureCode::DeadlineExceeded, "no trainer finished it in time");
                    ended(desk, &carrier, &run, Err(failure)).await;
                }
                Ok(Claim::Ended | Claim::Missing) => {}
                Err(error) => tracing::warn!(run = %id, %error, "a run past its deadline stays open"),
            }
        }
        log_halt(&id, carrier.sweep().await);
    }
}
