//! Whole numbers that a graph computes with: sizes of tensors, places, axes. The number of samples stays a symbol.

use onnx::{
    graph::{attribute, int_attribute},
    proto::NodeProto,
    tensor,
};

use super::{Bound, Builder, unsupported};
use crate::{Error, Kind};

/// A whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The number of samples.
    Batch,
    /// This one.
    Fixed(i64),
}

impl<'m> Builder<'m> {
    /// The numbers that a name stands for, if it does.
    pub(super) fn sizes(&self, name: &str) -> Option<Vec<Size>> {
        if let Some(bound) = self.bound.get(name) {
            return if let Bound::Sizes(sizes) = bound { Some(sizes.clone()) } else { None };
        }
        let ints = self.constants.get(name).and_then(|t| tensor::i64_data(t).ok())?;
        Some(ints.into_iter().map(Size::Fixed).collect())
    }

    /// The numbers of the node's input, all of them known.
    pub(super) fn numbers(&self, node: &NodeProto, index: usize) -> Option<Vec<i64>> {
        let sizes = self.sizes(node.input.get(index)?)?;
        sizes.into_iter().map(|s| if let Size::Fixed(n) = s { Some(n) } else { None }).collect()
    }

    /// Axes: an attribute up to a certain operator set, later an input.
    pub(super) fn axes(&self, node: &NodeProto, index: usize) -> Result<Option<Vec<i64>>, Error> {
        if let Some(axes) = attribute(node, "axes") {
            return Ok(Some(axes.ints.clone()));
        }
        match node.input.get(index).filter(|n| !n.is_empty()) {
            None => Ok(None),
            Some(_) => {
                self.numbers(node, index).map(Some).ok_or_else(|| unsupported(node, "its axes are not constant"))
            }
        }
    }

    /// Numbers among the node's first inputs.
    pub(super) fn sizes_of(&self, node: &NodeProto) -> Option<Vec<Size>> {
        node.input.iter().find_map(|n| match self.bound.get(n) {
            Some(Bound::Sizes(sizes)) => Some(sizes.clone()),
            _ => None,
        })
    }

    pub(super) fn bind_sizes(&mut self, node: &NodeProto, sizes: Vec<Size>) {
        if let Some(name) = node.output.first() {
            self.bound.insert(name.clone(), Bound::Sizes(sizes));
        }
    }

    pub(super) fn constant(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        if let Some(value) = attribute(node, "value").and_then(|a| a.t.as_ref()) {
            if let Ok(ints) = tensor::i64_data(value) {
                self.bind_sizes(node, ints.into_iter().map(Size::Fixed).collect());
            }
            // Others are found by their name when they are read.
            return Ok(());
        }
        if let Some(ints) = attribute(node, "value_ints") {
            self.bind_sizes(node, ints.ints.iter().map(|i| Size::Fixed(*i)).collect());
        } else if let Some(int) = attribute(node, "value_int") {
            self.bind_sizes(node, vec![Size::Fixed(int.i())]);
        } else if let Some(float) = attribute(node, "value_float") {
            let tensor = self.constant_tensor(vec![float.f()], vec![]);
            self.bind(node, tensor);
        } else if let Some(floats) = attribute(node, "value_floats") {
            let tensor = self.constant_tensor(floats.floats.clone(), vec![floats.floats.len()]);
            self.bind(node, tensor);
        } else {
            return Err(unsupported(node, "its value is of another type than f32 and i64"));
        }
        Ok(())
    }

    pub(super) fn shape(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        if attribute(node, "start").is_some() || attribute(node, "end").is_some() {
            return Err(unsupported(node, "start and end are not known"));
        }
        let x = self.input(node, 0, Kind::Weight)?;
        let dims = x.dims.iter().map(|d| Size::Fixed(i64::try_from(*d).unwrap_or(i64::MAX)));
        let sizes = x.batched.then_some(Size::Batch).into_iter().chain(dims).collect();
        self.bind_sizes(node, sizes);
        Ok(())
    }

    /// Sums and the like of whole numbers; the number of samples may only be multiplied or divided by 1.
    pub(super) fn size_arithmetic(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let sides: Vec<Vec<Size>> = node.input.iter().filter_map(|n| self.sizes(n)).collect();
        let [a, b] = sides.as_slice() else {
            return Err(unsupported(node, "it mixes sizes and tensors"));
        };
        let len = a.len().max(b.len());
        let at = |side: &[Size], i: usize| side.get(if side.len() == 1 { 0 } else { i }).copied();
        let of = |i: usize| match (node.op_type(), at(a, i)?, at(b, i)?) {
            ("Add", Size::Fixed(x), Size::Fixed(y)) => x.checked_add(y).map(Size::Fixed),
            ("Sub", Size::Fixed(x), Size::Fixed(y)) => x.checked_sub(y).map(Size::Fixed),
            ("Mul", Size::Fixed(x), Size::Fixed(y)) => x.checked_mul(y).map(Size::Fixed),
            ("Div", Size::Fixed(x), Size::Fixed(y)) => x.checked_div(y).map(Size::Fixed),
            ("Mul" | "Div", Size::Batch, Size::Fixed(1)) | ("Mul", Size::Fixed(1), Size::Batch) => Some(Size::Batch),
            _ => None,
        };
        let sizes: Option<Vec<Size>> = (0..len).map(of).collect();
        let sizes = sizes.ok_or_else(|| unsupported(node, "it computes with the number of samples"))?;
        self.bind_sizes(node, sizes);
        Ok(())
    }

    /// The places that a slice or gather takes from an axis of `size`, or none where it cannot be told.
    pub(super) fn places(&self, node: &NodeProto, size: usize) -> Option<Vec<usize>> {
        let size = i64::try_from(size).ok()?;
        let from_end = |i: i64| if i < 0 { i + size } else { i };
        if node.op_type() == "Gather" {
            let places = self.numbers(node, 1)?.into_iter().map(from_end);
            return places.map(|p| usize::try_from(p).ok().filter(|p| (*p as i64) < size)).collect();
        }
        let bound = |name: &str, index: usize| match attribute(node, name) {
            Some(attribute) => attribute.ints.first().copied(),
            None => self.numbers(node, index)?.first().copied(),
        };
        let (start, end) = (bound("starts", 1)?, bound("ends", 2)?);
        let step = if node.input.len() > 4 { *self.numbers(node, 4)?.first()? } else { 1 };
        let (start, end) = (from_end(start), if end < -size { -1 } else { from_end(end) });
        let mut places = Vec::new();
        let mut at = start.clamp(0, if step > 0 { size } else { size - 1 });
        while step != 0 && at >= 0 && at < size && if step > 0 { at < end } else { at > end } {
            places.push(usize::try_from(at).ok()?);
            at += step;
        }
        (step != 0).then_some(places)
    }

    /// The axis that a slice or gather goes along, and whether it goes along one alone.
    pub(super) fn one_axis(&self, node: &NodeProto) -> Option<i64> {
        if node.op_type() == "Gather" {
            return Some(int_attribute(node, "axis").unwrap_or(0));
        }
        match self.axes(node, 3).ok()? {
            Some(axes) => <[i64; 1]>::try_from(axes).ok().map(|[axis]| axis),
            None => attribute(node, "starts")
                .map(|a| a.ints.len())
                .or_else(|| Some(self.numbers(node, 1)?.len()))
                .filter(|n| *n == 1)
                .map(|_| 0),
        }
    }
}
