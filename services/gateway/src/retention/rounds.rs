//! The rounds of the sweep: every collection of every tenant, by whichever gateway holds the lease. On the way the
//! subjects are counted, for the gauge and for the tenants' statistics. A task of the server.

use std::{sync::Arc, time::Duration};

use domain::{Collection, JobId, TenantId, Timestamp};
use store::{Enrolled, Lease};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Sweep, sweep};
use crate::{clock::Clock, context::Call, problem::Result, promotions, state::App};

/// How long the lease holds, and how often it is renewed or asked for.
const LEASE: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);

/// Longest time for one collection in one round.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Collections read at a time.
const PAGE: usize = 100;

/// Sweeps until it is dropped.
pub(crate) async fn keep(app: App) {
    let Some(every) = app.config.retention.sweep_every else { return };
    let lease = Lease::new(Arc::clone(&app.store), "retention", JobId::generate().as_str(), LEASE);
    let mut ticks = interval(RENEW.min(every));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = Instant::now();
    let mut clock = Clock::now();
    loop {
        ticks.tick().await;
        if clock.leapt() {
            // In which it may be set right.
            tracing::warn!("the clock leapt ahead: nothing is swept before a whole interval has passed");
            next = Instant::now() + every;
        }
        if !held(&lease).await {
            // Whoever holds it shows the numbers.
            app.metrics.enrolled.clear();
            next = next.max(Instant::now());
        } else if Instant::now() >= next {
            next = Instant::now() + every;
            tokio::select! {
                done = round(&app) => if let Err(e) = done {
                    tracing::warn!(code = %e.problem.code, detail = e.problem.detail, "the sweep of what is kept too long broke off");
                },
                () = lost(&lease) => tracing::warn!("the lease on the sweep was lost; another gateway goes on"),
            }
        }
    }
}

async fn held(lease: &Lease) -> bool {
    lease.take(Timestamp::now()).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the lease on the sweep cannot be asked for");
        false
    })
}

/// Renews the lease; returns when it is lost.
async fn lost(lease: &Lease) {
    let mut ticks = interval(RENEW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !held(lease).await {
            return;
        }
    }
}

/// Every collection once. One that fails does not keep the others from their turn.
async fn round(app: &App) -> Result<()> {
    let (mut failed, mut counted) = (None, Vec::new());
    for tenant in app.collections.tenants().await? {
        let (mut total, mut after) = (0, None::<String>);
        loop {
            let (collections, next) = app.collections.list(&tenant, after.as_deref(), PAGE).await?;
            for collection in collections {
                match one(app, &tenant, &collection.value).await {
                    Ok(left) => {
                        total += left;
                        counted.push((tenant.clone(), collection.value.id, left));
                    }
                    Err(e) => failed = Some(e),
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        tell(app, &tenant, total).await?;
    }
    app.metrics.enrolled.show(counted);
    failed.map_or(Ok(()), Err)
}

/// One collection: how many subjects are left.
async fn one(app: &App, tenant: &TenantId, collection: &Collection) -> Result<u64> {
    promotions::retire_due(app, tenant, collection).await?;
    let call = Call { deadline: Some(app.config.times.max_deadline), ..Call::of_service(tenant, None)? };
    let how = Sweep { dry_run: false, at: Timestamp::now(), until: Instant::now() + PATIENCE };
    let swept = sweep(app, &call, &collection.id, how).await?;
    if swept.erased > 0 {
        tracing::info!(%tenant, collection = %collection.id, erased = swept.erased, "kept too long, and erased");
    }
    Ok(swept.looked_at.saturating_sub(swept.erased) as u64)
}

/// Writes down how many subjects a tenant has, and warns where they are many.
async fn tell(app: &App, tenant: &TenantId, subjects: u64) -> Result<()> {
    Enrolled { subjects, counted_at: Timestamp::now() }.note(&*app.store, tenant).await?;
    let level = app.config.retention.enrolled_warning;
    if level > 0 && subjects >= level {
        tracing::warn!(%tenant, subjects, level, "so many persons are enrolled that authorities may have to be told");
    }
    Ok(())
}
