//! Prepare: load the model that a promotion is about before it is needed. Asked of this worker alone, at its inbox; that
//! the model is there is told by the worker's own announcement, which a loading brings forward.

use domain::{CollectionId, Problem, TenantId};
use wire::v1::{PrepareReply, PrepareRequest};

use super::{Desk, store_problem};

pub(super) async fn run(desk: &Desk, tenant: &TenantId, request: &PrepareRequest) -> Result<PrepareReply, Problem> {
    let id = CollectionId::new(&request.collection_id).map_err(|e| Problem::invalid("collection_id", e.to_string()))?;
    let found = desk.collections().get(tenant, &id).await.map_err(store_problem)?;
    if let Some(model) = found.and_then(|c| c.value.serving().building) {
        desk.shelf.get(tenant, &model).await?;
    }
    Ok(PrepareReply {})
}
