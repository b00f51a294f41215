//! Nodes that move numbers or only call them by other sizes. What only gets other sizes costs nothing here.

use onnx::{
    graph::{attribute, int_attribute},
    proto::NodeProto,
};

use super::{Bound, Builder, sizes::Size, tensors::Tensor, unsupported};
use crate::{
    Error, Kind,
    ops::{Concat, Expand, Permute, Take},
};

impl<'m> Builder<'m> {
    pub(super) fn reshape(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        if let Some(Bound::Sizes(sizes)) = node.input.first().and_then(|n| self.bound.get(n)).cloned() {
            // A list of one or the number itself: the same here.
            self.bind_sizes(node, sizes);
            return Ok(());
        }
        let x = self.input(node, 0, Kind::Weight)?;
        let x = self.plain(&x);
        let dims = match node.op_type() {
            "Flatten" => {
                let axis = int_attribute(node, "axis").unwrap_or(1);
                let first = x.axis(axis).filter(|a| x.batched && *a == 0);
                first.map(|_| vec![x.len()])
            }
            "Reshape" => self.target(node, &x),
            "Squeeze" => {
                let axes = self.axes(node, 1)?;
                let all = || (0..x.dims.len()).filter(|a| x.dims[*a] == 1).collect();
                let dropped: Option<Vec<usize>> =
                    axes.map_or_else(|| Some(all()), |axes| axes.iter().map(|a| x.axis(*a)).collect());
                dropped
                    .filter(|d| d.iter().all(|a| x.dims[*a] == 1))
                    .map(|dropped| (0..x.dims.len()).filter(|a| !dropped.contains(a)).map(|a| x.dims[a]).collect())
            }
            _ => self.axes(node, 1)?.and_then(|axes| unsqueezed(&x, &axes)),
        };
        let dims = dims.filter(|d| d.iter().product::<usize>() == x.len());
        let dims = dims.ok_or_else(|| unsupported(node, "it moves the samples, or its sizes cannot be told"))?;
        self.bind(node, Tensor { dims, ..x });
        Ok(())
    }

    /// The sizes that a reshape gives.
    fn target(&self, node: &NodeProto, x: &Tensor) -> Option<Vec<usize>> {
        let sizes = self.sizes(node.input.get(1)?)?;
        let zero_is_zero = int_attribute(node, "allowzero") == Some(1);
        let rest = if x.batched { sizes.get(1..)? } else { &sizes };
        let mut dims = Vec::with_capacity(rest.len());
        let mut open = None;
        for (i, size) in rest.iter().enumerate() {
            dims.push(match size {
                Size::Batch => return None,
                Size::Fixed(0) if !zero_is_zero => *x.dims.get(i)?,
                Size::Fixed(-1) if open.is_none() => {
                    open = Some(i);
                    1
                }
                Size::Fixed(n) => usize::try_from(*n).ok()?,
            });
        }
        let known: usize = dims.iter().product();
        if let Some(open) = open {
            // Then the samples' own size has to be told.
            let told = !x.batched || !matches!(sizes.first(), Some(Size::Fixed(-1)));
            dims[open] = x.len().checked_div(known).filter(|n| told && n * known == x.len())?;
        }
        let of_samples = matches!(sizes.first(), Some(Size::Batch | Size::Fixed(-1..=1)));
        (!x.batched || of_samples).then_some(dims)
    }

