//! Embeds pictures through the worker's pipeline, a few at a time so that the model runs are full batches.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::{ErrorCode, Problem, Template};
use indicatif::{ProgressBar, ProgressStyle};
use prometheus::Registry;
use tokio::task::JoinSet;
use worker::{Context, Metrics, Pipeline, Timings};

use crate::failure::Failure;

/// Pictures under way at once: enough to fill batches, few enough to hold in memory.
const UNDER_WAY: usize = 16;

/// No picture takes longer than this, however slow the machine.
const PER_IMAGE: Duration = Duration::from_secs(120);

/// Templates by picture, or why there is none.
pub struct Embedded(BTreeMap<String, Result<Template, String>>);

impl Embedded {
    /// The template of a picture; `None` if it failed to enrol.
    pub fn template(&self, name: &str) -> Option<&Template> {
        self.0.get(name)?.as_ref().ok()
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Pictures that failed to enrol, with the reason.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, result)| Some((name.as_str(), result.as_ref().err()?.as_str())))
    }
}

/// Embeds the most prominent face of every picture.
///
/// # Errors
/// When a picture cannot be read or the models fail; a picture without a face is a result.
pub async fn embed_all(pipeline: &Pipeline, images: Vec<(String, PathBuf)>) -> Result<Embedded, Failure> {
    let metrics = Metrics::register(&Registry::new()).map_err(|e| Failure::Other(e.to_string()))?;
    let bar = ProgressBar::new(images.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{pos} of {len} pictures [{bar:32}] {per_sec} {eta:>4}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut done = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut waiting = images.into_iter();
    loop {
        while tasks.len() < UNDER_WAY
            && let Some((name, path)) = waiting.next()
        {
            let (pipeline, histogram) = (pipeline.clone(), metrics.stage_seconds.clone());
            tasks.spawn(async move {
                let context =
                    Context { deadline: Instant::now() + PER_IMAGE, timings: Arc::new(Timings::new(histogram)) };
                let bytes = std::fs::read(&path).map_err(|e| Failure::io("the picture", &path, &e))?;
                Ok::<_, Failure>((name, embed(&pipeline, bytes.into(), &context).await?))
            });
        }
        match tasks.join_next().await {
            None => break,
            Some(Err(e)) => return Err(Failure::Other(format!("embedding was interrupted: {e}"))),
            Some(Ok(result)) => {
                let (name, template) = result?;
                done.insert(name, template);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(Embedded(done))
}

/// The inner result is the picture's own; the outer one the process's.
async fn embed(pipeline: &Pipeline, image: Bytes, context: &Context) -> Result<Result<Template, String>, Failure> {
    match pipeline.analyse(image, 1, context).await {
        Ok(found) => Ok(found.faces.into_iter().next().map(|f| f.template).ok_or_else(|| "no_face".to_owned())),
        Err(problem) if is_the_pictures_own(&problem) => Ok(Err(problem.to_string())),
        Err(problem) => Err(Failure::Other(problem.to_string())),
    }
}

/// Whether another picture could have done better.
fn is_the_pictures_own(problem: &Problem) -> bool {
    use ErrorCode::{ImageTooLarge, ImageUndecodable, NoFace, PayloadTooLarge, UnsupportedMediaType};
    matches!(problem.code, ImageTooLarge | ImageUndecodable | NoFace | PayloadTooLarge | UnsupportedMediaType)
}
