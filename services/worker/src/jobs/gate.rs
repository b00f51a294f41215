//! Gate: a registered model against the one that answers for a collection, on the same pictures. What was found is put
//! down with the model; one that passes is promoted from here on by a strand of its own (`promotion`).

use std::sync::Arc;

use ::crops::In;
use domain::{
    CalibrationTable, CollectionId, ErrorCode, JobId, ModelId, Problem, ServingModel, TenantId, Timestamp, WithoutCrops,
};
use evaluation::{
    Bootstrap, SamePerson, calibrate,
    gate::{GatePart, GateReport, GateSet, decide},
    report,
};
use registry::Registry;
use store::{ChangeError, ModelRecord, ModelReport, PromotionPhase, PromotionRecord, Promotions};
use wire::v1::{GateReply, GateRequest, reply::Outcome};

use super::{
    Desk, Done, general,
    held_out::{self, Place},
    promotion,
    resolved::Resolved,
    store_problem,
};
use crate::{pipeline::Context, shelf::Served};

/// Scores of different persons from which on a score table of the pictures at hand is taken before the manifest's: so many
/// measure a false match rate of 10⁻⁵, and what is below that has to be extended beyond any sample.
const OWN_TABLE: usize = 1_000_000;

/// Most scores that a table is made from.
const MOST_SCORES: usize = 2_000_000;

pub(super) async fn run(
    desk: &Desk,
    tenant: &TenantId,
    (job, request): (&str, &GateRequest),
    context: &Context,
) -> Result<Done, Problem> {
    let resolved = desk.collection(tenant, &request.collection_id).await?;
    let id = ModelId::new(&request.model_id).map_err(|e| Problem::invalid("model_id", e.to_string()))?;
    let none = || Problem::new(ErrorCode::ModelNotReady, "this worker keeps no objects: set objects.url");
    let registry = desk.shelf.registry().ok_or_else(none)?;
    let record = registry.records(tenant).get(&id).await.map_err(store_problem)?;
    let missing = || Problem::new(ErrorCode::ModelNotFound, format!("there is no model {id}"));
    let record = record.ok_or_else(missing)?.value;
    let round = Round { desk, tenant, resolved: &resolved, registry, record: &record, context };
    if let Some(reply) = round.under_way().await? {
        return Ok(round.done(reply));
    }
    // What would be refused in the end is not measured first.
    resolved.collection.clone().prepare(id.clone(), record.contract, resolved.calibration.clone())?;
    round.nobody_is_lost().await?;
    let candidate = desk.shelf.get(tenant, &round.model(0, None)).await?;
    let (report, table) = round.measured(&candidate).await?;
    round.note(&report).await?;
    let outcome = if report.passed { "passed" } else { "refused" };
    desk.metrics.gated.with_label_values(&[outcome]).inc();
    let Some(table) = table.filter(|_| report.passed) else {
        let reply = GateReply { passed: false, reasons: report.reasons, generation: 0 };
        return Ok(round.done(reply));
    };
    let generation = round.begin(job, table).await?;
    Ok(round.done(GateReply { passed: true, reasons: report.reasons, generation }))
}

/// What the steps have in common.
struct Round<'a> {
    desk: &'a Desk,
    tenant: &'a TenantId,
    resolved: &'a Resolved,
    registry: &'a Registry,
    record: &'a ModelRecord,
    context: &'a Context,
}

