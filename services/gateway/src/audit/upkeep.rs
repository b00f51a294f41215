//! What becomes of old events of audit trails: they are packed, many into one value, and removed when they are older than
//! the configuration keeps them. Every gateway does it; the store has one of them win.

use std::time::Duration;

use domain::{TenantId, Timestamp};
use evidence::SignedHead;
use store::{Audit, RepoError, SigningKeys, StoreError};
use tokio::{
    select,
    time::{Instant, interval},
};

use super::FullPages;
use crate::{clock::Clock, state::App};

/// Time between two looks at every trail. Whoever appends tells of the busy ones before.
const EVERY: Duration = Duration::from_secs(3600);

/// Packs and trims; runs until it is dropped. `pages` tells of tenants with enough events for another page.
pub(crate) async fn upkeep(app: App, mut pages: FullPages) {
    let mut rounds = interval(EVERY);
    let (mut clock, began) = (Clock::now(), Instant::now());
    loop {
        let told = select! {
            Some(tenant) = pages.recv() => Some(tenant),
            _ = rounds.tick() => None,
        };
        let due = began.elapsed() >= app.config.audit_packed_after;
        match told {
            Some(tenant) if due => pack(&app, &tenant).await,
            Some(_) => {}
            None => round(&app, &mut clock, due).await,
        }
    }
}

/// Every trail.
async fn round(app: &App, clock: &mut Clock, due: bool) {
    let leapt = clock.leapt();
    if leapt && app.config.audit_kept.is_some() {
        tracing::warn!("the clock leapt ahead: no audit trail is trimmed before another interval has passed");
    }
    let kept = app.config.audit_kept.filter(|_| !leapt);
    if kept.is_none() && !due {
        return;
    }
    let tenants = match Audit::tenants(&*app.store).await {
        Ok(tenants) => tenants,
        Err(error) => return tracing::warn!(%error, "audit trails could not be looked through"),
    };
    for tenant in tenants {
        if let Some(kept) = kept {
            match trim(app, &tenant, before(kept)).await {
                Ok(0) => {}
                Ok(trimmed) => tracing::info!(%tenant, trimmed, "events of the audit trail have reached their end"),
                Err(error) => tracing::warn!(%tenant, %error, "the audit trail could not be trimmed"),
            }
        }
        if due {
            pack(app, &tenant).await;
        }
    }
}

async fn pack(app: &App, tenant: &TenantId) {
    let (audit, until) = (Audit::new(app.store.clone(), tenant), before(app.config.audit_packed_after));
    let mut packed = 0;
    loop {
        match audit.pack(until).await {
            Ok(0) => break,
            Ok(events) => packed += events,
            Err(error) => return tracing::warn!(%tenant, %error, "events of the audit trail could not be packed"),
        }
    }
    if packed > 0 {
        tracing::debug!(%tenant, packed, "events of the audit trail were packed");
    }
}

async fn trim(app: &App, tenant: &TenantId, until: Timestamp) -> Result<usize, RepoError> {
    let key = SigningKeys::new(app.store.clone()).current().await?;
    let audit = Audit::new(app.store.clone(), tenant);
    let sign = |head: &evidence::ChainHead| {
        let (seq, hash, time) = (head.seq, head.hash.clone(), Timestamp::now());
        let anchor = SignedHead { tenant: tenant.clone(), seq, hash, time }.as_anchor(&key);
        anchor.map_err(|e| StoreError::Unavailable(e.to_string()))
    };
    let mut trimmed = 0;
    loop {
        match audit.trim(until, sign).await? {
            0 => return Ok(trimmed),
            events => trimmed += events,
        }
    }
}

/// The moment that lies `age` back.
fn before(age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(age))
}
