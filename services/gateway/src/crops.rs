//! Crops on the gateway's side: what is erased takes its objects along before the answer, and a collection's policy is
//! only accepted where there is a place for crops. Used by `erasure.rs`, by erasures that are jobs, and by
//! `routes/collections.rs`.

use ::crops::{CropsError, In, Whose};
use domain::{CollectionId, ErrorCode, Problem, RetainCrops, TenantId};
use store::SubjectHandle;
use tokio::time::timeout;

use crate::{
    context::Call,
    dispatch::late,
    erasure::Of,
    problem::{ApiProblem, Result},
    state::AppState,
};

/// Deletes the objects of what was taken out of the store: their keys went with it, so that nobody can read them any
/// more, but they are not to be there either. To be repeated as often as anybody likes.
pub(crate) async fn erase(app: &AppState, call: &Call, collection: &CollectionId, of: Of<'_>) -> Result<()> {
    let Some(crops) = &app.crops else { return Ok(()) };
    let tenant = &call.principal.tenant;
    let whose = match of {
        Of::Subject(id, _) | Of::Crops(id) => Whose::Subject(app.pepper.handle(tenant, collection, id)),
        Of::Collection | Of::Nobody => Whose::Everybody,
    };
    let erased = in_time(app, call, crops.erase(In { tenant, collection }, whose)).await;
    erased.map(drop).map_err(|mut e| {
        let detail = &e.problem.detail;
        e.problem.detail = format!(
            "erased from the store, and nobody can read its crops any more, but not all of their objects are deleted: \
             {detail}; repeating the request is safe"
        );
        e
    })
}

/// The same for an erasure that is a job: of these, or of everybody.
pub(crate) async fn erase_all(
    app: &AppState,
    call: &Call,
    collection: &CollectionId,
    handles: Option<&[SubjectHandle]>,
) -> Result<()> {
    let Some(crops) = &app.crops else { return Ok(()) };
    let at = In { tenant: &call.principal.tenant, collection };
    for whose in each(handles) {
        in_time(app, call, crops.erase(at, whose)).await?;
    }
    Ok(())
}

/// How many objects are left that no record knows, of these or of everybody.
pub(crate) async fn left(
    app: &AppState,
    call: &Call,
    collection: &CollectionId,
    handles: Option<&[SubjectHandle]>,
) -> Result<u64> {
    let Some(crops) = &app.crops else { return Ok(0) };
    let at = In { tenant: &call.principal.tenant, collection };
    let mut left = 0;
    for whose in each(handles) {
        left += in_time(app, call, crops.left(at, whose)).await?;
    }
    Ok(left)
}

/// Whose crops, one after the other: of these, or of everybody at once.
fn each(handles: Option<&[SubjectHandle]>) -> Vec<Whose<'static>> {
    handles.map_or_else(|| vec![Whose::Everybody], |some| some.iter().map(|h| Whose::Subject(*h)).collect())
}

/// Erases the crops of a collection that does not keep them any more.
pub(crate) async fn drop_all(app: &AppState, call: &Call, collection: &CollectionId) -> Result<()> {
    let Some(crops) = &app.crops else { return Ok(()) };
    let tenant: &TenantId = &call.principal.tenant;
    in_time(app, call, crops.drop_all(In { tenant, collection })).await.map(drop).map_err(|mut e| {
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
) -> Result<u64> {
    let within = call.deadline.unwrap_or(app.config.times.deadline);
    let done = timeout(within, work).await.map_err(|_| late(within))?;
    done.map_err(|e| {
        // Whatever it was, the caller is to come again: the erasure is not finished.
        let code = if e.code().retryable() { e.code() } else { ErrorCode::StoreUnavailable };
        tracing::warn!(error = %e, "crops could not be deleted");
        ApiProblem::new(code, e.to_string())
    })
}