impl Round<'_> {
    const fn collection(&self) -> &CollectionId {
        &self.resolved.collection.id
    }

    fn promotions(&self) -> Promotions {
        Promotions::new(Arc::clone(&self.desk.store), self.tenant, self.collection())
    }

    fn model(&self, generation: u32, calibration: Option<CalibrationTable>) -> ServingModel {
        ServingModel { id: Some(self.record.id.clone()), contract: self.record.contract, generation, calibration }
    }

    fn done(&self, reply: GateReply) -> Done {
        Done { outcome: Outcome::Gate(reply), model_version: Arc::clone(&self.resolved.served.version) }
    }

    /// The answer where this very model is being prepared already: a repetition, or somebody who wants it to go on. Its
    /// strand is sent for again, in case it was lost; two of them do no harm.
    async fn under_way(&self) -> Result<Option<GateReply>, Problem> {
        let building = self.resolved.collection.serving().building;
        let Some(building) = building.filter(|b| b.contract == self.record.contract) else { return Ok(None) };
        if let Some(promotion) = self.promotions().get().await.map_err(store_problem)? {
            promotion::send(self.desk, self.tenant, self.collection(), &promotion.value.job).await?;
        }
        let reasons = vec!["the model has passed and is being prepared".to_owned()];
        Ok(Some(GateReply { passed: true, reasons, generation: building.generation }))
    }

    /// Refuses where the collection's policy does, before anything is measured.
    async fn nobody_is_lost(&self) -> Result<(), Problem> {
        if self.resolved.collection.promotion.without_crops == WithoutCrops::Leave {
            return Ok(());
        }
        let faces =
            self.desk.subjects(self.tenant, self.collection()).count().await.map_err(store_problem)?.faces as u64;
        let crops = match &self.desk.crops {
            Some(crops) => {
                let at = In { tenant: self.tenant, collection: self.collection() };
                crops.count(at).await.map_err(|e| Problem::new(e.code(), e.to_string()))?
            }
            None => 0,
        };
        if crops >= faces {
            return Ok(());
        }
        Err(promotion::left_behind(faces - crops))
    }

    /// What both models do, and the decision; with a score table for the candidate where one can be had.
    async fn measured(&self, candidate: &Served) -> Result<(GateReport, Option<CalibrationTable>), Problem> {
        let (desk, champion, gate) = (self.desk, &*self.resolved.served, &self.desk.config.gate);
        let place = Place { tenant: self.tenant, collection: self.collection() };
        let held_out = held_out::look(desk, place, (champion, candidate), self.record, self.context).await?;
        let mut notes = held_out.notes;
        let general = match &gate.general_set {
            Some(folder) => {
                let (set, faceless) = general::look(desk, folder, (champion, candidate), self.context).await?;
                if faceless > 0 {
                    notes.push(format!("{faceless} photos of the general set show no face and were left out."));
                }
                Some(set)
            }
            None => None,
        };
        let (policy, resamples) = (gate.policy, gate.resamples);
        let (from_manifest, table_id) =
            (candidate.calibration.clone(), format!("{}.{}", self.record.id, self.collection()));
        // Thousands of resamples: no async thread may be held for that long.
        let work = move || {
            let bootstrap = Bootstrap { resamples, ..Bootstrap::default() };
            let part = |set: &GateSet| set.measure(bootstrap).ok();
            let table = table([Some(&held_out.set), general.as_ref()], from_manifest, &table_id);
            let (first, second): (Option<GatePart>, _) = (part(&held_out.set), general.as_ref().and_then(part));
            let mut report = decide(first, second, policy, notes);
            match &table {
                Ok((_, note)) => report.notes.push(note.clone()),
                Err(why) => {
                    report.passed = false;
                    report.reasons.push(why.clone());
                }
            }
            (report, table.ok().map(|(table, _)| table))
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Problem::new(ErrorCode::Internal, "the measurement broke off"))
    }

    /// Puts down what was found.
    async fn note(&self, found: &GateReport) -> Result<(), Problem> {
        let page = report::gate(found, &self.record.name, &self.resolved.served.word.name);
        let internal = |e: serde_json::Error| Problem::new(ErrorCode::Internal, e.to_string());
        let document = serde_json::to_value(found).map_err(internal)?;
        let report = ModelReport { at: Timestamp::now(), passed: found.passed, document, page };
        let models = self.registry.records(self.tenant);
        models.note(&self.record.id, self.collection(), &report).await.map_err(store_problem)
    }

    /// Begins the promotion; the number of the generation that comes of it.
    async fn begin(&self, job: &str, table: CalibrationTable) -> Result<u32, Problem> {
        // The job's own id for its strand, so that a second delivery does not begin another.
        let strand = JobId::new(format!("{job}.p")).unwrap_or_else(|_| JobId::generate());
        let model = (Some(self.record.id.clone()), self.record.contract);
        let promotions = self.promotions();
        let begun = promotions.change(None, |collection, _| {
            if collection.contract != self.resolved.collection.contract {
                let detail = "another model answers for the collection by now: ask again";
                return Err(Problem::new(ErrorCode::Conflict, detail));
            }
            collection.prepare(self.record.id.clone(), self.record.contract, table.clone())?;
            Ok(PromotionRecord::new(strand.clone(), model.clone(), PromotionPhase::Preparing))
        });
        let (collection, _) = begun.await.map_err(change_problem)?;
        promotion::send(self.desk, self.tenant, self.collection(), &strand).await?;
        let generation = collection.value.serving().building.map_or(0, |b| b.generation);
        tracing::info!(model = %self.record.id, collection = %self.collection(), generation, "a promotion has begun");
        Ok(generation)
    }
}

/// A score table for the candidate, and what it rests on: made from the pictures at hand where these are very many, or
/// where the manifest brings none.
fn table(
    sets: [Option<&GateSet>; 2],
    manifest: Option<CalibrationTable>,
    id: &str,
) -> Result<(CalibrationTable, String), String> {
    let none = SamePerson::default();
    let of = |set: &GateSet| set.candidate.non_mated(&set.subjects, &none, MOST_SCORES).scores;
    let mut scores: Vec<f32> = sets.into_iter().flatten().flat_map(of).collect();
    let found = scores.len();
    let made = calibrate(&mut scores);
    match manifest {
        Some(table) if found < OWN_TABLE => {
            let mut note =
                format!("Thresholds: the manifest's table; {found} non-mated scores are too few for another.");
            // Where the two are far apart, a person has to look.
            for row in made.iter().flat_map(|m| &m.rows).filter(|r| !r.extrapolated) {
                let (fmr, here, there) = (row.fmr, row.score, table.score_at(row.fmr).0);
                note.push_str(&format!(" At FMR {fmr:e} it says {there:.3}, these pictures say {here:.3}."));
            }
            Ok((table, note))
        }
        _ => {
            let note = format!("Thresholds: a table from {found} non-mated scores of the pictures looked at.");
            let table = made.and_then(|made| made.table(id));
            table.map(|table| (table, note)).map_err(|e| format!("thresholds: {e}, and the manifest brings no table"))
        }
    }
}

pub(super) fn change_problem(e: ChangeError) -> Problem {
    match e {
        ChangeError::Repo(e) => store_problem(e),
        ChangeError::Refused(problem) => problem,
    }
}
