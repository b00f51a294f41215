//! Embed: aligned crops to templates. On processors each crop by itself, on as many cores as there are; on a GPU
//! batched over faces of different requests. Called by the pipeline.

use std::{sync::Arc, time::Instant};

use domain::{ContractId, ErrorCode, Problem, Template};
use futures::future::try_join_all;
use inference::{EnginePool, OutputRef, Outputs, SessionHandle};
use vision::{Normalisation, Rgb8};

use super::{Batching, ModelRun, Planes, in_time, problem, takes_batches};
use crate::{
    batcher::{Batcher, Observer},
    cpu::CpuPool,
};

/// The model's role in metrics.
const MODEL: &str = "embedder";

/// Turns crops into templates.
#[derive(Clone)]
pub struct Embedder {
    on: On,
    normalisation: Normalisation,
    contract: ContractId,
}

#[derive(Clone)]
enum On {
    /// Threads of the CPU pool.
    Cores { engines: EnginePool, observer: Option<Arc<dyn Observer>>, cpu: CpuPool },
    /// A session that takes batches.
    Batches(Batcher<Planes, Vec<f32>>),
}

impl Embedder {
    /// An embedder on warmed engines, for processors.
    #[must_use]
    pub fn on_cores(
        engines: EnginePool,
        normalisation: Normalisation,
        contract: ContractId,
        observer: Option<Arc<dyn Observer>>,
        cpu: CpuPool,
    ) -> Self {
        Self { on: On::Cores { engines, observer, cpu }, normalisation, contract }
    }

    /// An embedder on a warmed session; `side` is the crop's side in pixels.
    #[must_use]
    pub fn batched(
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
        Self { on: On::Batches(batcher), normalisation, contract }
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
        let values = match &self.on {
            On::Cores { engines, observer, cpu } => {
                // 37 KB, to be free of the caller's borrow.
                let (crop, engines, observer, how) =
                    (crop.clone(), engines.clone(), observer.clone(), self.normalisation);
                cpu.go_on(move || {
                    in_time(deadline)?;
                    compute(&engines, observer.as_deref(), &how, &crop)
                })
                .await??
            }
            On::Batches(batcher) => {
                // 112×112: tens of microseconds, less than a trip to the CPU pool.
                let mut planes = vec![0.0; 3 * crop.width() as usize * crop.height() as usize];
                self.normalisation.write_planar(crop, &mut planes).map_err(|e| problem(e.code(), e))?;
                batcher.submit(Arc::new(planes), deadline).await?
            }
        };
        Template::from_embedding(self.contract, &values).map_err(|e| problem(ErrorCode::InferenceFailed, e))
    }
}

impl Embedder {
    /// A run on a crop of `side × side`, and nothing around it. For processors.
    ///
    /// # Errors
    /// `inference_failed`; `internal` for an embedder that takes batches.
    pub fn alone(&self, side: u32) -> Result<(), Problem> {
        let On::Cores { engines, .. } = &self.on else { return Err(takes_batches()) };
        engines.run(&[1, 3, side as usize, side as usize], |_| Ok::<_, Problem>(()), |_| ())?;
        Ok(())
    }
}

/// One crop on this thread.
fn compute(
    engines: &EnginePool,
    observer: Option<&dyn Observer>,
    normalisation: &Normalisation,
    crop: &Rgb8,
) -> Result<Vec<f32>, Problem> {
    let shape = [1, 3, crop.height() as usize, crop.width() as usize];
    let fill = |planes: &mut [f32]| normalisation.write_planar(crop, planes).map_err(|e| problem(e.code(), e));
    let first = |outputs: &[OutputRef<'_>]| outputs.first().map(|o| o.data.to_vec());
    let (values, elapsed) = engines.run(&shape, fill, first)?;
    if let Some(observer) = observer {
        observer.ran(MODEL, elapsed);
    }
    values.ok_or_else(|| Problem::new(ErrorCode::InferenceFailed, "the embedder gave no output"))
}

/// The rows of the one output, one per item.
fn rows(outputs: &Outputs, n: usize) -> Result<Vec<Vec<f32>>, Problem> {
    let wrong = || Problem::new(ErrorCode::InferenceFailed, "the embedder gave no output for some faces");
    let tensor = outputs.first().ok_or_else(wrong)?;
    (0..n).map(|i| tensor.item(i).map(<[f32]>::to_vec).ok_or_else(wrong)).collect()
}
