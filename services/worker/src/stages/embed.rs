//! Embed: aligned crops to templates, batched over faces of different requests. Called by the pipeline.

use std::{sync::Arc, time::Instant};

use domain::{ContractId, ErrorCode, Problem, Template};
use futures::future::try_join_all;
use inference::{Outputs, SessionHandle};
use vision::{Normalisation, Rgb8};

use super::{Batching, ModelRun, Planes};
use crate::batcher::Batcher;

/// The model's role in metrics.
const MODEL: &str = "embedder";

/// Turns crops into templates.
#[derive(Clone)]
pub struct Embedder {
    batcher: Batcher<Planes, Vec<f32>>,
    normalisation: Normalisation,
    contract: ContractId,
}

impl Embedder {
    /// An embedder on a warmed session; `side` is the crop's side in pixels.
    #[must_use]
    pub fn new(
        session: SessionHandle,
        normalisation: Normalisation,
        contract: ContractId,
        side: u32,
        batching: Batching,
    ) -> Self {
        let item = [3, side as usize, side as usize];
        let run = Arc::new(ModelRun { model: MODEL, session, item, observer: batching.observer.clone() });
        let batcher = Batcher::spawn_observed(MODEL, batching.policy, batching.observer, move |items: Vec<Planes>| {
            let run = Arc::clone(&run);
            async move {
                let of = items.len();
                rows(&run.batch(items).await?, of)
            }
        });
        Self { batcher, normalisation, contract }
    }

    /// The contract of the templates.
    #[must_use]
    pub const fn contract(&self) -> ContractId {
        self.contract
    }

    /// One template per crop, in order.
    ///
    /// # Errors
    /// `inference_failed`, `overloaded`, `deadline_exceeded`.
    pub async fn embed(&self, crops: &[&Rgb8], deadline: Instant) -> Result<Vec<Template>, Problem> {
        try_join_all(crops.iter().map(|crop| self.embed_one(crop, deadline))).await
    }

    /// The template of one crop.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub async fn embed_one(&self, crop: &Rgb8, deadline: Instant) -> Result<Template, Problem> {
        // 112×112: tens of microseconds, less than a trip to the CPU pool.
        let mut planes = vec![0.0; 3 * crop.width() as usize * crop.height() as usize];
        let written = self.normalisation.write_planar(crop, &mut planes);
        written.map_err(|e| Problem::new(e.code(), e.to_string()))?;
        let values = self.batcher.submit(Arc::new(planes), deadline).await?;
        Template::from_embedding(self.contract, &values)
            .map_err(|e| Problem::new(ErrorCode::InferenceFailed, e.to_string()))
    }
}

/// The rows of the one output, one per item.
fn rows(outputs: &Outputs, n: usize) -> Result<Vec<Vec<f32>>, Problem> {
    let wrong = || Problem::new(ErrorCode::InferenceFailed, "the embedder gave no output for some faces");
    let tensor = outputs.first().ok_or_else(wrong)?;
    (0..n).map(|i| tensor.item(i).map(<[f32]>::to_vec).ok_or_else(wrong)).collect()
}
