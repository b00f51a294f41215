//! One ONNX Runtime session as an [`Engine`]. Made by the worker for each active model and moved to its thread.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ort::{
    ep::{CUDA, ExecutionProvider, TensorRT},
    session::{Session, builder::GraphOptimizationLevel, builder::SessionBuilder},
    value::{Outlet, TensorElementType, TensorRef as OrtTensorRef},
};

use super::{Expected, OnnxRuntime, SessionOptions};
use crate::{Engine, InferenceError, OutputRef, Provider, Signature, Tensor, TensorRef, TensorSpec, bucket_for};

/// A model in an ONNX Runtime session.
#[derive(Debug)]
pub struct OrtEngine {
    session: Session,
    signature: Signature,
    names: Vec<Arc<str>>,
    max_batch: usize,
    provider: Provider,
}

impl OrtEngine {
    /// Loads the graph from the bytes of an `.onnx` file and checks it against its manifest.
    ///
    /// # Errors
    /// [`InferenceError::ProviderUnavailable`], [`InferenceError::Load`] or [`InferenceError::ManifestMismatch`].
    pub fn load(
        runtime: &OnnxRuntime,
        onnx: &[u8],
        options: &SessionOptions,
        expected: &Expected,
    ) -> Result<Self, InferenceError> {
        let failed = |reason: String| InferenceError::Load { model: expected.model.clone(), reason };
        let mut builder = with_provider(configured(runtime, options).map_err(failed)?, options)?;
        let session = builder.commit_from_memory(onnx).map_err(|e| failed(e.to_string()))?;
        let signature = signature_of(&session, &expected.model)?;
        expected.check(&signature)?;
        let fixed = signature.input.dims.first().copied().flatten();
        let names = signature.outputs.iter().map(|o| Arc::from(o.name.as_str())).collect();
        let max_batch = fixed.unwrap_or(options.max_batch).max(1);
        Ok(Self { session, signature, names, max_batch, provider: options.provider })
    }

