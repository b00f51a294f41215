//! The last stage: the weights that were best on validation go into the graph they are from, whose nodes stay as they
//! were, and the page about the run is drawn.

use std::fs;

use evaluation::document::{LossPoint, TRAINING, Training, TrainingData, TrainingLineage, ValidationPoint};
use onnx::ModelProto;
use sha2::{Digest, Sha256};

use super::{Finished, Open, evaluate::Evaluation, prepare::Prepared};
use crate::{
    TrainingError,
    checkpoint::Place,
    files::{write_json, write_whole},
    run::{Metric, Run, RunRecord, Stage},
};

/// Writes model and page. The network holds the best weights.
pub(super) fn export(
    run: &mut Run,
    (prepared, (measured, place)): (&Prepared, (Evaluation, Place)),
    open: &mut Open<'_>,
    (model, steps): (&ModelProto, u64),
) -> Result<Finished, TrainingError> {
    let mut trained = model.clone();
    open.network.write_into(&mut trained)?;
    let bytes = onnx::encode(&trained);
    let file = run.path("model").join("model.onnx");
    fs::create_dir_all(run.path("model")).map_err(|e| TrainingError::write(&file, e))?;
    write_whole(&file, &bytes)?;
    run.record.model_sha256 = Some(hex::encode(Sha256::digest(&bytes)));
    let document = document(run, prepared, &measured, (place.best_step, steps))?;
    write_json(&run.path("report.json"), &document)?;
    write_whole(&run.path("report.html"), evaluation::report::training(&document).as_bytes())?;
    run.done(Stage::Export)?;
    Ok(Finished {
        model: file,
        report: run.path("report.html"),
        best_step: place.best_step,
        steps,
        document,
        probes: measured.probes,
    })
}

fn document(
    run: &Run,
    prepared: &Prepared,
    measured: &Evaluation,
    (best_step, steps): (u64, u64),
) -> Result<Training, TrainingError> {
    let metrics = run.metrics()?;
    let loss = |m: &Metric| match m {
        Metric::Step(s) => Some(LossPoint { step: s.step, loss: s.loss, learning_rate: s.lr, accuracy: s.accuracy }),
        Metric::Validation(_) => None,
    };
    let validation = |m: &Metric| match m {
        Metric::Validation(v) => {
            Some(ValidationPoint { step: v.step, tar: v.tar, fmr: v.fmr, auc: v.auc, best: v.best })
        }
        Metric::Step(_) => None,
    };
    let speeds = metrics.iter().filter_map(|m| if let Metric::Step(s) = m { Some(s.images_per_second) } else { None });
    let (count, sum) = speeds.fold((0usize, 0.0), |(n, sum), s| (n + 1, sum + s));
    let r = &prepared.photos.report;
    Ok(Training {
        schema: TRAINING.to_owned(),
        recipe: run.record.recipe.name.clone(),
        method: run.record.recipe.method.as_str().to_owned(),
        best_step,
        steps,
        losses: metrics.iter().filter_map(loss).collect(),
        validations: metrics.iter().filter_map(validation).collect(),
        protocols: measured.protocols.clone(),
        images_per_second: if count > 0 { sum / count as f64 } else { 0.0 },
        data: TrainingData {
            identities: r.identities,
            samples: r.samples,
            unusable: r.unusable.len(),
            near_duplicates: r.near_duplicates.len(),
            suspects: r.suspects.len(),
            balance: r.balance,
            split: r.split.clone(),
            yaw: r.yaw.map(|s| [s.low, s.median, s.high]),
            pitch: r.pitch.map(|s| [s.low, s.median, s.high]),
            quality: r.quality.map(|s| [s.low, s.median, s.high]),
            warnings: r.warnings.clone(),
        },
        lineage: lineage(&run.record),
    })
}

/// Where everything comes from, as names and what is said of them.
fn lineage(record: &RunRecord) -> Vec<TrainingLineage> {
    let l = &record.lineage;
    let consents = match &l.consents {
        Some(snapshot) => snapshot.to_string(),
        None => "no record: the photos were given by whoever started the run".to_owned(),
    };
    let all = [
        ("run", record.id.clone()),
        (
            "program",
            match &l.revision {
                Some(revision) => format!("visavis {}, revision {revision}", record.visavis),
                None => format!("visavis {}", record.visavis),
            },
        ),
        ("seed and threads", format!("{}, {}", record.recipe.seed, record.recipe.threads)),
        ("began with", format!("{}, SHA-256 {}", l.init.as_deref().unwrap_or("a model"), record.init_sha256)),
        ("licence of that model", l.licence.clone().unwrap_or_else(|| "not stated".to_owned())),
        ("photos", format!("{}, SHA-256 {}", l.source, record.dataset.sha256)),
        ("consents", consents),
        ("model", record.model_sha256.clone().unwrap_or_default()),
    ];
    all.into_iter().map(|(name, value)| TrainingLineage { name: name.to_owned(), value }).collect()
}
