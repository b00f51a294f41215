//! Promotions on the gateway's side: the changes of a collection's models that need no inference, and the strands that
//! workers carry the rest out by. Used by `routes/models.rs` and by the rounds of the retention.

use std::time::Duration;

use domain::{Collection, CollectionId, ContractId, JobId, Lane, ModelId, TenantId, Timestamp};
use store::{ChangeError, PromotionPhase, PromotionRecord, Promotions, Revision, Versioned};
use wire::v1::{Envelope, PromotionRequest, envelope::Request};

use crate::{
    problem::{ApiProblem, Result},
    state::AppState,
};

/// How long a strand may take; asking again sends for a new one.
const PATIENCE: Duration = Duration::from_secs(30 * 24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What of a collection's models is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The kept model comes back, or one that is being prepared is given up.
    RollBack,
    /// The kept model goes for good.
    Retire,
}

/// Makes the change, in one write, and sends a worker to tidy up after it.
pub(crate) async fn change(
    app: &AppState,
    (tenant, collection): (&TenantId, &CollectionId),
    (model, contract): (Option<ModelId>, ContractId),
    change: Change,
    if_version: Option<Revision>,
) -> Result<Versioned<Collection>> {
    let promotions = Promotions::new(app.store.clone(), tenant, collection);
    let strand = JobId::generate();
    let changed = promotions.change(if_version, |c, _| {
        let until = Timestamp::now().plus(DAY * u32::from(c.promotion.keep_days));
        match change {
            Change::RollBack => c.roll_back(contract, until)?,
            Change::Retire => c.retire(contract)?,
        }
        Ok(PromotionRecord::new(strand.clone(), (model.clone(), contract), PromotionPhase::Tidying))
    });
    let (collection, _) = changed.await?;
    send(app, tenant, &collection.value.id, &strand).await?;
    Ok(collection)
}

/// Gives up the kept model of a collection whose time is over.
pub(crate) async fn retire_due(app: &AppState, tenant: &TenantId, collection: &Collection) -> Result<()> {
    let Some(kept) = collection.serving().kept.filter(|k| k.until <= Timestamp::now()) else { return Ok(()) };
    let about = (kept.model.id, kept.model.contract);
    change(app, (tenant, &collection.id), about, Change::Retire, None).await?;
    tracing::info!(%tenant, collection = %collection.id, "a replaced model was kept long enough, and goes");
    Ok(())
}

/// Puts a strand on the lane.
async fn send(app: &AppState, tenant: &TenantId, collection: &CollectionId, strand: &JobId) -> Result<()> {
    let now = Timestamp::now();
    let envelope = Envelope {
        job_id: strand.to_string(),
        tenant: tenant.to_string(),
        key_id: "service".to_owned(),
        created_ms: now.as_millis(),
        deadline_ms: now.plus(PATIENCE).as_millis(),
        request: Some(Request::Promotion(PromotionRequest { collection_id: collection.to_string() })),
        ..Envelope::default()
    };
    Ok(app.queue.submit(Lane::Bulk, &envelope).await?)
}

impl From<ChangeError> for ApiProblem {
    fn from(e: ChangeError) -> Self {
        match e {
            ChangeError::Repo(e) => e.into(),
            ChangeError::Refused(problem) => problem.into(),
        }
    }
}
