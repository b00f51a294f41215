//! A run from its dataset to a candidate: prepare, train, evaluate, register. Every step finds what an earlier trainer left
//! of it; who has to be left out meanwhile makes the run begin anew without them.

use std::sync::Arc;

use bytes::Bytes;
use domain::{RunFailureCode, RunProgress, RunState, Timestamp};
use store::RunRecord;
use tokio::{runtime::Handle, sync::watch};

use crate::{
    Halt,
    base::{self, Base},
    candidates::{self, Candidate},
    carrier::Carrier,
    dataset::{
        Gate, Parts, Reader,
        manifest::{self, Manifest},
        prepare,
    },
    desk::Desk,
    evaluate::{self, Evaluation},
    learner::{Learnt, Task},
    parity,
    quiet::quietly,
    report,
    serve::Served,
    stop::Stop,
    tables,
    watch::{Watcher, report as tell},
};

/// How often a run begins anew before it is given up: somebody leaves again and again.
const MOST_RESTARTS: u32 = 5;

/// Documents that tell of a dataset, which go with it.
const OF_A_DATASET: [&str; 2] = [manifest::DOCUMENT, evaluate::DOCUMENT];

/// Carries out a run to its end.
///
/// # Errors
/// Why it does not get there; a failure is still to be written down.
pub async fn carry_out(desk: &Desk, carrier: &Carrier, stop: &Arc<Stop>) -> Result<RunRecord, Halt> {
    loop {
        match attempt(desk, carrier, stop).await {
            Err(Halt::Changed) => {
                begin_anew(desk, carrier).await?;
            }
            done => return done,
        }
    }
}

/// Forgets everything that was learnt from a dataset in which somebody must not be any more.
async fn begin_anew(desk: &Desk, carrier: &Carrier) -> Result<(), Halt> {
    let run = carrier
        .write(&[], |run| {
            run.restarts += 1;
            (run.lineage, run.checkpoint, run.trained, run.progress) = (None, None, None, None);
        })
        .await?;
    desk.metrics.restarted.inc();
    carrier.vault.clear().await?;
    carrier.runs.drop_documents(&carrier.id, &OF_A_DATASET).await?;
    if run.restarts > MOST_RESTARTS {
        let detail =
            format!("the run began anew {MOST_RESTARTS} times because somebody was erased or withdrew meanwhile");
        return Err(Halt::failed(RunFailureCode::ConsentsChanged, detail));
    }
    tracing::info!(run = %carrier.id, restarts = run.restarts, "the training begins anew with those who are left");
    Ok(())
}

/// What a run is about, once it is known.
struct Work<'a> {
    desk: &'a Desk,
    carrier: &'a Carrier,
    stop: &'a Arc<Stop>,
    gate: Arc<Gate>,
    base: Arc<Base>,
    manifest: Arc<Manifest>,
    data: Arc<Parts>,
}

async fn attempt(desk: &Desk, carrier: &Carrier, stop: &Arc<Stop>) -> Result<RunRecord, Halt> {
    let run = carrier.enter(RunState::Preparing).await?;
    let base = Arc::new(base::of_run(desk, &carrier.tenant, &run).await?);
    let gate = Gate::new(
        Arc::clone(&desk.store),
        desk.crops.clone(),
        carrier.tenant.clone(),
        (run.collections.clone(), run.purpose.clone()),
    );
    let reader = Reader {
        crops: &desk.crops,
        tenant: &carrier.tenant,
        stop,
        alignment: base.alignment.name(),
        room: desk.config.crop_bytes,
    };
    let decided = decided(carrier, &run).await?;
    let known = decided.is_some();
    let (manifest, data) = prepare(&gate, &reader, decided).await?;
    if !known {
        let text = serde_json::to_vec(&manifest).map_err(Halt::internal)?;
        let lineage = manifest.lineage();
        carrier.write(&[(manifest::DOCUMENT, text.into())], |run| run.lineage = Some(lineage.clone())).await?;
    }
    let (gate, manifest) = (Arc::new(gate), Arc::new(manifest));
    let work = Work { desk, carrier, stop, gate, base, manifest, data };
    let onnx = work.trained(&run).await?;
    let evaluation = work.evaluated(&onnx).await?;
    work.registered(&onnx, &evaluation).await
}

/// The manifest that an earlier trainer decided on.
async fn decided(carrier: &Carrier, run: &RunRecord) -> Result<Option<Manifest>, Halt> {
    if run.lineage.is_none() {
        return Ok(None);
    }
    let text = carrier.runs.document(&carrier.id, manifest::DOCUMENT).await?;
    text.map(|t| serde_json::from_slice(&t).map_err(Halt::internal)).transpose()
}

