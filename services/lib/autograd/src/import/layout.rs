//! The two orders in which pictures lie in memory, and changes between them. Convolutions and normalisations want
//! channels last; whatever looks at axes by number wants them as ONNX has them.

use super::{Builder, tensors::Tensor};
use crate::ops::Permute;

impl Builder<'_> {
    /// The tensor with its axes in memory as in the ONNX graph.
    pub fn plain(&mut self, tensor: &Tensor) -> Tensor {
        if !tensor.channels_last {
            return tensor.clone();
        }
        let mut plain = Tensor { channels_last: false, ..tensor.clone() };
        // A single pixel, or a single channel, lies the same either way.
        if tensor.dims[1] * tensor.dims[2] > 1 && tensor.dims[0] > 1 {
            let permute = Permute::new(&tensor.memory(), &[2, 0, 1]);
            plain.arg = self.emit(permute, vec![tensor.arg], tensor.len(), tensor.batched);
        }
        plain
    }

    /// The tensor with channels last, where it is a picture.
    pub fn channels_last(&mut self, tensor: &Tensor) -> Tensor {
        if tensor.channels_last || tensor.dims.len() != 3 || !tensor.batched {
            return tensor.clone();
        }
        let mut turned = Tensor { channels_last: true, ..tensor.clone() };
        if tensor.dims[1] * tensor.dims[2] > 1 && tensor.dims[0] > 1 {
            let permute = Permute::new(&tensor.dims, &[1, 2, 0]);
            turned.arg = self.emit(permute, vec![tensor.arg], tensor.len(), true);
        }
        turned
    }
}