    fn execute(&mut self, batch: TensorRef<'_>, read: &mut dyn FnMut(&[OutputRef<'_>])) -> Result<Duration, String> {
        let n = batch.shape.first().copied().unwrap_or_default();
        let shape: Vec<i64> = batch.shape.iter().map(|&d| d as i64).collect();
        let input = OrtTensorRef::from_array_view((shape, batch.data)).map_err(|e| e.to_string())?;
        let start = Instant::now();
        let outputs = self.session.run(ort::inputs![input]).map_err(|e| e.to_string())?;
        let elapsed = start.elapsed();
        let mut found: Vec<(Vec<usize>, &[f32])> = Vec::with_capacity(self.names.len());
        let values: Vec<_> = outputs.values().collect();
        for (name, value) in self.names.iter().zip(&values) {
            let (shape, data) = value.try_extract_tensor::<f32>().map_err(|e| e.to_string())?;
            let shape: Vec<usize> = shape.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
            // A graph with a batch of its own would hand one person's result to another.
            if shape.first() != Some(&n) {
                return Err(format!("output `{name}` has shape {shape:?} for a batch of {n}"));
            }
            found.push((shape, data));
        }
        let views = self.names.iter().zip(&found).map(|(name, (shape, data))| OutputRef { name, shape, data });
        read(&views.collect::<Vec<_>>());
        Ok(elapsed)
    }

    /// A batch with zeros behind it up to `to` items; the outputs of those are not shown.
    fn padded(
        &mut self,
        batch: TensorRef<'_>,
        to: usize,
        read: &mut dyn FnMut(&[OutputRef<'_>]),
    ) -> Result<Duration, InferenceError> {
        let whole = Tensor::new(batch.shape, batch.data.to_vec())?;
        let n = whole.batch();
        self.execute(whole.resized(to).view(), &mut |outputs| {
            let shapes: Vec<Vec<usize>> = outputs.iter().map(|o| [&[n], &o.shape[1..]].concat()).collect();
            let cut = outputs.iter().zip(&shapes).map(|(o, shape)| OutputRef {
                name: o.name,
                shape,
                data: &o.data[..o.data.len() / to * n],
            });
            read(&cut.collect::<Vec<_>>());
        })
        .map_err(InferenceError::Run)
    }
}

impl Engine for OrtEngine {
    fn infer(
        &mut self,
        batch: TensorRef<'_>,
        read: &mut dyn FnMut(&[OutputRef<'_>]),
    ) -> Result<Duration, InferenceError> {
        let n = batch.shape.first().copied().unwrap_or_default();
        if n > self.max_batch {
            return Err(InferenceError::Shape(format!("holds {n} items where {} are the most", self.max_batch)));
        }
        if !self.signature.input.fits(batch.shape) {
            let (shape, wanted) = (batch.shape, &self.signature.input.dims);
            return Err(InferenceError::Shape(format!("has shape {shape:?}, the model takes {wanted:?}")));
        }
        // On a GPU a new shape is tuned for at length: only warmed sizes run there. A CPU does not mind.
        let bucket = bucket_for(n);
        if self.provider.on_gpu() && bucket != n && bucket <= self.max_batch {
            return self.padded(batch, bucket, read);
        }
        self.execute(batch, read).map_err(InferenceError::Run)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn max_batch(&self) -> usize {
        self.max_batch
    }

    fn provider(&self) -> Provider {
        self.provider
    }
}

fn configured(runtime: &OnnxRuntime, options: &SessionOptions) -> Result<SessionBuilder, String> {
    let text = |e: ort::Error<SessionBuilder>| e.to_string();
    Session::builder(runtime.environment())
        .map_err(|e| e.to_string())?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(text)?
        .with_intra_threads(options.threads.max(1))
        .map_err(text)?
        .with_inter_threads(1)
        .map_err(text)?
        .with_intra_op_spinning(options.spinning)
        .map_err(text)
}

/// Registers the provider, or says why not: falling back to the CPU in silence would be a hundredfold slowdown.
fn with_provider(builder: SessionBuilder, options: &SessionOptions) -> Result<SessionBuilder, InferenceError> {
    let absent = |reason: &str| InferenceError::ProviderUnavailable {
        provider: options.provider.as_str(),
        reason: reason.to_owned(),
    };
    match options.provider {
        Provider::Cpu => Ok(builder),
        Provider::Fake => Err(absent("it computes nothing")),
        Provider::Cuda | Provider::TensorRt => {
            let wants_tensorrt = options.provider == Provider::TensorRt;
            let built_with = |there: ort::Result<bool>| there.unwrap_or(false);
            if !built_with(CUDA::is_available()) || wants_tensorrt && !built_with(TensorRT::is_available()) {
                return Err(absent("this ONNX Runtime is built without it; use the GPU build"));
            }
            let mut providers = vec![CUDA::default().with_device_id(options.device).build().error_on_failure()];
            if wants_tensorrt {
                providers.insert(0, tensorrt(options).build().error_on_failure());
            }
            builder.with_execution_providers(providers).map_err(|e| absent(e.message()))
        }
    }
}

fn tensorrt(options: &SessionOptions) -> TensorRT {
    let tensorrt = TensorRT::default().with_device_id(options.device);
    match &options.engine_cache {
        Some(folder) => {
            let cached = tensorrt.with_engine_cache(true).with_engine_cache_path(folder.display());
            cached.with_timing_cache(true).with_timing_cache_path(folder.display())
        }
        None => tensorrt,
    }
}

fn signature_of(session: &Session, model: &str) -> Result<Signature, InferenceError> {
    let mismatch = |reason| InferenceError::ManifestMismatch { model: model.to_owned(), reason };
    let spec = |o: &Outlet| match (o.dtype().tensor_type(), o.dtype().tensor_shape()) {
        (Some(TensorElementType::Float32), Some(shape)) => {
            Ok(TensorSpec { name: o.name().into(), dims: shape.iter().map(|&d| usize::try_from(d).ok()).collect() })
        }
        _ => Err(mismatch(format!("`{}` is no f32 tensor", o.name()))),
    };
    let [input] = session.inputs() else {
        return Err(mismatch(format!("a model here has one input, this one has {}", session.inputs().len())));
    };
    Ok(Signature { input: spec(input)?, outputs: session.outputs().iter().map(spec).collect::<Result<_, _>>()? })
}
