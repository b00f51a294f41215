//! `visavis eval verification`: embeds each distinct picture once through the worker's own pipeline, compares the
//! pairs, and reports after ISO/IEC 19795-1.

mod embed;
mod pairs;
mod show;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use evaluation::{Bootstrap, Comparison, Scores, VerificationReport, report};
use runtime::Config;
use runtime::telemetry;
use serde::Serialize;
use worker::WorkerConfig;

use crate::cli::VerificationArgs;
use crate::failure::Failure;
use crate::{artefacts, output, wiring};
use embed::{Embedded, embed_all};
use pairs::Pair;

/// Everything about one evaluation, as `--json` writes it.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// Version of this program.
    visavis: &'static str,
    /// Manifest names and contract.
    models: Models,
    /// File names of the protocol.
    protocol: Protocol,
    /// The measures.
    report: VerificationReport,
    /// Pictures without a template, and why.
    failures: Vec<FailedImage>,
    /// How fast.
    speed: Speed,
}

#[derive(Debug, Serialize)]
struct Models {
    detector: String,
    embedder: String,
    contract: domain::ContractId,
}

#[derive(Debug, Serialize)]
struct Protocol {
    pairs: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold_from: Option<String>,
    /// Which face of a picture is compared.
    face: &'static str,
}

#[derive(Debug, Serialize)]
struct FailedImage {
    image: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Speed {
    images: usize,
    seconds: f64,
    images_per_second: f64,
}

/// Runs the protocol, prints the report and writes it where asked.
///
/// # Errors
/// Unusable input files or models.
pub async fn verification(config: Config, args: VerificationArgs) -> Result<(), Failure> {
    telemetry::init(&config.telemetry)?;
    let test = pairs::read(&args.pairs)?;
    let train = args.threshold_from.as_deref().map(pairs::read).transpose()?.unwrap_or_default();
    let names: BTreeSet<&str> = test.iter().chain(&train).flat_map(|p| [p.left.as_str(), p.right.as_str()]).collect();
    let images = pairs::locate(&args.images, &names)?;

    let (models, provider) = (config.models.clone(), config.worker.provider);
    let loading = tokio::task::spawn_blocking(move || artefacts::prepare(&models, provider));
    let artefacts = loading.await.map_err(|e| Failure::Other(format!("loading was interrupted: {e}")))??;
    let names = [&artefacts.models.detector, &artefacts.models.embedder].map(|m| m.manifest.name.clone());
    let settings = WorkerConfig { session_threads: args.threads, cpu_threads: args.threads, ..wiring::worker(&config) };
    let pipeline = worker::load_pipeline(&settings, artefacts.models, artefacts.runtime, None).await?;

    let start = Instant::now();
    let embedded = embed_all(&pipeline, images).await?;
    let seconds = start.elapsed().as_secs_f64();
    let threshold = match train.as_slice() {
        [] => None,
        train => Some(Scores::from_comparisons(&compare(train, &embedded)).map_err(unusable)?.best_threshold()),
    };
    let failed = in_pairs(&test, &embedded).filter(|name| embedded.template(name).is_none()).count();
    let counts = (in_pairs(&test, &embedded).count(), failed);
    let report = report(&compare(&test, &embedded), counts, threshold, Bootstrap::default()).map_err(unusable)?;
    let [detector, embedder] = names;
    let evaluation = Evaluation {
        visavis: env!("CARGO_PKG_VERSION"),
        models: Models { detector, embedder, contract: pipeline.contract() },
        protocol: Protocol {
            pairs: file_name(&args.pairs),
            threshold_from: args.threshold_from.as_deref().map(file_name),
            face: "the most prominent: largest and most central",
        },
        report,
        failures: embedded
            .failures()
            .map(|(image, reason)| FailedImage { image: image.to_owned(), reason: reason.to_owned() })
            .collect(),
        speed: Speed { images: embedded.len(), seconds, images_per_second: embedded.len() as f64 / seconds },
    };
    output::text(&show::table(&evaluation));
    args.json.as_deref().map_or(Ok(()), |path| write_json(path, &evaluation))
}

/// Distinct pictures of the pairs.
fn in_pairs<'a>(pairs: &'a [Pair], embedded: &'a Embedded) -> impl Iterator<Item = &'a str> {
    let names: BTreeSet<&str> = pairs.iter().flat_map(|p| [p.left.as_str(), p.right.as_str()]).collect();
    names.into_iter().filter(|n| embedded.knows(n))
}

fn compare(pairs: &[Pair], embedded: &Embedded) -> Vec<Comparison> {
    let score = |p: &Pair| {
        let (left, right) = (embedded.template(&p.left)?, embedded.template(&p.right)?);
        left.score(right).map(f64::from)
    };
    pairs.iter().map(|p| Comparison { mated: p.same, score: score(p) }).collect()
}

fn unusable(e: evaluation::EvaluationError) -> Failure {
    Failure::Usage(format!("{e}. Check the pairs"))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn write_json(path: &Path, evaluation: &Evaluation) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(evaluation)
        .map_err(|e| Failure::Other(format!("the report has no JSON form: {e}")))?;
    std::fs::write(path, text + "\n").map_err(|e| Failure::io("the report", path, &e))
}
