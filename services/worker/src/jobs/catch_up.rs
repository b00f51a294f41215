//! Catch up: brings a collection's gallery to the store's present revision, so that what was erased there is gone from
//! memory and from snapshots before the erasure is acknowledged. Asked for by the gateway after every erasure.

use domain::{CollectionId, ErrorCode, Problem, TenantId};
use wire::v1::{CatchUpReply, CatchUpRequest};

use super::Desk;
use crate::{pipeline::Context, timings::Stage};

pub(super) async fn run(
    desk: &Desk,
    tenant: &TenantId,
    request: &CatchUpRequest,
    context: &Context,
) -> Result<CatchUpReply, Problem> {
    let id = CollectionId::new(&request.collection_id).map_err(|e| Problem::invalid("collection_id", e.to_string()))?;
    desk.fence.check()?;
    let start = std::time::Instant::now();
    let reached = desk.galleries.current(tenant, &id, desk.pipeline.contract()).await;
    context.timings.since(Stage::Search, start);
    match reached {
        Ok(gallery) => Ok(CatchUpReply { revision: gallery.revision().0 }),
        // The collection itself was erased: its gallery is gone with it.
        Err(e) if e.code() == ErrorCode::CollectionNotFound => Ok(CatchUpReply { revision: 0 }),
        Err(e) => Err(Problem::new(e.code(), e.to_string())),
    }
}
