//! The envelope that sends a trainer to a training run. Made by gateways for callers and by workers for policies.

use std::time::Duration;

use domain::{KeyId, RecipeName, RunId, TenantId, Timestamp};

use crate::v1::{Envelope, TrainRequest, envelope::Request};

/// How long a run may take, waiting included: nobody waits for it, and a cluster may have no trainer for a while.
pub const RUN_DEADLINE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The envelope of a run; its id is the run's.
#[must_use]
pub fn train_envelope(tenant: &TenantId, run: &RunId, recipe: RecipeName, key: Option<&KeyId>) -> Envelope {
    let now = Timestamp::now();
    Envelope {
        job_id: run.to_string(),
        tenant: tenant.to_string(),
        key_id: key.map(ToString::to_string).unwrap_or_default(),
        created_ms: now.as_millis(),
        deadline_ms: now.plus(RUN_DEADLINE).as_millis(),
        request: Some(Request::Train(TrainRequest { recipe: recipe.to_string() })),
        ..Envelope::default()
    }
}
