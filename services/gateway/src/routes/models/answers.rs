//! A model as callers see it, with where it stands in each collection. The collection's own record alone says that, so that
//! what is told here is what its requests meet.

use domain::{CollectionId, ContractId, ModelId, TenantId, Timestamp};
use serde::Serialize;
use store::{ModelOrigin, ModelRecord, Models, PromotionPhase, PromotionRecord, Promotions};
use utoipa::ToSchema;
use wire::v1::ModelInUse;

use crate::{problem::Result, state::AppState};

/// A model.
#[derive(Serialize, ToSchema)]
#[schema(as = Model)]
pub(super) struct ModelAnswer {
    /// Its id; of the deployment's own its name.
    pub id: ModelId,
    /// Name, from its manifest.
    pub name: String,
    /// Contract of its templates.
    pub contract: ContractId,
    /// Whether the deployment brought it along: collections that have seen no promotion are served by it.
    pub built_in: bool,
    /// Bytes of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Checksum of its file, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({"from": "upload"}))]
    origin: Option<ModelOrigin>,
    /// Contract of the model it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<ContractId>,
    /// When it was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    /// Collections it has to do with.
    pub collections: Vec<ModelPlace>,
}

/// Where a model stands in a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ModelState {
    /// It has not been held against the one that answers.
    Candidate,
    /// It has.
    Evaluated,
    /// It is being prepared.
    Promoting,
    /// It answers.
    Champion,
    /// It was replaced and may come back.
    Retired,
}

/// Where a model stands in a collection, and since when.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelPlace {
    /// Which collection.
    pub collection_id: CollectionId,
    /// Where it stands.
    pub state: ModelState,
    /// Which generation of the gallery its templates are.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    /// Until when it may come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_until: Option<Timestamp>,
    /// When the gate looked at it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluated_at: Option<Timestamp>,
    /// Whether it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    passed: Option<bool>,
    /// Its promotion, under way or the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    promotion: Option<PromotionAnswer>,
}

/// How far a promotion has come.
#[derive(Serialize, ToSchema)]
#[schema(as = Promotion)]
struct PromotionAnswer {
    /// `preparing`, `embedding`, `switching`, `tidying` or `done`.
    #[schema(value_type = String, example = "embedding")]
    phase: PromotionPhase,
    /// Faces there were when it began.
    faces: u64,
    /// Faces looked at in the present pass.
    seen: u64,
    /// Faces embedded with the model.
    embedded: u64,
    /// Faces without a retained crop.
    without_crops: u64,
    /// Whether the switch has been made.
    switched: bool,
    /// Why it does not get on, or ended without a switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// When it began.
    started_at: Timestamp,
    /// When it last got on.
    updated_at: Timestamp,
}

impl ModelState {
    /// Whether the collection needs its file.
    pub const fn is_in_use(self) -> bool {
        matches!(self, Self::Promoting | Self::Champion | Self::Retired)
    }
}

impl From<PromotionRecord> for PromotionAnswer {
    fn from(r: PromotionRecord) -> Self {
        Self {
            phase: r.phase,
            faces: r.faces,
            seen: r.seen,
            embedded: r.embedded,
            without_crops: r.without_crops,
            switched: r.switched,
            trouble: r.trouble,
            started_at: r.started_at,
            updated_at: r.updated_at,
        }
    }
}

impl ModelAnswer {
    /// A registered one.
    pub async fn of(app: &AppState, tenant: &TenantId, record: &ModelRecord) -> Result<Self> {
        let mut collections = Vec::new();
        for collection in &record.collections {
            collections.extend(place(app, tenant, record, collection).await?);
        }
        Ok(Self {
            id: record.id.clone(),
            name: record.name.clone(),
            contract: record.contract,
            built_in: false,
            bytes: Some(record.bytes),
            sha256: Some(record.sha256.clone()),
            origin: Some(record.origin.clone()),
            parent: record.parent,
            created_at: Some(record.created_at),
            collections,
        })
    }

    /// One that a worker brought along.
    pub fn built_in(model: &ModelInUse) -> Option<Self> {
        Some(Self {
            id: ModelId::new(&model.name).ok()?,
            name: model.name.clone(),
            contract: model.contract.parse().ok()?,
            built_in: true,
            bytes: None,
            sha256: None,
            origin: None,
            parent: None,
            created_at: None,
            collections: Vec::new(),
        })
    }
}

/// Where a model stands in a collection; nothing where that is gone.
async fn place(
    app: &AppState,
    tenant: &TenantId,
    record: &ModelRecord,
    id: &CollectionId,
) -> Result<Option<ModelPlace>> {
    let Some(collection) = app.collections.get(tenant, id).await? else { return Ok(None) };
    let serving = collection.value.serving();
    let report = Models::new(app.store.clone(), tenant).report(&record.id, id).await?;
    let promotion = Promotions::new(app.store.clone(), tenant, id).get().await?.map(|p| p.value);
    let ours = |contract: ContractId| contract == record.contract;
    let (state, generation, kept_until) = if ours(serving.active.contract) {
        (ModelState::Champion, Some(serving.active.generation), None)
    } else if let Some(building) = serving.building.filter(|b| ours(b.contract)) {
        (ModelState::Promoting, Some(building.generation), None)
    } else if let Some(kept) = serving.kept.filter(|k| ours(k.model.contract)) {
        (ModelState::Retired, Some(kept.model.generation), Some(kept.until))
    } else if report.is_some() {
        (ModelState::Evaluated, None, None)
    } else {
        (ModelState::Candidate, None, None)
    };
    Ok(Some(ModelPlace {
        collection_id: id.clone(),
        state,
        generation,
        kept_until,
        evaluated_at: report.as_ref().map(|r| r.at),
        passed: report.as_ref().map(|r| r.passed),
        promotion: promotion.filter(|p| ours(p.contract)).map(Into::into),
    }))
}
