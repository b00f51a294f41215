//! The report of a run: one page from its record, its documents and what its learner left. Kept beside the record at the
//! end; the gateway only hands it out.

use bytes::Bytes;
use domain::RunFailure;
use evaluation::{
    document::training_run::{Comparison, Step, TrainingRun},
    report,
};
use store::RunRecord;

use crate::{Halt, base::Base, carrier::Carrier, evaluate::Evaluation};

/// Name of the page beside a run's record.
pub const DOCUMENT: &str = "report.html";

/// Name of the curves that a learner leaves: one JSON object a line with `step`, `loss` and `learning_rate`.
pub const CURVES: &str = "metrics";

/// Steps drawn at most; of more, every so manieth.
const MOST_STEPS: usize = 600;

/// The page of a run that came to a candidate.
///
/// # Errors
/// A store that is away.
pub async fn page(
    carrier: &Carrier,
    run: &RunRecord,
    base: &Base,
    evaluation: Option<&Evaluation>,
) -> Result<Bytes, Halt> {
    let curves = carrier.runs.document(&carrier.id, CURVES).await?;
    let measured = evaluation.and_then(|e| e.measured.as_ref());
    let document = TrainingRun {
        licence: Some(format!("{}: {}", base.manifest.name, base.manifest.licence)),
        steps: curves.map(|text| steps(&text)).unwrap_or_default(),
        parity: evaluation.map(|e| e.parity),
        not_measured: evaluation.and_then(|e| e.not_measured.clone()),
        comparison: measured.map(|m| Comparison {
            subjects: m.subjects,
            crops: m.crops,
            base: (m.base.report.clone(), m.base.curve.clone()),
            candidate: (m.candidate.report.clone(), m.candidate.curve.clone()),
            paired: m.paired.clone(),
        }),
        ..of(run)
    };
    Ok(report::training_run(&document).into())
}

/// The page of a run that failed.
pub fn of_failure(run: &RunRecord, failure: &RunFailure) -> Bytes {
    let document = TrainingRun { failure: Some(failure.clone()), ..of(run) };
    report::training_run(&document).into()
}

/// What the record alone says.
fn of(run: &RunRecord) -> TrainingRun {
    TrainingRun {
        run: run.id.to_string(),
        state: run.state.to_string(),
        recipe: run.recipe.to_string(),
        overrides: run.overrides.iter().map(|(k, v)| (k.clone(), v.to_string())).collect(),
        base_model: run.base_model.to_string(),
        collections: run.collections.iter().map(ToString::to_string).collect(),
        purpose: run.purpose.as_ref().map(|p| p.as_str().to_owned()),
        created_at: Some(run.created_at),
        ended_at: run.ended_at,
        resumes: run.resumes,
        restarts: run.restarts,
        lineage: run.lineage.clone(),
        model: run.model.clone(),
        ..TrainingRun::default()
    }
}

/// The steps that a learner wrote down. What cannot be read is passed over.
fn steps(text: &[u8]) -> Vec<Step> {
    let lines = text.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Step>(line).ok());
    let all: Vec<Step> = lines.filter(|s| s.loss.is_finite() && s.learning_rate.is_finite()).collect();
    let every = all.len().div_ceil(MOST_STEPS).max(1);
    all.into_iter().step_by(every).collect()
}
