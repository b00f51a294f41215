//! Row-major `f32` tensors with the batch as first axis, and the named outputs of one run.

use std::{sync::Arc, time::Duration};

use crate::InferenceError;

/// A batch: shape [n, ...] with n ≥ 1, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// Takes `data` as it is, without a copy.
    ///
    /// # Errors
    /// [`InferenceError::Shape`] if `data` does not fill `shape` exactly, or there is nothing in it.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self, InferenceError> {
        let shape = shape.into();
        let len = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        if shape.is_empty() || data.is_empty() || len != Some(data.len()) {
            return Err(InferenceError::Shape(format!("of shape {shape:?} has {} elements", data.len())));
        }
        Ok(Self { shape, data })
    }

    /// Sizes of the axes, the batch first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of items.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.shape[0]
    }

    /// Sizes of the axes of one item.
    #[must_use]
    pub fn item_shape(&self) -> &[usize] {
        &self.shape[1..]
    }

    /// Elements of item `i`, if there are so many items.
    #[must_use]
    pub fn item(&self, i: usize) -> Option<&[f32]> {
        let len = self.data.len() / self.batch();
        self.data.get(i.checked_mul(len)?..(i + 1).checked_mul(len)?)
    }

    /// All elements.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The elements, without a copy.
    #[must_use]
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// The tensor, borrowed.
    #[must_use]
    pub fn view(&self) -> TensorRef<'_> {
        TensorRef { shape: &self.shape, data: &self.data }
    }

    /// The same batch with zeros behind it up to `n` items, or its first `n` items.
    #[must_use]
    pub(crate) fn resized(mut self, n: usize) -> Self {
        let len = self.data.len() / self.batch();
        self.data.resize(n * len, 0.0);
        self.shape[0] = n;
        self
    }
}

/// A borrowed batch; not checked before an engine is given it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorRef<'a> {
    /// Sizes of the axes, the batch first.
    pub shape: &'a [usize],
    /// Elements, row-major.
    pub data: &'a [f32],
}

/// A named output, in the engine's memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputRef<'a> {
    /// Name in the graph.
    pub name: &'a Arc<str>,
    /// Sizes of the axes, the batch first.
    pub shape: &'a [usize],
    /// Elements, row-major.
    pub data: &'a [f32],
}

impl OutputRef<'_> {
    /// A copy of the output.
    ///
    /// # Errors
    /// [`InferenceError::Run`] for an output with nothing in it.
    pub fn to_owned(&self) -> Result<(Arc<str>, Tensor), InferenceError> {
        let tensor = Tensor::new(self.shape, self.data.to_vec()).map_err(|e| InferenceError::Run(e.to_string()))?;
        Ok((Arc::clone(self.name), tensor))
    }
}

/// Named outputs of one run; every tensor has the batch of the input.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    tensors: Vec<(Arc<str>, Tensor)>,
    /// Time in the engine, without waiting for it.
    pub elapsed: Duration,
}

impl Outputs {
    /// Outputs in the graph's order.
    #[must_use]
    pub const fn new(tensors: Vec<(Arc<str>, Tensor)>, elapsed: Duration) -> Self {
        Self { tensors, elapsed }
    }

    /// The output of this name.
    ///
    /// # Errors
    /// [`InferenceError::Run`] if the graph has no such output.
    pub fn get(&self, name: &str) -> Result<&Tensor, InferenceError> {
        let found = self.tensors.iter().find(|(n, _)| &**n == name).map(|(_, t)| t);
        found.ok_or_else(|| InferenceError::Run(format!("the model has no output `{name}`")))
    }

    /// The first output: the embedding, for an embedder.
    #[must_use]
    pub fn first(&self) -> Option<&Tensor> {
        self.tensors.first().map(|(_, t)| t)
    }

    /// Name and tensor of every output, in the graph's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(n, t)| (&**n, t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_holds_what_its_shape_says_and_gives_items_back() {
        let t = Tensor::new([2, 3], vec![0., 1., 2., 3., 4., 5.]).unwrap();
        assert_eq!((t.item(1), t.item(2)), (Some(&[3., 4., 5.][..]), None));
        assert_eq!(t.item(usize::MAX), None);
        let padded = t.clone().resized(4);
        assert_eq!((padded.batch(), padded.item(0), padded.item(3)), (4, t.item(0), Some(&[0.; 3][..])));
        assert_eq!(padded.resized(2), t);
        for (shape, len) in [(vec![2, 3], 5), (vec![], 1), (vec![0, 3], 0), (vec![usize::MAX, 2], 2)] {
            assert!(Tensor::new(shape.clone(), vec![0.; len]).is_err(), "{shape:?}");
        }
    }
}
