//! The part of the reference that is about shapes: broadcasting, products, moving and naming numbers.

use onnx::{
    graph::{attribute, int_attribute},
    proto::{NodeProto, ValueInfoProto, tensor_shape_proto::dimension::Value, type_proto},
};

use crate::reference::{Scope, Wide};

/// Sizes of an input for `n` samples.
pub fn declared(input: &ValueInfoProto, n: usize) -> Vec<usize> {
    let Some(type_proto::Value::TensorType(t)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        panic!("no tensor");
    };
    let dims = &t.shape.as_ref().expect("a shape").dim;
    let fixed = |d: &Option<Value>| if let Some(Value::DimValue(n)) = d { *n as usize } else { 0 };
    std::iter::once(n).chain(dims[1..].iter().map(|d| fixed(&d.value))).collect()
}

/// The indices of a place.
fn indices(dims: &[usize], mut place: usize) -> Vec<usize> {
    let mut found = vec![0; dims.len()];
    for axis in (0..dims.len()).rev() {
        found[axis] = place % dims[axis];
        place /= dims[axis];
    }
    found
}

/// The place of indices, of which those of size 1 stay at 0 and those in front may be missing.
fn place(dims: &[usize], indices: &[usize]) -> usize {
    let indices = &indices[indices.len() - dims.len()..];
    dims.iter().zip(indices).fold(0, |at, (dim, i)| at * dim + if *dim == 1 { 0 } else { *i })
}

pub fn broadcast(a: &Wide, b: &Wide, f: impl Fn(f64, f64) -> f64) -> Wide {
    let rank = a.dims.len().max(b.dims.len());
    let size = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let dims: Vec<usize> = (0..rank).map(|axis| size(&a.dims, axis).max(size(&b.dims, axis))).collect();
    let one = |at: usize| {
        let at = indices(&dims, at);
        f(a.values[place(&a.dims, &at)], b.values[place(&b.dims, &at)])
    };
    let values = (0..dims.iter().product()).map(one).collect();
    Wide { dims, values }
}

/// `Gemm` and `MatMul`.
pub fn product(scope: &Scope<'_>, node: &NodeProto, a: &Wide) -> Wide {
    let b = scope.input(node, 1);
    let turned = int_attribute(node, "transB").unwrap_or(0) == 1;
    let [.., p, q] = b.dims[..] else { panic!("a matrix") };
    let (depth, columns) = if turned { (q, p) } else { (p, q) };
    let rows = a.dims[a.dims.len() - 2];
    let of_matrix = |i: usize| if b.dims.len() > 2 { i * p * q } else { 0 };
    let mut values = Vec::new();
    for (i, matrix) in a.values.chunks(rows * depth).enumerate() {
        for (r, c) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
            let at = |k: usize| of_matrix(i) + if turned { c * depth + k } else { k * columns + c };
            values.push((0..depth).map(|k| matrix[r * depth + k] * b.values[at(k)]).sum::<f64>());
        }
    }
    let mut dims = a.dims.clone();
    *dims.last_mut().expect("an axis") = columns;
    let made = Wide { dims, values };
    match scope.optional(node, 2) {
        Some(bias) => broadcast(&made, &bias, |x, y| x + y),
        None => made,
    }
}

