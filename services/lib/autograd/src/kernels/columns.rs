//! Passes over rows of channels: a normalisation with its activation, both ways, and sums over rows. All of these are
//! as fast as memory is, so each does as much as it can in one pass. Callers: `ops/norm_act.rs`, biases.

use super::{fma, kernel};

/// Rows whose sums are kept in single precision before they are added up in double.
const BLOCK: usize = 256;
/// Rows whose sums are added before they go to memory: one after the other, each addition would wait for the last.
const TOGETHER: usize = 4;

/// `z = x · scale + shift` and behind it `z` where it is above zero, `z · slope` elsewhere; a value for each channel.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// Factor.
    pub scale: &'a [f32],
    /// Summand.
    pub shift: &'a [f32],
    /// Slope below zero: 1 for no activation.
    pub slope: &'a [f32],
}

/// Where the gradient of an output comes from, and what becomes of what is there in the input's.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    /// The output's gradient; `None` where it lies in the place of the input's.
    pub from: Option<&'a [f32]>,
    /// Adds to the input's gradient instead of replacing it.
    pub add: bool,
}

/// How the gradient goes through: `dz · by + x · by_x + constant` for each channel, `dz` being that before the activation.
#[derive(Clone, Copy, Debug)]
pub struct Through<'a> {
    /// What the forward pass did.
    pub affine: Affine<'a>,
    /// Mean of each channel, for the gradient of the scale.
    pub mean: &'a [f32],
    /// Factor of the gradient.
    pub by: &'a [f32],
    /// Factor of the input.
    pub by_x: &'a [f32],
    /// Summand.
    pub constant: &'a [f32],
}

kernel! {
    /// The forward pass.
    pub fn norm_act(affine: &Affine<'_>, x: &[f32], y: &mut [f32]) {
        let c = affine.scale.len();
        let (scale, shift, slope) = (&affine.scale[..c], &affine.shift[..c], &affine.slope[..c]);
        for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
            for i in 0..c {
                let z = fma::<FMA>(x[i], scale[i], shift[i]);
                y[i] = if z > 0.0 { z } else { z * slope[i] };
            }
        }
    }
}

kernel! {
    /// The backward pass. Gives for each channel the sums over rows of `dz`, of `dz · (x - mean)` and of the slope's
    /// gradient, one list behind the other.
    pub fn norm_act_back(through: &Through<'_>, x: &[f32], flow: Flow<'_>, to: &mut [f32]) -> Vec<f64> {
        let c = through.mean.len();
        let mut total = vec![0.0f64; 3 * c];
        let mut part = vec![0.0f32; 3 * c];
        let mut gradient = vec![0.0f32; TOGETHER * c];
        let (by, by_x, constant) = (&through.by[..c], &through.by_x[..c], &through.constant[..c]);
        for (block, (x, to)) in x.chunks(BLOCK * c).zip(to.chunks_mut(BLOCK * c)).enumerate() {
            part.fill(0.0);
            for (g, (x, to)) in x.chunks(TOGETHER * c).zip(to.chunks_mut(TOGETHER * c)).enumerate() {
                let gradient = &mut gradient[..x.len()];
                match flow.from {
                    Some(from) => gradient.copy_from_slice(&from[(block * BLOCK + g * TOGETHER) * c..][..x.len()]),
                    None => gradient.copy_from_slice(to),
                }
                back_rows::<FMA>((&through.affine, through.mean), x, gradient, &mut part);
                for ((x, dz), to) in x.chunks_exact(c).zip(gradient.chunks_exact(c)).zip(to.chunks_exact_mut(c)) {
                    if flow.add {
                        for i in 0..c {
                            to[i] += fma::<FMA>(dz[i], by[i], fma::<FMA>(x[i], by_x[i], constant[i]));
                        }
                    } else {
                        for i in 0..c {
                            to[i] = fma::<FMA>(dz[i], by[i], fma::<FMA>(x[i], by_x[i], constant[i]));
                        }
                    }
                }
            }
            drain(&part, &mut total);
        }
        total
    }
}

kernel! {
    /// The sums of [`norm_act_back`] alone: statistics of the batch need them before anything can go through.
    pub fn norm_act_sums(affine: &Affine<'_>, mean: &[f32], x: &[f32], gradient: &[f32]) -> Vec<f64> {
        let c = mean.len();
        let mut total = vec![0.0f64; 3 * c];
        let mut part = vec![0.0f32; 3 * c];
        let mut rows = vec![0.0f32; TOGETHER * c];
        for (x, gradient) in x.chunks(BLOCK * c).zip(gradient.chunks(BLOCK * c)) {
            part.fill(0.0);
            for (x, gradient) in x.chunks(TOGETHER * c).zip(gradient.chunks(TOGETHER * c)) {
                let rows = &mut rows[..x.len()];
                rows.copy_from_slice(gradient);
                back_rows::<FMA>((affine, mean), x, rows, &mut part);
            }
            drain(&part, &mut total);
        }
        total
    }
}

