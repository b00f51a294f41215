//! Dense layers and products of computed matrices.

use onnx::{
    graph::{attribute, int_attribute},
    proto::NodeProto,
};

use super::{Builder, tensors::Tensor, unsupported};
use crate::{
    Error, Kind,
    ops::{Linear, MatMul},
};

impl<'m> Builder<'m> {
    pub(super) fn gemm(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let x = self.plain(&x);
        let weights = self.input(node, 1, Kind::Weight)?;
        let one = |name: &str| attribute(node, name).is_none_or(|a| a.f() == 1.0);
        if !one("alpha") || !one("beta") || int_attribute(node, "transA").unwrap_or(0) != 0 {
            return Err(unsupported(node, "alpha, beta and transA other than 1, 1 and 0 are not known"));
        }
        let by_output = int_attribute(node, "transB").unwrap_or(0) == 1;
        let (&[inputs], &[a, b]) = (x.dims.as_slice(), weights.dims.as_slice()) else {
            return Err(unsupported(node, "its input is not a batch of vectors, or its weights are not a matrix"));
        };
        let (depth, outputs) = if by_output { (b, a) } else { (a, b) };
        let bias = self.optional(node, 2, Kind::Bias)?;
        if !x.batched || depth != inputs || bias.as_ref().is_some_and(|b| b.len() != outputs) {
            return Err(unsupported(node, "its weights or its bias do not fit its input"));
        }
        let mut args = vec![x.arg, weights.arg];
        args.extend(bias.map(|b| b.arg));
        let arg = self.emit(Linear { inputs, outputs, by_output }, args, outputs, true);
        self.bind(node, Tensor { arg, dims: vec![outputs], ..x });
        Ok(())
    }

    pub(super) fn matmul(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let a = self.input(node, 0, Kind::Weight)?;
        let b = self.input(node, 1, Kind::Weight)?;
        let (a, b) = (self.plain(&a), self.plain(&b));
        match (a.batched, b.batched, b.dims.as_slice()) {
            (_, false, &[depth, outputs]) if a.dims.last() == Some(&depth) => self.dense(node, (&a, &b), outputs),
            (true, true, &[.., _, _]) if a.dims.len() == b.dims.len() => self.products(node, &a, &b),
            _ => Err(unsupported(node, "neither a batch by a matrix of weights nor two batches of matrices")),
        }
    }

    fn dense(&mut self, node: &'m NodeProto, (x, weights): (&Tensor, &Tensor), outputs: usize) -> Result<(), Error> {
        let inputs = weights.dims[0];
        let mut dims = x.dims.clone();
        if let Some(last) = dims.last_mut() {
            *last = outputs;
        }
        let mut args = vec![x.arg, weights.arg];
        // A bias behind it is added on the way.
        let mut made_by = node;
        if let Some(follower) = self.follower(node, &["Add"]) {
            let add = &self.nodes[follower];
            let place = (0..2).find(|i| self.constant_dims(add, *i).is_some_and(|d| is_bias(&d, outputs)));
            if let Some(place) = place {
                let before = std::mem::replace(&mut self.index, follower);
                args.push(self.input(add, place, Kind::Bias)?.arg);
                self.index = before;
                self.joined.insert(follower);
                made_by = add;
            }
        }
        let len = dims.iter().product();
        let arg = self.emit(Linear { inputs, outputs, by_output: false }, args, len, x.batched);
        self.bind(made_by, Tensor { arg, dims, ..x.clone() });
        Ok(())
    }

    fn products(&mut self, node: &'m NodeProto, a: &Tensor, b: &Tensor) -> Result<(), Error> {
        let (heads, matrix) = a.dims.split_at(a.dims.len() - 2);
        let (others, right) = b.dims.split_at(b.dims.len() - 2);
        let (rows, depth, columns) = (matrix[0], matrix[1], right[1]);
        if heads != others || depth != right[0] {
            return Err(unsupported(node, "the sizes of its matrices do not fit"));
        }
        let dims: Vec<usize> = heads.iter().copied().chain([rows, columns]).collect();
        let len = dims.iter().product();
        let arg = self.emit(MatMul { rows, depth, columns }, vec![a.arg, b.arg], len, true);
        self.bind(node, Tensor { arg, dims, ..a.clone() });
        Ok(())
    }
}

/// One value for each output, whatever axes of size 1 stand in front.
fn is_bias(dims: &[usize], outputs: usize) -> bool {
    outputs > 1 && dims.last() == Some(&outputs) && dims.iter().product::<usize>() == outputs
}
