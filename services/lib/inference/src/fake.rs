//! An engine without a model, for tests of batching and of what surrounds a session: deterministic, instant, and as
//! strict about shapes as a real one.

use std::{sync::Arc, time::Duration};

use crate::{Engine, InferenceError, OutputRef, Provider, Signature, Tensor, TensorRef, TensorSpec};

type Compute = Box<dyn FnMut(&[f32]) -> Result<Vec<Vec<f32>>, InferenceError> + Send>;

/// An engine that computes each item by a closure.
pub struct FakeEngine {
    signature: Signature,
    max_batch: usize,
    compute: Compute,
}

impl FakeEngine {
    /// An engine with this signature. `compute` gets the elements of one item and returns those of each output; the
    /// outputs' axes behind the batch must be fixed in the signature. An error fails the whole batch, as in real ones.
    pub fn new(
        signature: Signature,
        max_batch: usize,
        compute: impl FnMut(&[f32]) -> Result<Vec<Vec<f32>>, InferenceError> + Send + 'static,
    ) -> Self {
        Self { signature, max_batch, compute: Box::new(compute) }
    }

    /// An embedder for crops of this item shape: `dim` sums over the crop's elements, so that equal crops get equal
    /// embeddings and different ones different embeddings.
    #[must_use]
    pub fn embedder(item_shape: &[usize], dim: usize) -> Self {
        let batch = std::iter::once(None);
        let input =
            TensorSpec { name: "input".into(), dims: batch.chain(item_shape.iter().map(|d| Some(*d))).collect() };
        let output = TensorSpec { name: "embedding".into(), dims: vec![None, Some(dim)] };
        Self::new(Signature { input, outputs: vec![output] }, 32, move |item| {
            let mut sums = vec![0.0; dim];
            for (i, v) in item.iter().enumerate() {
                sums[(i * 31 + i / dim.max(1)) % dim.max(1)] += v;
            }
            Ok(vec![sums])
        })
    }
}

impl Engine for FakeEngine {
    fn infer(
        &mut self,
        batch: TensorRef<'_>,
        read: &mut dyn FnMut(&[OutputRef<'_>]),
    ) -> Result<Duration, InferenceError> {
        let batch = Tensor::new(batch.shape, batch.data.to_vec())?;
        if !self.signature.input.fits(batch.shape()) || batch.batch() > self.max_batch {
            return Err(InferenceError::Shape(format!("has shape {:?}, which does not fit", batch.shape())));
        }
        let n = batch.batch();
        let mut data: Vec<Vec<f32>> = vec![Vec::new(); self.signature.outputs.len()];
        for item in (0..n).filter_map(|i| batch.item(i)) {
            for (all, one) in data.iter_mut().zip((self.compute)(item)?) {
                all.extend(one);
            }
        }
        let named = self.signature.outputs.iter().map(|spec| {
            let dims = spec.dims.iter().skip(1).map(|d| d.unwrap_or(1));
            (Arc::from(spec.name.as_str()), std::iter::once(n).chain(dims).collect())
        });
        let named: Vec<(Arc<str>, Vec<usize>)> = named.collect();
        let views = named.iter().zip(&data).map(|((name, shape), data)| OutputRef { name, shape, data });
        read(&views.collect::<Vec<_>>());
        Ok(Duration::ZERO)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn max_batch(&self) -> usize {
        self.max_batch
    }

    fn provider(&self) -> Provider {
        Provider::Fake
    }
}