    pub(super) fn transpose(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let rank = x.rank();
        let order = match attribute(node, "perm") {
            Some(perm) => perm.ints.iter().filter_map(|p| usize::try_from(*p).ok()).collect(),
            None => (0..rank).rev().collect::<Vec<_>>(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if sorted != (0..rank).collect::<Vec<_>>() || (x.batched && order[0] != 0) {
            return Err(unsupported(node, "it moves the samples, or its axes are not those of its input"));
        }
        let order: Vec<usize> = if x.batched { order[1..].iter().map(|a| a - 1).collect() } else { order };
        let dims = order.iter().map(|a| x.dims[*a]).collect();
        // Where each axis lies in memory.
        let place = |axis: usize| if x.channels_last { [2, 0, 1][axis] } else { axis };
        let places: Vec<usize> = order.iter().map(|a| place(*a)).collect();
        let arg = if places.is_sorted() {
            x.arg
        } else {
            self.emit(Permute::new(&x.memory(), &places), vec![x.arg], x.len(), x.batched)
        };
        self.bind(node, Tensor { arg, dims, batched: x.batched, channels_last: false });
        Ok(())
    }

    pub(super) fn concat(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        if self.sizes_of(node).is_some() {
            let parts: Option<Vec<Vec<Size>>> = node.input.iter().map(|n| self.sizes(n)).collect();
            let parts = parts.ok_or_else(|| unsupported(node, "it mixes sizes and tensors"))?;
            self.bind_sizes(node, parts.concat());
            return Ok(());
        }
        let mut parts = Vec::with_capacity(node.input.len());
        for index in 0..node.input.len() {
            let part = self.input(node, index, Kind::Bias)?;
            parts.push(self.plain(&part));
        }
        let axis = parts.first().and_then(|p| p.axis(int_attribute(node, "axis").unwrap_or(1)));
        let fit = |axis: usize, p: &Tensor, q: &Tensor| {
            let others = |t: &Tensor| {
                let mut dims = t.dims.clone();
                dims[axis] = 0;
                dims
            };
            p.batched == q.batched && p.dims.len() == q.dims.len() && others(p) == others(q)
        };
        let axis = axis.filter(|a| parts.iter().all(|p| fit(*a, p, &parts[0])));
        let axis = axis.ok_or_else(|| unsupported(node, "it joins samples, or its inputs do not fit"))?;
        let mut dims = parts[0].dims.clone();
        dims[axis] = parts.iter().map(|p| p.dims[axis]).sum();
        let runs = parts.iter().map(|p| p.dims[axis..].iter().product()).collect();
        let batched = parts[0].batched;
        let args = parts.iter().map(|p| p.arg).collect();
        let arg = self.emit(Concat { runs }, args, dims.iter().product(), batched);
        self.bind(node, Tensor { arg, dims, batched, channels_last: false });
        Ok(())
    }

    pub(super) fn take(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let name = node.input.first().map(String::as_str).unwrap_or_default();
        if let Some(sizes) = self.sizes(name) {
            let places = self.places(node, sizes.len());
            let places = places.ok_or_else(|| unsupported(node, "its places are not constant"))?;
            self.bind_sizes(node, places.iter().map(|p| sizes[*p]).collect());
            return Ok(());
        }
        let x = self.input(node, 0, Kind::Weight)?;
        let x = self.plain(&x);
        let axis = self.one_axis(node).and_then(|a| x.axis(a));
        let axis = axis.ok_or_else(|| unsupported(node, "it goes along the samples, or along several axes"))?;
        let places = self.places(node, x.dims[axis]).filter(|p| !p.is_empty());
        let places = places.ok_or_else(|| unsupported(node, "its places are not constant, or there are none"))?;
        // A single number for a place drops the axis.
        let drops = node.op_type() == "Gather" && self.is_number(&node.input[1]);
        let made = self.taken(&x, axis, places, drops);
        self.bind(node, made);
        Ok(())
    }

    fn taken(&mut self, x: &Tensor, axis: usize, places: Vec<usize>, drops: bool) -> Tensor {
        let mut dims = x.dims.clone();
        dims[axis] = places.len();
        let len = dims.iter().product();
        if drops {
            dims.remove(axis);
        }
        let take = Take { size: x.dims[axis], inner: x.dims[axis + 1..].iter().product(), places };
        let arg = self.emit(take, vec![x.arg], len, x.batched);
        Tensor { arg, dims, batched: x.batched, channels_last: false }
    }

    /// Whether a constant is a number and not a list.
    fn is_number(&self, name: &str) -> bool {
        self.constants.get(name).is_some_and(|t| t.dims.is_empty())
            || self.nodes.iter().any(|n| {
                n.output.iter().any(|o| o == name) && (attribute(n, "value_int").is_some() || n.op_type() == "Squeeze")
            })
    }

    pub(super) fn split(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let x = self.plain(&x);
        let axis = x.axis(int_attribute(node, "axis").unwrap_or(0));
        let axis = axis.ok_or_else(|| unsupported(node, "it divides the samples"))?;
        let parts = node.output.len();
        let given = attribute(node, "split").map(|a| a.ints.clone()).or_else(|| self.numbers(node, 1));
        let each = x.dims[axis].div_ceil(parts);
        let sizes: Vec<usize> = match given {
            Some(sizes) => sizes.iter().filter_map(|s| usize::try_from(*s).ok()).collect(),
            None => (0..parts).map(|i| each.min(x.dims[axis].saturating_sub(i * each))).collect(),
        };
        if sizes.len() != parts || sizes.iter().sum::<usize>() != x.dims[axis] || sizes.contains(&0) {
            return Err(unsupported(node, "its parts do not fit its input"));
        }
        let mut first = 0;
        for (name, size) in node.output.iter().zip(sizes) {
            let made = self.taken(&x, axis, (first..first + size).collect(), false);
            self.bound.insert(name.clone(), Bound::Tensor(made));
            first += size;
        }
        Ok(())
    }

    pub(super) fn expand(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Bias)?;
        let x = self.plain(&x);
        let sizes = node.input.get(1).and_then(|n| self.sizes(n));
        let sizes = sizes.ok_or_else(|| unsupported(node, "its sizes cannot be told"))?;
        let fixed = |s: &Size, d: usize| matches!(s, Size::Fixed(n) if *n == 1 || usize::try_from(*n) == Ok(d));
        let rest = |dims: &[usize]| {
            let sizes = &sizes[sizes.len().saturating_sub(dims.len())..];
            sizes.len() == dims.len() && sizes.iter().zip(dims).all(|(s, d)| fixed(s, *d))
        };
        if x.batched && sizes.len() == x.rank() && rest(&x.dims) {
            self.bind(node, x);
            return Ok(());
        }
        let dims = if x.dims.len() == sizes.len() { x.dims.get(1..).unwrap_or(&[]) } else { &x.dims };
        let for_each = sizes.first() == Some(&Size::Batch) && sizes.len() == dims.len() + 1;
        if x.batched || !for_each || !rest(dims) || dims.iter().product::<usize>() != x.len() {
            return Err(unsupported(node, "it does more than repeat something for every sample"));
        }
        let dims = dims.to_vec();
        let arg = self.emit(Expand, vec![x.arg], x.len(), true);
        self.bind(node, Tensor { arg, dims, batched: true, channels_last: false });
        Ok(())
    }
}

/// The sizes with ones put in at these axes of the result.
fn unsqueezed(x: &Tensor, axes: &[i64]) -> Option<Vec<usize>> {
    let rank = i64::try_from(x.rank() + axes.len()).ok()?;
    let own = usize::from(x.batched);
    let mut places: Vec<usize> = Vec::with_capacity(axes.len());
    for axis in axes {
        let place = usize::try_from(if *axis < 0 { axis + rank } else { *axis }).ok()?;
        places.push(place.checked_sub(own).filter(|p| *p < x.dims.len() + axes.len())?);
    }
    places.sort_unstable();
    let mut dims = x.dims.clone();
    for place in places {
        dims.insert(place.min(dims.len()), 1);
    }
    Some(dims)
}
