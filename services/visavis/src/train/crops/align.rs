//! The service's own detector and alignment on photos, several at a time. Called by `train` and its preview.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ErrorCode;
use indicatif::{ProgressBar, ProgressStyle};
use prometheus::Registry;
use runtime::Config;
use tokio::task::JoinSet;
use training::About;
use worker::{Context, Metrics, Pipeline, Timings};

use super::Face;
use crate::failure::Failure;
use crate::{artefacts, wiring};

/// No photo takes longer than this, however slow the machine.
const PER_PHOTO: Duration = Duration::from_secs(120);

/// Finds and aligns faces.
pub struct Aligner {
    pipeline: Pipeline,
    metrics: Metrics,
}

impl Aligner {
    /// Fetches what is missing, and loads the configured models.
    ///
    /// # Errors
    /// Unusable models.
    pub async fn load(config: &Config) -> Result<Self, Failure> {
        let (section, provider) = (config.models.clone(), config.worker.provider);
        let loading = tokio::task::spawn_blocking(move || artefacts::prepare(&section, provider));
        let artefacts = loading.await.map_err(|e| Failure::Other(format!("loading was interrupted: {e}")))??;
        let pipeline =
            worker::load_pipeline(&wiring::worker(config), artefacts.models, artefacts.runtime, None).await?;
        let metrics = Metrics::register(&Registry::new()).map_err(|e| Failure::Other(e.to_string()))?;
        Ok(Self { pipeline, metrics })
    }

    /// The most prominent face of every photo, with margin, in the order of the photos.
    ///
    /// # Errors
    /// Models that fail; a photo's own faults are results.
    pub async fn faces(&self, files: Vec<Vec<u8>>) -> Result<Vec<Face>, Failure> {
        let mut found: Vec<Option<Face>> = files.iter().map(|_| None).collect();
        let mut tasks = JoinSet::new();
        for (place, file) in files.into_iter().enumerate() {
            let (pipeline, timings) = (self.pipeline.clone(), Timings::new(self.metrics.stage_seconds.clone()));
            let context = Context { deadline: Instant::now() + PER_PHOTO, timings: Arc::new(timings) };
            tasks.spawn(async move { (place, pipeline.detect_wide(file.into(), 1, &context).await) });
        }
        while let Some(done) = tasks.join_next().await {
            let (place, outcome) = done.map_err(|e| Failure::Other(format!("aligning was interrupted: {e}")))?;
            let face = match outcome {
                Ok(seen) => seen.faces.into_iter().next().ok_or_else(|| "no face was found".to_owned()).map(|f| {
                    let about = About {
                        yaw: f.face.pose.yaw,
                        pitch: f.face.pose.pitch,
                        roll: f.face.pose.roll,
                        quality: f.face.quality.score,
                    };
                    (f.wide.unwrap_or(f.crop), Some(about))
                }),
                Err(p) if p.code == ErrorCode::InferenceFailed => return Err(Failure::Other(p.to_string())),
                Err(p) => Err(p.to_string()),
            };
            found[place] = Some(face);
        }
        Ok(found.into_iter().map(|f| f.unwrap_or_else(|| Err("it was not looked at".to_owned()))).collect())
    }
}

/// Shows how far it is.
pub fn bar(photos: u64) -> ProgressBar {
    let bar = ProgressBar::new(photos);
    if let Ok(style) = ProgressStyle::with_template("aligning: {pos} of {len} photos [{bar:32}] {per_sec} {eta:>4}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