/// Turns gradients behind the activation into those before it, and adds up what parameters want to know.
#[inline(always)]
fn back_rows<const FMA: bool>(
    (affine, mean): (&Affine<'_>, &[f32]),
    x: &[f32],
    gradient: &mut [f32],
    part: &mut [f32],
) {
    let c = mean.len();
    let (scale, shift, slope) = (&affine.scale[..c], &affine.shift[..c], &affine.slope[..c]);
    let (sum, rest) = part.split_at_mut(c);
    let (sum_x, sum_slope) = rest.split_at_mut(c);
    let (sum_x, sum_slope) = (&mut sum_x[..c], &mut sum_slope[..c]);
    let one = |x: f32, g: f32, i: usize| {
        let z = fma::<FMA>(x, scale[i], shift[i]);
        let (dz, dslope) = if z > 0.0 { (g, 0.0) } else { (g * slope[i], g * z) };
        (dz, dslope)
    };
    if x.len() == TOGETHER * c {
        let (x0, rest) = x.split_at(c);
        let (x1, rest) = rest.split_at(c);
        let (x2, x3) = rest.split_at(c);
        let (g0, rest) = gradient.split_at_mut(c);
        let (g1, rest) = rest.split_at_mut(c);
        let (g2, g3) = rest.split_at_mut(c);
        let (x3, g3) = (&x3[..c], &mut g3[..c]);
        for i in 0..c {
            let (a, p) = one(x0[i], g0[i], i);
            let (b, q) = one(x1[i], g1[i], i);
            let (d, r) = one(x2[i], g2[i], i);
            let (e, s) = one(x3[i], g3[i], i);
            (g0[i], g1[i], g2[i], g3[i]) = (a, b, d, e);
            sum[i] += (a + b) + (d + e);
            let m = mean[i];
            sum_x[i] += (a * (x0[i] - m) + b * (x1[i] - m)) + (d * (x2[i] - m) + e * (x3[i] - m));
            sum_slope[i] += (p + q) + (r + s);
        }
        return;
    }
    for (x, g) in x.chunks_exact(c).zip(gradient.chunks_exact_mut(c)) {
        for i in 0..c {
            let (dz, dslope) = one(x[i], g[i], i);
            g[i] = dz;
            sum[i] += dz;
            sum_x[i] += dz * (x[i] - mean[i]);
            sum_slope[i] += dslope;
        }
    }
}

kernel! {
    /// For each channel the sums over rows of `x - about` and of its square, one list behind the other.
    pub fn moments(x: &[f32], about: &[f32]) -> Vec<f64> {
        let c = about.len();
        let mut total = vec![0.0f64; 2 * c];
        let mut part = vec![0.0f32; 2 * c];
        for x in x.chunks(BLOCK * c) {
            part.fill(0.0);
            let (sum, squares) = part.split_at_mut(c);
            let squares = &mut squares[..c];
            let mut groups = x.chunks_exact(TOGETHER * c);
            for x in &mut groups {
                let (x0, rest) = x.split_at(c);
                let (x1, rest) = rest.split_at(c);
                let (x2, x3) = rest.split_at(c);
                let x3 = &x3[..c];
                for i in 0..c {
                    let m = about[i];
                    let (p, q, r, s) = (x0[i] - m, x1[i] - m, x2[i] - m, x3[i] - m);
                    sum[i] += (p + q) + (r + s);
                    squares[i] += fma::<FMA>(p, p, q * q) + fma::<FMA>(r, r, s * s);
                }
            }
            for x in groups.remainder().chunks_exact(c) {
                for i in 0..c {
                    let d = x[i] - about[i];
                    sum[i] += d;
                    squares[i] = fma::<FMA>(d, d, squares[i]);
                }
            }
            drain(&part, &mut total);
        }
        total
    }
}

kernel! {
    /// For each of `c` channels the sum over rows.
    pub fn column_sums(x: &[f32], c: usize) -> Vec<f64> {
        let mut total = vec![0.0f64; c];
        let mut part = vec![0.0f32; c];
        for x in x.chunks(BLOCK * c) {
            part.fill(0.0);
            for x in x.chunks_exact(c) {
                for (sum, x) in part.iter_mut().zip(x) {
                    *sum += x;
                }
            }
            drain(&part, &mut total);
        }
        total
    }
}

/// Adds sums in single precision to those in double.
#[inline(always)]
pub(super) fn drain(part: &[f32], total: &mut [f64]) {
    for (total, part) in total.iter_mut().zip(part) {
        *total += f64::from(*part);
    }
}
