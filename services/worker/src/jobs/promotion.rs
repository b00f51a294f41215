//! A promotion, a slice at a time: every worker loads the model, every face with a retained crop gets a template of it
//! beside the ones it has, then one write makes it the model that answers, and what is not wanted any more goes. How far it
//! has come stands in the collection's space; a second delivery, by whichever worker, goes on from there, and a slice that
//! is done twice does nothing twice. Enrolments write the model's templates from the first phase on.

use std::{sync::Arc, time::Duration};

use domain::{
    Collection, CollectionId, ContractId, ErrorCode, JobId, Lane, Problem, TenantId, Timestamp, WithoutCrops,
};
use evidence::AuditDraft;
use store::{Audit, PromotionPhase, PromotionRecord, Promotions, RepoError, TemplateRow, Templates, Versioned};
use wire::v1::{Envelope, PrepareRequest, PromotionRequest, envelope::Request};

use super::{
    Desk,
    bulk::Slice,
    gate::change_problem,
    held_out::{self, Place},
    store_problem,
};
use crate::pipeline::Context;

/// Faces of a slice: between two slices others get their turn.
const FACES: usize = 24;

/// Faces of a slice that only rewrites records.
const REWRITTEN: usize = 200;

/// Pause before it is looked again whether the workers have the model.
const PAUSE: Duration = Duration::from_millis(250);

/// How long a promotion may take until its strand is forgotten; asking for it again sends for a new one.
const PATIENCE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a worker may take to be told to load a model.
const LOADING: Duration = Duration::from_secs(120);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Puts a promotion's strand on the lane.
///
/// # Errors
/// `queue_unavailable`, `overloaded`.
pub(super) async fn send(
    desk: &Desk,
    tenant: &TenantId,
    collection: &CollectionId,
    strand: &JobId,
) -> Result<(), Problem> {
    let request = Request::Promotion(PromotionRequest { collection_id: collection.to_string() });
    let envelope = envelope(tenant, strand, request, PATIENCE);
    desk.queue.submit(Lane::Bulk, &envelope).await.map_err(|e| Problem::new(e.code(), e.to_string()))
}

fn envelope(tenant: &TenantId, id: &JobId, request: Request, within: Duration) -> Envelope {
    let now = Timestamp::now();
    Envelope {
        job_id: id.to_string(),
        tenant: tenant.to_string(),
        key_id: "service".to_owned(),
        created_ms: now.as_millis(),
        deadline_ms: now.plus(within).as_millis(),
        request: Some(request),
        ..Envelope::default()
    }
}

/// One slice.
///
/// # Errors
/// The store's, the objects', the models'; the strand is then to be delivered again.
pub async fn slice(
    desk: &Desk,
    envelope: &Envelope,
    request: &PromotionRequest,
    context: &Context,
) -> Result<Slice, Problem> {
    let tenant = TenantId::new(&envelope.tenant).map_err(|e| Problem::invalid("tenant", e.to_string()))?;
    let id = CollectionId::new(&request.collection_id).map_err(|e| Problem::invalid("collection_id", e.to_string()))?;
    let promotions = Promotions::new(Arc::clone(&desk.store), &tenant, &id);
    let Some(record) = promotions.get().await.map_err(store_problem)? else { return Ok(Slice::Done) };
    // One that was given up, or whose place another has taken.
    if record.value.job.as_str() != envelope.job_id {
        return Ok(Slice::Done);
    }
    let Some(collection) = desk.collections().get(&tenant, &id).await.map_err(store_problem)? else {
        return Ok(Slice::Done);
    };
    let work =
        Work { desk, tenant: &tenant, promotions: &promotions, collection: &collection, record: &record, context };
    match record.value.phase {
        PromotionPhase::Preparing => work.prepare().await,
        PromotionPhase::Embedding => work.embed().await,
        PromotionPhase::Switching => work.switch().await,
        PromotionPhase::Tidying => work.tidy().await,
        PromotionPhase::Done => Ok(Slice::Done),
    }
}

/// Puts down that a strand was given up: asking for the promotion again sends for a new one.
pub async fn given_up(desk: &Desk, envelope: &Envelope, request: &PromotionRequest, problem: &Problem) {
    let (Ok(tenant), Ok(id)) = (TenantId::new(&envelope.tenant), CollectionId::new(&request.collection_id)) else {
        return;
    };
    let promotions = Promotions::new(Arc::clone(&desk.store), &tenant, &id);
    if let Ok(Some(found)) = promotions.get().await
        && found.value.job.as_str() == envelope.job_id
    {
        let trouble = Some(format!("given up: {}; promote the model again to go on", problem.detail));
        let record = PromotionRecord { trouble, updated_at: Timestamp::now(), ..found.value };
        if let Err(error) = promotions.advance(&record, found.version).await {
            tracing::warn!(%error, "that a promotion was given up could not be put down");
        }
    }
}

