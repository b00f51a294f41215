//! The end of an erasure: its event in the audit trail, then its receipt, signed.

use domain::{ErrorCode, Timestamp};
use evidence::{Extent, Place, RECEIPT, Receipt};
use store::{ErasureRecord, ErasureState, Models};

use super::steps::{Step, Work};
use crate::{
    audit::service,
    notes::Noted,
    problem::{ApiProblem, Result},
};

/// Handles listed in the event; the receipt has all of them.
const LISTED: usize = 32;

/// Puts the event down and keeps the receipt.
pub(super) async fn give(work: &Work<'_>) -> Result<()> {
    let Work { app, tenant, erasures, record, .. } = work;
    let internal = |what: String| ApiProblem::new(ErrorCode::Internal, what);
    let verification = record.verification.ok_or_else(|| internal("the erasure was not looked through".into()))?;
    let subjects = work.erased().await?;
    let noted = Noted {
        collection: Some(record.collection.clone()),
        reference: Some(record.id.to_string()),
        ..Noted::default()
    };
    let mut event = service(app, tenant, "erasure.completed", noted);
    event.subjects = subjects.iter().take(LISTED).map(|s| s.handle.clone()).collect();
    event.more_subjects = subjects.len().saturating_sub(LISTED) as u64;
    app.audit.record(tenant, event).await?;

    let meant = |handle: &str| record.extent == Extent::Collection || subjects.iter().any(|s| s.handle == handle);
    let models_trained = Models::new(app.store.clone(), tenant).trained_on(&record.collection, meant).await?;
    let places = record.steps.iter().filter(|s| s.name != Step::Verification.name());
    let places = places.filter_map(|s| Some(Place { name: s.name.clone(), cleared_at: s.done_at? })).collect();
    let completed_at = Timestamp::now();
    let receipt = Receipt {
        version: 1,
        erasure_id: record.id.to_string(),
        tenant: (*tenant).clone(),
        collection_id: record.collection.clone(),
        extent: record.extent,
        reason: record.reason.clone(),
        requested_at: record.requested_at,
        completed_at,
        removed: record.removed,
        places,
        verification,
        models_trained,
        salt: record.salt.clone(),
        subjects: if record.extent == Extent::Subjects { subjects } else { Vec::new() },
    };
    let signed = app.signing_keys().current().await?.sign(RECEIPT, &receipt).map_err(|e| internal(e.to_string()))?;
    let done = ErasureRecord { state: ErasureState::Succeeded, updated_at: completed_at, ..record.clone() };
    Ok(erasures.finish(&done, signed).await?)
}
