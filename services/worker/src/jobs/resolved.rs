//! A collection as one request sees it: its record as it was read in one moment, with the model that the record names,
//! loaded. Everything the request compares, embeds or resolves a threshold with comes from here, so that it meets one model
//! from its beginning to its end, whatever is switched meanwhile.

use std::sync::Arc;

use domain::{
    CalibrationTable, Collection, CollectionId, ErrorCode, Problem, ResolvedThreshold, Template, TenantId,
    ThresholdSpec,
};
use store::Revision;
use wire::v1;

use super::{Desk, collection_gone, store_problem};
use crate::shelf::Served;

/// See above.
pub struct Resolved {
    /// The record.
    pub collection: Collection,
    /// Its version.
    pub version: Revision,
    /// The model that answers.
    pub served: Arc<Served>,
    /// Its score table for this collection.
    pub calibration: CalibrationTable,
}

impl Desk {
    /// The collection with the model that answers for it.
    ///
    /// # Errors
    /// `collection_not_found`; those of [`crate::shelf::Shelf::get`].
    pub(crate) async fn collection(&self, tenant: &TenantId, id: &str) -> Result<Resolved, Problem> {
        let id = CollectionId::new(id).map_err(|e| Problem::invalid("collection_id", e.to_string()))?;
        let found = self.collections().get(tenant, &id).await.map_err(store_problem)?;
        let found = found.ok_or_else(|| collection_gone(&id))?;
        let (collection, version) = (found.value, found.version);
        let active = collection.serving().active;
        let served = self.shelf.get(tenant, &active).await?;
        let none = || Problem::new(ErrorCode::ModelNotReady, "the collection's model has no score table");
        let calibration = active.calibration.or_else(|| served.calibration.clone()).ok_or_else(none)?;
        Ok(Resolved { collection, version, served, calibration })
    }
}

impl Resolved {
    /// A threshold in its three forms, with a default, for so many comparisons.
    pub fn threshold(
        &self,
        asked: Option<v1::ThresholdSpec>,
        default: ThresholdSpec,
        comparisons: u64,
    ) -> Result<ResolvedThreshold, Problem> {
        let spec = asked.and_then(Option::<ThresholdSpec>::from).unwrap_or(default);
        self.calibration.resolve(spec, comparisons)
    }

    /// A caller's own embedding, if it is of the collection's contract.
    pub fn probe(&self, e: &v1::Embedding) -> Result<Template, Problem> {
        let contract = self.served.contract();
        if e.contract != contract.to_string() {
            let detail = format!("the embedding is of contract {}, the collection's is {contract}", e.contract);
            return Err(Problem::new(ErrorCode::CollectionModelMismatch, detail));
        }
        Template::from_embedding(contract, &e.values).map_err(|e| Problem::invalid("/embedding/values", e.to_string()))
    }
}