impl Work<'_> {
    /// The trained model: an earlier trainer's, or made now.
    async fn trained(&self, run: &RunRecord) -> Result<Arc<Vec<u8>>, Halt> {
        if let Some(object) = &run.trained
            && let Some(onnx) = self.carrier.vault.open(object).await?
        {
            return Ok(Arc::new(onnx));
        }
        self.stop.check()?;
        let run = self.carrier.enter(RunState::Training).await?;
        let (Learnt { onnx, papers }, last) = self.learn(&run).await?;
        let object = self.carrier.vault.put("trained", &onnx).await?;
        let papers: Vec<(&str, Bytes)> = papers.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
        let kept = self.carrier.write(&papers, |run| {
            run.trained = Some(object.clone());
            run.progress = last.or(run.progress);
            run.fruitless = 0;
        });
        kept.await?;
        Ok(Arc::new(onnx))
    }

    /// Learns; gives how far it had come at its end as well.
    async fn learn(&self, run: &RunRecord) -> Result<(Learnt, Option<RunProgress>), Halt> {
        let (latest, news) = watch::channel(run.progress);
        let last = news.clone();
        let watcher = Watcher {
            carrier: self.carrier.clone(),
            stop: Arc::clone(self.stop),
            metrics: self.desk.metrics.clone(),
            runtime: Handle::current(),
            gate: Arc::clone(&self.gate),
            manifest: Arc::clone(&self.manifest),
            first: run.checkpoint.clone(),
            latest,
        };
        let task = Task {
            recipe: run.recipe,
            overrides: run.overrides.clone(),
            base: Arc::clone(&self.base),
            data: Arc::clone(&self.data),
            threads: self.desk.config.threads,
        };
        let learner = Arc::clone(&self.desk.learner);
        // Ends when the watcher is gone.
        let telling = tell(self.carrier.clone(), news, Arc::clone(self.stop), self.desk.config.report_every);
        let telling = tokio::spawn(telling);
        let learnt = quietly(self.desk.config.niceness, move || learner.learn(&task, &watcher)).await;
        telling.abort();
        let last = *last.borrow();
        Ok((learnt?, last))
    }

    /// Measures it beside the model it began with, both as they are served.
    async fn evaluated(&self, onnx: &Arc<Vec<u8>>) -> Result<Evaluation, Halt> {
        self.stop.check()?;
        self.carrier.enter(RunState::Evaluating).await?;
        self.gate.still_allowed(&self.manifest).await?;
        let (desk, onnx) = (self.desk, Arc::clone(onnx));
        let (runtime, learner, threads) = (desk.runtime.clone(), Arc::clone(&desk.learner), desk.config.threads);
        let (base, data, stop) = (Arc::clone(&self.base), Arc::clone(&self.data), Arc::clone(self.stop));
        let name = self.carrier.id.to_string();
        quietly(desk.config.niceness, move || {
            let mut candidate = Served::load(&runtime, &onnx, &base, threads)?;
            let parity = parity::check(&*learner, &mut candidate, &base, &onnx, &data)?;
            stop.check()?;
            let after = candidate.embed(&data.held_out)?;
            let before = Served::load(&runtime, &base.onnx, &base, threads)?.embed(&data.held_out)?;
            stop.check()?;
            let measured = evaluate::measure(&data.held_out, &before, &after)?;
            let tables = tables::carried_over(&base.manifest, (&name, &data.held_out), (&before, &after));
            Ok(Evaluation::new(parity, measured, tables))
        })
        .await
    }

    /// Hands the candidate over, and ends the run.
    async fn registered(&self, onnx: &[u8], evaluation: &Evaluation) -> Result<RunRecord, Halt> {
        self.stop.check()?;
        let run = self.carrier.enter(RunState::Registering).await?;
        let measures = Bytes::from(serde_json::to_vec(evaluation).map_err(Halt::internal)?);
        // The last look before anything comes of it.
        self.gate.still_allowed(&self.manifest).await?;
        let candidate = Candidate {
            tenant: &self.carrier.tenant,
            run: &self.carrier.id,
            base: &self.base,
            onnx,
            score_tables: evaluation.score_tables.clone(),
            lineage: candidates::lineage(&run, &self.manifest, evaluation),
        };
        let model = self.desk.registry.register(candidate).await?;
        let now = Timestamp::now();
        let ended = |run: &mut RunRecord| {
            run.model = Some(model.clone());
            run.end(RunState::Done, now);
        };
        let mut whole = run;
        ended(&mut whole);
        let page = report::page(self.carrier, &whole, &self.base, Some(evaluation)).await?;
        self.carrier.write(&[(evaluate::DOCUMENT, measures), (report::DOCUMENT, page)], ended).await
    }
}
