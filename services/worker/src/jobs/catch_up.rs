//! Catch up: what was erased from a collection goes from this worker's memory and snapshots too, before the erasure is
//! acknowledged. Asked of every worker by the gateway, after every erasure; at the end of one that gives a receipt it is
//! also asked whether the gallery still holds anything of them.

use domain::{CollectionId, Problem, TenantId};
use store::SubjectHandle;
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
    let reached = desk.galleries.apply_erasures(tenant, &id).await;
    context.timings.since(Stage::Search, start);
    match reached {
        Ok(reached) => {
            let handles: Vec<SubjectHandle> = request.look_for.iter().filter_map(|h| h.parse().ok()).collect();
            let found = desk.galleries.holds(tenant, &id, &handles) as u64;
            Ok(CatchUpReply { revision: reached.map_or(0, |r| r.0), found })
        }
        Err(e) => Err(Problem::new(e.code(), e.to_string())),
    }
}
