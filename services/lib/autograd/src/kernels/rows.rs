//! Operations on whole rows: layer normalisation and softmax, both ways. Callers: `ops/layer_norm.rs`,
//! `ops/softmax.rs`.

use super::{
    columns::{Flow, drain},
    elementwise::exp,
    fma, kernel,
};

/// Partial sums of a row, so that vectors can be added.
const LANES: usize = 16;
/// Rows whose parameter gradients are kept in single precision before they are added up in double.
const BLOCK: usize = 256;

#[inline(always)]
fn tree(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Sum of a function of one value.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for l in 0..LANES {
            lanes[l] += f(x[l]);
        }
    }
    tree(lanes) + rest.iter().map(|x| f(*x)).sum::<f32>()
}

#[inline(always)]
fn dot<const FMA: bool>(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let ((whole, rest), (other, last)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in whole.iter().zip(other) {
        for l in 0..LANES {
            lanes[l] = fma::<FMA>(x[l], y[l], lanes[l]);
        }
    }
    tree(lanes) + rest.iter().zip(last).map(|(x, y)| x * y).sum::<f32>()
}

/// Mean of a row, and one by its standard deviation.
#[inline(always)]
fn spread(x: &[f32], epsilon: f32) -> (f32, f32) {
    let by = 1.0 / x.len() as f32;
    let mean = sum(x, |x| x) * by;
    let variance = sum(x, |x| (x - mean) * (x - mean)) * by;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

kernel! {
    /// Rows as long as `scale`, each brought to mean 0 and variance 1, then scaled and shifted.
    pub fn layer_norm(x: &[f32], norm: (&[f32], &[f32], f32), y: &mut [f32]) {
        let (scale, shift, epsilon) = norm;
        let d = scale.len();
        for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
            let (mean, by) = spread(x, epsilon);
            for i in 0..d {
                y[i] = fma::<FMA>((x[i] - mean) * by, scale[i], shift[i]);
            }
        }
    }
}

kernel! {
    /// Gives the sums over rows of the gradients of scale and shift, one list behind the other.
    pub fn layer_norm_back(x: &[f32], norm: (&[f32], f32), flow: Flow<'_>, to: &mut [f32]) -> Vec<f64> {
        let (scale, epsilon) = norm;
        let d = scale.len();
        let mut total = vec![0.0f64; 2 * d];
        let mut part = vec![0.0f32; 2 * d];
        let (mut g, mut normal, mut scaled) = (vec![0.0f32; d], vec![0.0f32; d], vec![0.0f32; d]);
        for (block, (x, to)) in x.chunks(BLOCK * d).zip(to.chunks_mut(BLOCK * d)).enumerate() {
            part.fill(0.0);
            let (of_scale, of_shift) = part.split_at_mut(d);
            for (r, (x, to)) in x.chunks_exact(d).zip(to.chunks_exact_mut(d)).enumerate() {
                match flow.from {
                    Some(from) => g.copy_from_slice(&from[(block * BLOCK + r) * d..][..d]),
                    None => g.copy_from_slice(to),
                }
                let (mean, by) = spread(x, epsilon);
                for i in 0..d {
                    normal[i] = (x[i] - mean) * by;
                    scaled[i] = g[i] * scale[i];
                    of_scale[i] = fma::<FMA>(g[i], normal[i], of_scale[i]);
                    of_shift[i] += g[i];
                }
                let level = sum(&scaled, |v| v) / d as f32;
                let slope = dot::<FMA>(&scaled, &normal) / d as f32;
                for i in 0..d {
                    let dx = (scaled[i] - level - normal[i] * slope) * by;
                    to[i] = if flow.add { to[i] + dx } else { dx };
                }
            }
            drain(&part, &mut total);
        }
        total
    }
}

kernel! {
    /// Rows of `d` values to rows of shares.
    pub fn softmax(d: usize, x: &[f32], y: &mut [f32]) {
        for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
            let mut most = [f32::NEG_INFINITY; LANES];
            let (whole, rest) = x.as_chunks::<LANES>();
            for x in whole {
                for l in 0..LANES {
                    most[l] = if x[l] > most[l] { x[l] } else { most[l] };
                }
            }
            let most = most.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            for i in 0..d {
                y[i] = exp::<FMA>(x[i] - most);
            }
            let by = 1.0 / sum(y, |v| v);
            for v in y {
                *v *= by;
            }
        }
    }
}

kernel! {
    /// From the shares alone.
    pub fn softmax_back(d: usize, y: &[f32], flow: Flow<'_>, to: &mut [f32]) {
        for (r, (y, to)) in y.chunks_exact(d).zip(to.chunks_exact_mut(d)).enumerate() {
            match flow.from {
                Some(from) => {
                    let g = &from[r * d..][..d];
                    let mean = dot::<FMA>(y, g);
                    for i in 0..d {
                        let dx = y[i] * (g[i] - mean);
                        to[i] = if flow.add { to[i] + dx } else { dx };
                    }
                }
                None => {
                    let mean = dot::<FMA>(y, to);
                    for i in 0..d {
                        to[i] = y[i] * (to[i] - mean);
                    }
                }
            }
        }
    }
}
