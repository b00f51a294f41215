//! Crops on the gateway's side: what is erased takes its objects along before the answer, and a collection's policy is
//! only accepted where there is a place for crops. Used by every route that erases, and by `routes/collections.rs`.

use std::future::Future;

use ::crops::{CropsError, In, Whose};
use domain::{CollectionId, ErrorCode, FaceId, Problem, RetainCrops, SubjectId, TenantId};
use store::CropOf;
use tokio::time::timeout;

use crate::{
    context::Call,
    dispatch::late,
    erasure::gone,
    problem::{ApiProblem, Result},
    state::AppState,
};

/// Whose crops go.
#[derive(Clone, Copy)]
pub(crate) enum Of<'a> {
    /// Everybody's in the collection.
    Everybody,
    /// A subject's, as far as their records went.
    Subject(&'a SubjectId),
    /// A face's.
    Face(&'a SubjectId, &'a FaceId),
}

/// Deletes the objects of what `erased` has taken out of the store: their keys went with it, so that nobody can read
/// them any more, but they are not to be there either. The same when there was nothing to erase any more: the request may
/// repeat one that was broken off.
pub(crate) async fn erased_of<T>(
    app: &AppState,
    call: &Call,
    (collection, of): (&CollectionId, Of<'_>),
    erased: Result<T>,
) -> Result<T> {
    let Some(crops) = app.crops.as_ref().filter(|_| gone(&erased)) else { return erased };
    let tenant = &call.principal.tenant;
    let handle = |subject: &SubjectId| app.pepper.handle(tenant, collection, subject);
    let whose = match of {
        Of::Everybody => Whose::Everybody,
        Of::Subject(id) => Whose::Subject(handle(id)),
        Of::Face(id, face) => Whose::Face(CropOf { handle: handle(id), face }),
    };
    in_time(app, call, crops.erase(In { tenant, collection }, whose)).await.map_err(|mut e| {
        let detail = &e.problem.detail;
        e.problem.detail = format!(
            "erased from the store, and nobody can read its crops any more, but not all of their objects are deleted: \
             {detail}; repeating the request is safe"
        );
        e
    })?;
    erased
}

/// Erases the crops of a collection that does not keep them any more.
pub(crate) async fn drop_all(app: &AppState, call: &Call, collection: &CollectionId) -> Result<()> {
    let Some(crops) = &app.crops else { return Ok(()) };
    let tenant: &TenantId = &call.principal.tenant;
    in_time(app, call, crops.drop_all(In { tenant, collection })).await.map_err(|mut e| {
        let detail = &e.problem.detail;
        e.problem.detail = format!(
            "the collection keeps no crops from now on, but not all that it had are erased: {detail}; they go within \
             the next sweep, or when the change is repeated"
        );
        e
    })
}

/// Refuses a policy that this service cannot follow.
pub(crate) fn check(app: &AppState, policy: RetainCrops) -> Result<(), Problem> {
    if policy == RetainCrops::None || app.crops.is_some() {
        return Ok(());
    }
    Err(Problem::invalid("/retain_crops", "this service keeps no objects, so it can retain no crops: see objects.url"))
}

async fn in_time(
    app: &AppState,
    call: &Call,
    work: impl Future<Output = std::result::Result<u64, CropsError>>,
) -> Result<()> {
    let within = call.deadline.unwrap_or(app.config.times.deadline);
    match timeout(within, work).await {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(deleted)) => {
            tracing::debug!(deleted, "crops deleted");
            Ok(())
        }
        Ok(Err(e)) => {
            // Whatever it was, the caller is to come again: the erasure is not finished.
            let code = if e.code().retryable() { e.code() } else { ErrorCode::StoreUnavailable };
            tracing::warn!(error = %e, "crops could not be deleted");
            Err(ApiProblem::new(code, e.to_string()))
        }
        Err(_) => Err(late(within)),
    }
}
