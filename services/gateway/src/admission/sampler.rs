//! Looks at the lanes again and again, so that no request has to: for admission the interactive one, for the metrics
//! all. A task of the server.

use std::time::Duration;

use domain::Lane;
use queue::{Depth, QueueError};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{metrics::Metrics, state::App};

/// How often the interactive lane is looked at.
const EVERY: Duration = Duration::from_millis(150);
/// The other lanes are looked at once in so many times.
const OTHERS: u32 = 10;
/// A queue that takes longer counts as away.
const PATIENCE: Duration = Duration::from_secs(1);

/// Samples until it is dropped.
pub(crate) async fn sample(app: App) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in (0..OTHERS).cycle() {
        ticks.tick().await;
        interactive(&app).await;
        if n == 0 {
            for lane in [Lane::Bulk, Lane::Train] {
                if let Ok(depth) = look(&app, lane).await {
                    show(&app.metrics, lane, depth);
                }
            }
        }
    }
}

async fn interactive(app: &App) {
    let admission = &app.admission;
    let put = admission.lane.lock().estimate.put();
    let looked = look(app, Lane::Interactive).await;
    let mut lane = admission.lane.lock();
    let was_away = std::mem::replace(&mut lane.away, looked.is_err());
    match looked {
        Ok(depth) => {
            lane.estimate.look(admission.began.elapsed(), depth, put);
            drop(lane);
            show(&app.metrics, Lane::Interactive, depth);
            if was_away {
                tracing::info!("the queue can be used again");
            }
        }
        Err(e) if !was_away => {
            drop(lane);
            tracing::error!(error = %e, "the queue cannot be used");
        }
        Err(_) => {}
    }
}

async fn look(app: &App, lane: Lane) -> Result<Depth, QueueError> {
    let late = || QueueError::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()));
    timeout(PATIENCE, app.queue.depth(lane)).await.unwrap_or_else(|_| Err(late()))
}

fn show(metrics: &Metrics, lane: Lane, depth: Depth) {
    let labels = &[lane.as_str()];
    let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.queue_depth.with_label_values(labels).set(gauge(depth.waiting));
    metrics.queue_in_flight.with_label_values(labels).set(gauge(depth.in_flight));
    metrics.queue_dead.with_label_values(labels).set(gauge(depth.dead));
    metrics.queue_oldest.with_label_values(labels).set(depth.oldest_age.as_secs_f64());
}