/// Why a promotion is refused that would leave faces behind.
pub(super) fn left_behind(faces: u64) -> Problem {
    let detail = format!(
        "{faces} enrolled faces have no retained crop, so another model cannot find them: enrol them again with \
         retain_crops and a consent that allows training, or set the collection's promotion.without_crops to \"leave\""
    );
    Problem::new(ErrorCode::Conflict, detail)
}

/// What the phases have in common.
struct Work<'a> {
    desk: &'a Desk,
    tenant: &'a TenantId,
    promotions: &'a Promotions,
    collection: &'a Versioned<Collection>,
    record: &'a Versioned<PromotionRecord>,
    context: &'a Context,
}

impl Work<'_> {
    fn id(&self) -> &CollectionId {
        &self.collection.value.id
    }

    fn contract(&self) -> ContractId {
        self.record.value.contract
    }

    fn templates(&self) -> Templates {
        Templates::new(Arc::clone(&self.desk.store), self.tenant, self.id())
    }

    /// Whether the collection still wants this model.
    fn is_wanted(&self) -> bool {
        self.collection.value.serving().building.is_some_and(|b| b.contract == self.contract())
    }

    /// Every worker loads the model; on to the next phase once all of those that take jobs have it.
    async fn prepare(&self) -> Result<Slice, Problem> {
        if !self.is_wanted() {
            return self.advance(self.tidying()).await;
        }
        let without = self.without_the_model().await?;
        if !without.is_empty() {
            let trouble = Some(format!("waiting for {} workers to load the model", without.len()));
            if self.record.value.trouble != trouble {
                self.advance(PromotionRecord { trouble, ..self.record.value.clone() }).await?;
            }
            tokio::time::sleep(PAUSE).await;
            return Ok(Slice::More);
        }
        let faces = self.desk.subjects(self.tenant, self.id()).count().await.map_err(store_problem)?.faces as u64;
        let phase = PromotionPhase::Embedding;
        self.advance(PromotionRecord { phase, faces, trouble: None, ..self.record.value.clone() }).await
    }

    /// Names of workers that take jobs and do not have the model; they are asked to load it.
    async fn without_the_model(&self) -> Result<Vec<String>, Problem> {
        let queue = &self.desk.queue;
        let unavailable = |e: queue::QueueError| Problem::new(e.code(), e.to_string());
        let contract = self.contract().to_string();
        let mut without = Vec::new();
        for worker in queue.workers().await.map_err(unavailable)? {
            if !worker.ready || worker.models.iter().any(|m| m.contract == contract) {
                continue;
            }
            if !worker.inbox.is_empty() {
                let request = Request::Prepare(PrepareRequest { collection_id: self.id().to_string() });
                let asked = envelope(self.tenant, &JobId::generate(), request, LOADING);
                queue.send(&worker.inbox, &asked).await.map_err(unavailable)?;
            }
            without.push(worker.name);
        }
        Ok(without)
    }

    /// The next faces get a template of the model. A pass through all of them that finds nothing to do is the last.
    async fn embed(&self) -> Result<Slice, Problem> {
        let (record, desk) = (&self.record.value, self.desk);
        let Some(model) = self.collection.value.serving().building.filter(|_| self.is_wanted()) else {
            return self.advance(self.tidying()).await;
        };
        let served = desk.shelf.get(self.tenant, &model).await?;
        let templates = self.templates();
        let (rows, more) = templates.scan_templates(record.after.as_deref(), FACES).await.map_err(store_problem)?;
        let (mut next, mut rewritten) = (record.clone(), Vec::new());
        next.after = rows.last().map(|r| r.key.clone()).or(next.after);
        next.seen += rows.len() as u64;
        let place = Place { tenant: self.tenant, collection: self.id() };
        for mut row in rows.into_iter().filter(|r| r.templates.of(model.contract).is_none()) {
            let _turn = desk.precedence.item().await;
            let crop = match held_out::crop(desk, place, (row.handle, &row.face_id)).await {
                // One that is damaged will not get better.
                Err(p) if p.code == ErrorCode::Internal => {
                    tracing::warn!(detail = p.detail, "a face is left without a template of the new model");
                    None
                }
                read => read?,
            };
            match crop {
                Some(crop) => {
                    row.templates.put(served.pipeline.embed_one(&crop, self.context).await?);
                    rewritten.push(row);
                }
                None => next.without_crops += 1,
            }
        }
        if !self.rewrite(&rewritten).await? {
            return Ok(Slice::More);
        }
        let count = |outcome: &str, n: u64| desk.metrics.reembedded_faces.with_label_values(&[outcome]).inc_by(n);
        count("embedded", rewritten.len() as u64);
        count("without_crop", next.without_crops - record.without_crops);
        next.embedded += rewritten.len() as u64;
        next.embedded_in_pass += rewritten.len() as u64;
        if !more && next.embedded_in_pass > 0 {
            (next.after, next.seen, next.without_crops, next.embedded_in_pass) = (None, 0, 0, 0);
        } else if !more {
            next.phase = PromotionPhase::Switching;
        }
        self.advance(next).await
    }

    /// The one write that makes the model the one that answers.
    async fn switch(&self) -> Result<Slice, Problem> {
        if !self.is_wanted() {
            return self.advance(self.tidying()).await;
        }
        if !self.without_the_model().await?.is_empty() {
            // One that came meanwhile.
            let phase = PromotionPhase::Preparing;
            let first = PromotionRecord { phase, after: None, seen: 0, without_crops: 0, ..self.record.value.clone() };
            return self.advance(first).await;
        }
        let (contract, now, left) = (self.contract(), Timestamp::now(), self.record.value.without_crops);
        let policy = self.collection.value.promotion;
        let refused = (left > 0 && policy.without_crops == WithoutCrops::Refuse).then(|| left_behind(left));
        let ended = self.promotions.change(Some(self.collection.version), |collection, _| {
            let mut record = self.tidying();
            match &refused {
                Some(problem) => {
                    collection.roll_back(contract, now)?;
                    record.trouble = Some(problem.detail.clone());
                }
                None => {
                    collection.switch(contract, now.plus(DAY * u32::from(policy.keep_days)))?;
                    record.switched = true;
                }
            }
            Ok(record)
        });
        match ended.await {
            Ok(_) => {}
            // The collection was changed a moment ago: look at it again.
            Err(store::ChangeError::Repo(RepoError::VersionMismatch)) => return Ok(Slice::More),
            Err(e) => return Err(change_problem(e)),
        }
        let outcome = if refused.is_some() { ErrorCode::Conflict.slug() } else { "ok" };
        tracing::info!(collection = %self.id(), %contract, outcome, "the end of a promotion");
        self.put_down(outcome).await;
        Ok(Slice::More)
    }

    /// The switch in the audit trail.
    async fn put_down(&self, outcome: &str) {
        let event = AuditDraft {
            time: Timestamp::now(),
            actor: "service".to_owned(),
            action: "switch of the model".to_owned(),
            collection: Some(self.id().clone()),
            subjects: Vec::new(),
            more_subjects: 0,
            decisions: Vec::new(),
            outcome: outcome.to_owned(),
            status: None,
            reference: self.record.value.model.as_ref().map(ToString::to_string),
            request_id: None,
        };
        let trail = Audit::new(Arc::clone(&self.desk.store), self.tenant);
        if let Err(error) = trail.append(&[event], &mut None).await {
            tracing::error!(%error, "the switch of a model could not be put down in the audit trail");
        }
    }

    /// Templates of models that are not written any more go, face by face.
    async fn tidy(&self) -> Result<Slice, Problem> {
        let wanted: Vec<ContractId> = self.collection.value.serving().written().map(|m| m.contract).collect();
        let record = &self.record.value;
        let scanned = self.templates().scan_templates(record.after.as_deref(), REWRITTEN).await;
        let (mut rows, more) = scanned.map_err(store_problem)?;
        let mut next = record.clone();
        next.after = rows.last().map(|r| r.key.clone()).or(next.after);
        rows.retain_mut(|row| row.templates.keep_only(&wanted));
        if !self.rewrite(&rows).await? {
            return Ok(Slice::More);
        }
        if !more {
            (next.phase, next.after) = (PromotionPhase::Done, None);
        }
        self.advance(next).await
    }

    /// Writes these; false where the collection's record was changed meanwhile, which is then to be read again.
    async fn rewrite(&self, rows: &[TemplateRow]) -> Result<bool, Problem> {
        match self.templates().rewrite(rows, self.collection.version).await {
            Ok(_) => Ok(true),
            Err(RepoError::VersionMismatch) => Ok(false),
            Err(e) => Err(store_problem(e)),
        }
    }

    fn tidying(&self) -> PromotionRecord {
        PromotionRecord { phase: PromotionPhase::Tidying, after: None, ..self.record.value.clone() }
    }

    /// Puts down how far it has come. Where somebody else did, the next slice sees what.
    async fn advance(&self, next: PromotionRecord) -> Result<Slice, Problem> {
        let next = PromotionRecord { updated_at: Timestamp::now(), ..next };
        self.promotions.advance(&next, self.record.version).await.map_err(store_problem)?;
        Ok(if next.phase == PromotionPhase::Done { Slice::Done } else { Slice::More })
    }
}