/// Everything that moves numbers.
pub fn node(scope: &Scope<'_>, node: &NodeProto, x: &Wide) -> Vec<Wide> {
    let rank = x.dims.len() as i64;
    let axis = |name: &str, other: i64| {
        let axis = int_attribute(node, name).unwrap_or(other);
        (if axis < 0 { axis + rank } else { axis }) as usize
    };
    let axes = || attribute(node, "axes").map(|a| a.ints.clone()).or_else(|| scope.ints(node, 1));
    match node.op_type() {
        "Flatten" => vec![Wide { dims: vec![x.dims[0], x.dims[1..].iter().product()], values: x.values.clone() }],
        "Reshape" => vec![reshape(x, &scope.ints(node, 1).expect("sizes"))],
        "Unsqueeze" | "Squeeze" => {
            let mut dims = x.dims.clone();
            for axis in axes().expect("axes") {
                if node.op_type() == "Squeeze" {
                    dims.remove(axis as usize);
                } else {
                    dims.insert(axis as usize, 1);
                }
            }
            vec![Wide { dims, values: x.values.clone() }]
        }
        "Transpose" => {
            let perm: Vec<usize> = attribute(node, "perm").expect("perm").ints.iter().map(|p| *p as usize).collect();
            let dims: Vec<usize> = perm.iter().map(|p| x.dims[*p]).collect();
            let from = |at: usize| {
                let at = indices(&dims, at);
                let mut own = vec![0; at.len()];
                perm.iter().zip(at).for_each(|(p, i)| own[*p] = i);
                x.values[place(&x.dims, &own)]
            };
            vec![Wide { values: (0..x.values.len()).map(from).collect(), dims: dims.clone() }]
        }
        "GlobalAveragePool" => vec![mean(x, &[2, 3], true)],
        "ReduceMean" => {
            let axes: Vec<usize> =
                axes().expect("axes").iter().map(|a| (a + if *a < 0 { rank } else { 0 }) as usize).collect();
            vec![mean(x, &axes, int_attribute(node, "keepdims").unwrap_or(1) == 1)]
        }
        "Concat" => {
            let parts: Vec<Wide> = (0..node.input.len()).map(|i| scope.input(node, i)).collect();
            vec![concat(&parts, axis("axis", 0))]
        }
        "Split" => {
            let (axis, mut first) = (axis("axis", 0), 0);
            let each = x.dims[axis] / node.output.len();
            let sizes = scope.ints(node, 1).unwrap_or_else(|| vec![each as i64; node.output.len()]);
            sizes
                .iter()
                .map(|s| {
                    let part = take(x, axis, &(first..first + *s as usize).collect::<Vec<_>>());
                    first += *s as usize;
                    part
                })
                .collect()
        }
        "Slice" => {
            let [start, end, on] = [1, 2, 3].map(|i| scope.ints(node, i).expect("numbers")[0]);
            let size = x.dims[on as usize] as i64;
            let from_end = |i: i64| (if i < 0 { i + size } else { i }).min(size) as usize;
            vec![take(x, on as usize, &(from_end(start)..from_end(end)).collect::<Vec<_>>())]
        }
        "Gather" => {
            let axis = axis("axis", 0);
            let constant = onnx::graph::constant(scope.graph, &node.input[1]).expect("places");
            let places: Vec<usize> = scope.ints(node, 1).expect("places").iter().map(|p| *p as usize).collect();
            let mut made = take(x, axis, &places);
            if constant.dims.is_empty() {
                made.dims.remove(axis);
            }
            vec![made]
        }
        op => panic!("the reference does not know {op}"),
    }
}

fn reshape(x: &Wide, sizes: &[i64]) -> Wide {
    let mut dims: Vec<usize> =
        sizes.iter().enumerate().map(|(i, s)| if *s == 0 { x.dims[i] } else { (*s).max(1) as usize }).collect();
    if let Some(open) = sizes.iter().position(|s| *s == -1) {
        dims[open] = x.values.len() / dims.iter().product::<usize>();
    }
    Wide { dims, values: x.values.clone() }
}

fn mean(x: &Wide, axes: &[usize], keep: bool) -> Wide {
    let kept: Vec<usize> = (0..x.dims.len()).map(|a| if axes.contains(&a) { 1 } else { x.dims[a] }).collect();
    let mut values = vec![0.0; kept.iter().product()];
    let count = (x.values.len() / values.len()) as f64;
    for (at, value) in x.values.iter().enumerate() {
        values[place(&kept, &indices(&x.dims, at))] += value / count;
    }
    let dims = (0..x.dims.len()).filter(|a| keep || !axes.contains(a)).map(|a| kept[a]).collect();
    Wide { dims, values }
}

fn take(x: &Wide, axis: usize, places: &[usize]) -> Wide {
    let mut dims = x.dims.clone();
    dims[axis] = places.len();
    let from = |at: usize| {
        let mut at = indices(&dims, at);
        at[axis] = places[at[axis]];
        // The place has to be told even where the axis has one value.
        x.values[x.dims.iter().zip(&at).fold(0, |place, (dim, i)| place * dim + i)]
    };
    Wide { values: (0..dims.iter().product()).map(from).collect(), dims: dims.clone() }
}

fn concat(parts: &[Wide], axis: usize) -> Wide {
    let mut dims = parts[0].dims.clone();
    dims[axis] = parts.iter().map(|p| p.dims[axis]).sum();
    let runs: Vec<usize> = parts.iter().map(|p| p.dims[axis..].iter().product()).collect();
    let outer: usize = dims[..axis].iter().product();
    let mut values = Vec::new();
    for i in 0..outer {
        parts.iter().zip(&runs).for_each(|(p, run)| values.extend(&p.values[i * run..(i + 1) * run]));
    }
    Wide { dims, values }
}
