//! `visavis bench pipeline`: photos to templates through the worker's own stages, beside the time that the two models
//! alone take on the same threads.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::Problem;
use prometheus::{HistogramVec, Registry};
use runtime::Config;
use serde::Serialize;
use tokio::task::JoinSet;
use worker::{Context, Metrics, Pipeline, Timings};

use super::{
    Report,
    machine::cores,
    median,
    pictures::{pictures_below, spread},
};
use crate::cli::PipelineArgs;
use crate::failure::Failure;
use crate::{artefacts, sample, wiring};

/// No photo takes longer than this, however slow the machine.
const PER_PHOTO: Duration = Duration::from_secs(120);

/// Stages of this bench, as the worker's histogram labels them.
const STAGES: [&str; 4] = ["decode", "detect", "align", "embed"];

/// What `bench pipeline` found.
#[derive(Debug, Serialize)]
pub struct PipelineReport {
    models: [String; 2],
    photos: usize,
    /// Photos without a face.
    without_face: usize,
    concurrency: usize,
    /// Model runs at a time.
    engines: usize,
    /// Photos a second, the median of the rounds.
    photos_per_second: f64,
    /// What the models alone do on the same threads: the detector on the same canvases, one face each.
    bound_per_second: f64,
    /// Photos a second over the bound of the same round: the median.
    share_of_bound: f64,
    rounds: Vec<Round>,
    /// Mean milliseconds per photo, waiting for a core included.
    stages_ms: Vec<(&'static str, f64)>,
    /// Mean milliseconds of one run.
    model_ms: Vec<(&'static str, f64)>,
}

#[derive(Debug, Serialize)]
struct Round {
    photos_per_second: f64,
    bound_per_second: f64,
}

/// A photo in memory.
#[derive(Clone)]
pub struct Photo {
    bytes: Bytes,
    /// On which the detector looks at it.
    canvases: Vec<(u32, u32)>,
    has_face: bool,
}

/// Runs the rounds.
///
/// # Errors
/// No photos, models that cannot be loaded, a photo that cannot be read.
pub async fn run(config: &Config, args: &PipelineArgs) -> Result<PipelineReport, Failure> {
    let files = photos(config, args).await?;
    let (pipeline, models, metrics) = load_pipeline(config).await?;
    let concurrency = if args.concurrency == 0 { 2 * cores() } else { args.concurrency };

    // The first pass meets every canvas size once, and the engines set up their memory for it.
    let photos = Arc::new(through(&pipeline, files, concurrency, &metrics.stage_seconds).await?);
    let engines = pipeline.engines().ok_or_else(|| Failure::Usage("bench pipeline measures processors".into()))?;
    let before = Sums::of(&metrics);
    let mut rounds = Vec::new();
    for _ in 0..args.rounds.max(1) {
        let files = photos.iter().map(|p| p.bytes.clone()).collect();
        let start = Instant::now();
        through(&pipeline, files, concurrency, &metrics.stage_seconds).await?;
        let photos_per_second = photos.len() as f64 / start.elapsed().as_secs_f64();
        let bound_per_second = alone(&pipeline, &photos, engines).await?;
        rounds.push(Round { photos_per_second, bound_per_second });
    }
    let spent = Sums::of(&metrics);
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    Ok(PipelineReport {
        models,
        photos: photos.len(),
        without_face: photos.iter().filter(|p| !p.has_face).count(),
        concurrency,
        engines,
        photos_per_second: of(|r| r.photos_per_second),
        bound_per_second: of(|r| r.bound_per_second),
        share_of_bound: of(|r| r.photos_per_second / r.bound_per_second),
        rounds,
        stages_ms: STAGES.into_iter().zip(spent.stages.iter().zip(&before.stages).map(mean)).collect(),
        model_ms: ["detector", "embedder"].into_iter().zip(spent.runs.iter().zip(&before.runs).map(mean)).collect(),
    })
}

/// The worker's pipeline as configured, the names of its models, and what it counts.
///
/// # Errors
/// Models that cannot be loaded.
pub async fn load_pipeline(config: &Config) -> Result<(Pipeline, [String; 2], Metrics), Failure> {
    let (section, provider) = (config.models.clone(), config.worker.provider);
    let loading = tokio::task::spawn_blocking(move || artefacts::prepare(&section, provider));
    let artefacts = loading.await.map_err(|e| Failure::Other(format!("loading was interrupted: {e}")))??;
    let models = [&artefacts.models.detector, &artefacts.models.embedder].map(|m| m.manifest.name.clone());
    let metrics = Metrics::register(&Registry::new()).map_err(|e| Failure::Other(e.to_string()))?;
    let settings = wiring::worker(config);
    let pipeline = worker::load_pipeline(&settings, artefacts.models, artefacts.runtime, Some(&metrics)).await?;
    Ok((pipeline, models, metrics))
}

/// Photos of the folder, evenly over their names, or the sample photo.
async fn photos(config: &Config, args: &PipelineArgs) -> Result<Vec<Bytes>, Failure> {
    let files = match &args.images {
        Some(folder) => spread(pictures_below(folder)?, args.count),
        None => {
            let section = config.models.clone();
            let finding = tokio::task::spawn_blocking(move || sample::cached(&section));
            vec![finding.await.map_err(|e| Failure::Other(format!("the search was interrupted: {e}")))??]
        }
    };
    let limits = wiring::worker(config).limits;
    let read = |path: PathBuf| {
        let bytes: Bytes = fs::read(&path).map_err(|e| Failure::io("the photo", &path, &e))?.into();
        let usable = vision::probe(&bytes, &limits);
        usable.map_err(|e| Failure::Usage(format!("{} is not usable: {e}", path.display())))?;
        Ok(bytes)
    };
    let photos: Vec<_> = files.into_iter().map(read).collect::<Result<_, Failure>>()?;
    if photos.is_empty() { Err(Failure::Usage("--images names a folder without photos".into())) } else { Ok(photos) }
}

/// Every photo once, so many under way at a time: with what was seen in it, in no order.
///
/// # Errors
/// A photo that cannot be read.
pub async fn through(
    pipeline: &Pipeline,
    photos: Vec<Bytes>,
    concurrency: usize,
    stages: &HistogramVec,
) -> Result<Vec<Photo>, Failure> {
    let (mut waiting, mut tasks, mut seen) = (photos.into_iter(), JoinSet::new(), Vec::new());
    loop {
        while tasks.len() < concurrency
            && let Some(bytes) = waiting.next()
        {
            let pipeline = pipeline.clone();
            let timings = Arc::new(Timings::new(stages.clone()));
            tasks.spawn(async move {
                let context = Context { deadline: Instant::now() + PER_PHOTO, timings };
                let analysis = pipeline.analyse(bytes.clone(), 1, &context).await?;
                Ok::<_, Problem>(Photo { bytes, canvases: analysis.canvases, has_face: !analysis.faces.is_empty() })
            });
        }
        match tasks.join_next().await {
            None => return Ok(seen),
            Some(Err(e)) => return Err(Failure::Other(format!("a photo was interrupted: {e}"))),
            Some(Ok(photo)) => {
                seen.push(photo.map_err(|p| Failure::Usage(format!("a photo is not usable: {p}")))?);
            }
        }
    }
}

/// Photos a second if there were nothing but the models, as many at a time as there are engines.
///
/// # Errors
/// A model that does not run.
pub async fn alone(pipeline: &Pipeline, photos: &Arc<Vec<Photo>>, engines: usize) -> Result<f64, Failure> {
    let start = Instant::now();
    let mut threads = JoinSet::new();
    for first in 0..engines {
        let (pipeline, photos) = (pipeline.clone(), Arc::clone(photos));
        threads.spawn_blocking(move || {
            photos.iter().skip(first).step_by(engines).try_for_each(|p| pipeline.models_alone(&p.canvases))
        });
    }
    while let Some(done) = threads.join_next().await {
        let done = done.map_err(|e| Failure::Other(format!("a run was interrupted: {e}")))?;
        done.map_err(|p| Failure::Other(p.to_string()))?;
    }
    Ok(photos.len() as f64 / start.elapsed().as_secs_f64())
}

/// Sums and counts of the histograms so far.
struct Sums {
    stages: Vec<(f64, u64)>,
    runs: Vec<(f64, u64)>,
}

impl Sums {
    fn of(metrics: &Metrics) -> Self {
        let read = |h: &HistogramVec, label: &str| {
            let one = h.with_label_values(&[label]);
            (one.get_sample_sum(), one.get_sample_count())
        };
        Self {
            stages: STAGES.iter().map(|s| read(&metrics.stage_seconds, s)).collect(),
            runs: ["detector", "embedder"].iter().map(|m| read(&metrics.model_seconds, m)).collect(),
        }
    }
}

/// Milliseconds of one observation between two readings.
fn mean(((after, n), (before, m)): (&(f64, u64), &(f64, u64))) -> f64 {
    1000.0 * (after - before) / (n - m).max(1) as f64
}

impl Report for PipelineReport {
    fn table(&self) -> String {
        let mut text = format!(
            "{} + {}, {} photos ({} without a face), {} under way, {} model runs at a time\n\
             {:.1} photos/s; the models alone {:.1}/s; share {:.1} %\n",
            self.models[0],
            self.models[1],
            self.photos,
            self.without_face,
            self.concurrency,
            self.engines,
            self.photos_per_second,
            self.bound_per_second,
            100.0 * self.share_of_bound,
        );
        for (name, ms) in &self.stages_ms {
            text.push_str(&format!("  {name:9} {ms:8.3} ms, waiting for a core included\n"));
        }
        for (name, ms) in &self.model_ms {
            text.push_str(&format!("  {name:9} {ms:8.3} ms a run, both sides of the comparison\n"));
        }
        text
    }
}
