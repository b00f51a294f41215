//! The trait between the worker and whatever computes: a batch in, named tensors out.
//! Implemented by the ONNX Runtime engine and by a fake one for tests.

use std::{fmt, time::Duration};

use crate::{InferenceError, OutputRef, Outputs, Tensor, TensorRef};

/// One loaded model. Used by one thread at a time; see [`crate::EnginePool`] and [`crate::SessionHandle`].
pub trait Engine: Send {
    /// Runs a batch of 1 to [`Self::max_batch`] items and shows `read` the outputs where they lie in the engine's
    /// memory, in the graph's order; nothing is copied. Gives the time in the engine.
    ///
    /// # Errors
    /// [`InferenceError::Shape`] for a batch that does not fit the signature, [`InferenceError::Run`] otherwise;
    /// `read` is not called then.
    fn infer(
        &mut self,
        batch: TensorRef<'_>,
        read: &mut dyn FnMut(&[OutputRef<'_>]),
    ) -> Result<Duration, InferenceError>;

    /// [`Self::infer`] with outputs of their own.
    ///
    /// # Errors
    /// As [`Self::infer`].
    fn run(&mut self, batch: &Tensor) -> Result<Outputs, InferenceError> {
        let mut copied = Ok(Vec::new());
        let elapsed =
            self.infer(batch.view(), &mut |outputs| copied = outputs.iter().map(OutputRef::to_owned).collect())?;
        Ok(Outputs::new(copied?, elapsed))
    }

    /// What goes in and what comes out.
    fn signature(&self) -> &Signature;

    /// The largest batch.
    fn max_batch(&self) -> usize;

    /// What computes.
    fn provider(&self) -> Provider;
}

/// Names and shapes at a model's two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The one input.
    pub input: TensorSpec,
    /// The outputs, in the graph's order.
    pub outputs: Vec<TensorSpec>,
}

/// Name and axes of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in the graph.
    pub name: String,
    /// Size of each axis, the batch first; `None` where it may vary.
    pub dims: Vec<Option<usize>>,
}

impl TensorSpec {
    /// Whether a tensor of this shape fits.
    #[must_use]
    pub fn fits(&self, shape: &[usize]) -> bool {
        self.dims.len() == shape.len() && self.dims.iter().zip(shape).all(|(d, n)| d.is_none_or(|d| d == *n))
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// ONNX Runtime's own CPU kernels.
    #[default]
    Cpu,
    /// NVIDIA GPUs through CUDA and cuDNN.
    Cuda,
    /// NVIDIA GPUs through TensorRT, which compiles each graph for the GPU; what it cannot do goes through CUDA.
    TensorRt,
    /// No model at all: tests.
    Fake,
}

impl Provider {
    /// As configured, and as the label of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::Fake => "fake",
        }
    }

    /// Whether it computes on a GPU.
    #[must_use]
    pub const fn on_gpu(self) -> bool {
        matches!(self, Self::Cuda | Self::TensorRt)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
