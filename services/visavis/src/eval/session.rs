//! The loaded models of an evaluation: turns pictures into templates and into the crops a report shows, and knows what
//! to say about where the figures come from.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use domain::{CalibrationTable, Timestamp};
use evaluation::document::{InputFile, Machine, ModelFile, Models, Provenance, Speed};
use prometheus::Registry;
use runtime::Config;
use sha2::{Digest, Sha256};
use worker::{Context, Metrics, Pipeline, Timings, WorkerConfig};

use super::embed::{Embedded, embed_all};
use super::pictures::file_name;
use crate::failure::Failure;
use crate::{artefacts, wiring};

/// No picture takes longer than this, however slow the machine.
const PER_IMAGE: Duration = Duration::from_secs(120);

/// Models, ready to run.
pub struct Session {
    pipeline: Pipeline,
    models: Models,
    calibration: Option<CalibrationTable>,
}

impl Session {
    /// Fetches what is missing, and loads the configured models.
    ///
    /// # Errors
    /// Unusable models.
    pub async fn load(config: &Config, threads: usize) -> Result<Self, Failure> {
        let (section, provider) = (config.models.clone(), config.worker.provider);
        let loading = tokio::task::spawn_blocking(move || artefacts::prepare(&section, provider));
        let artefacts = loading.await.map_err(|e| Failure::Other(format!("loading was interrupted: {e}")))??;
        let manifests = [&artefacts.models.detector, &artefacts.models.embedder].map(|m| &m.manifest);
        let file = |m: &models::Manifest| ModelFile {
            name: m.name.clone(),
            sha256: m.sha256.to_string(),
            licence: m.licence.clone(),
            commercial: m.commercial,
        };
        let mut models = Models {
            detector: manifests[0].name.clone(),
            embedder: manifests[1].name.clone(),
            contract: String::new(),
            files: manifests.into_iter().map(file).collect(),
            provider: wiring::provider(provider).to_string(),
        };
        let calibration = artefacts.models.calibration().ok().cloned();
        let settings = WorkerConfig { session_threads: threads, cpu_threads: threads, ..wiring::worker(config) };
        let pipeline = worker::load_pipeline(&settings, artefacts.models, artefacts.runtime, None).await?;
        models.contract = pipeline.contract().to_string();
        Ok(Self { pipeline, models, calibration })
    }

    /// The calibration of these models, if they have one.
    pub const fn calibration(&self) -> Option<&CalibrationTable> {
        self.calibration.as_ref()
    }

    /// Names of detector and embedder.
    pub const fn models(&self) -> &Models {
        &self.models
    }

    /// Templates of pictures, and how long they took.
    ///
    /// # Errors
    /// As [`embed_all`].
    pub async fn embed(&self, images: Vec<(String, PathBuf)>) -> Result<(Embedded, Speed), Failure> {
        let start = Instant::now();
        let embedded = embed_all(&self.pipeline, images).await?;
        let seconds = start.elapsed().as_secs_f64();
        let images = embedded.len();
        Ok((embedded, Speed { images, seconds, images_per_second: images as f64 / seconds.max(1e-9) }))
    }

    /// The aligned crops (PNG) of pairs of pictures, as a report shows them. A picture that gives none leaves a gap.
    ///
    /// # Errors
    /// A picture that can no longer be read.
    pub async fn crops(&self, pairs: &[[PathBuf; 2]]) -> Result<Vec<[Option<Vec<u8>>; 2]>, Failure> {
        let metrics = Metrics::register(&Registry::new()).map_err(|e| Failure::Other(e.to_string()))?;
        let mut all = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let mut crops = [None, None];
            for (crop, path) in crops.iter_mut().zip(pair) {
                let bytes = fs::read(path).map_err(|e| Failure::io("the picture", path, &e))?;
                let timings = Arc::new(Timings::new(metrics.stage_seconds.clone()));
                let context = Context { deadline: Instant::now() + PER_IMAGE, timings };
                let found = self.pipeline.detect(bytes.into(), 1, &context).await;
                let face = found.ok().and_then(|f| f.faces.into_iter().next());
                *crop = face.map(|f| vision::encode_png(&f.crop)).transpose().map_err(Failure::Other)?;
            }
            all.push(crops);
        }
        Ok(all)
    }

    /// Where the figures come from; `inputs` are the lists with their role, path and bytes.
    pub fn provenance(&self, inputs: &[(&str, &std::path::Path, &[u8])]) -> Provenance {
        let input = |(role, path, bytes): &(&str, &std::path::Path, &[u8])| InputFile {
            role: (*role).to_owned(),
            name: file_name(path),
            sha256: hex::encode(Sha256::digest(bytes)),
        };
        Provenance {
            visavis: env!("CARGO_PKG_VERSION").to_owned(),
            made: Timestamp::now().to_string(),
            machine: machine(),
            models: self.models.clone(),
            inputs: inputs.iter().map(input).collect(),
        }
    }
}

fn machine() -> Machine {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = info.lines().find_map(|l| l.strip_prefix("model name")).and_then(|l| l.split_once(':'));
    Machine {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        cpu: cpu.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
        cores: thread::available_parallelism().map_or(1, usize::from),
    }
}
