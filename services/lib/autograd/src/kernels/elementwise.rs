//! Functions of one value at a time, both ways, and the exponential they rest on. Callers: `ops/unary.rs`, the rows.

use super::{columns::Flow, fma, kernel};

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `a · x + b`.
    Line(f32, f32),
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `exp(x)`.
    Exp,
    /// `x · Φ(x)`, with the normal distribution's own function.
    Gelu,
    /// Gauss' error function.
    Erf,
    /// Square root.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// `x` to a power.
    Power(f32),
}

/// Adding this and taking it away again rounds to a whole number.
const ROUND: f32 = 12_582_912.0;
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// The natural logarithm of 2 in two parts, the first with so few digits that its multiples are exact.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);

/// The exponential to a unit or two in the last place; 0 and infinity are not reached, but nearly.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = fma::<FMA>(x, LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let r = fma::<FMA>(whole, -LN_2.0, x);
    let r = fma::<FMA>(whole, -LN_2.1, r);
    // Taylor's series on ±ln 2 / 2.
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = fma::<FMA>(p, r, c);
    }
    // The whole number stands in the lowest bits of what was shifted.
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(exponent)
}

/// The error function and `exp(-x²)`. The complement is fitted by a polynomial in `1 / (1 + 0.35 |x|)` times that, with
/// an error of 1e-9 where arithmetic is exact.
#[inline(always)]
fn erf<const FMA: bool>(x: f32) -> (f32, f32) {
    const FIT: [f32; 7] =
        [-0.158_503_93, 0.390_630_2, 0.247_743_78, 0.217_144_8, 0.775_574_45, 0.743_620_9, 1.007_730_1];
    let size = x.abs();
    let bell = exp::<FMA>(-(x * x));
    let t = 1.0 / fma::<FMA>(0.35, size, 1.0);
    let mut p = 0.0;
    for c in FIT {
        p = fma::<FMA>(p, t, c);
    }
    let complement = bell * fma::<FMA>(t - 1.0, p, 1.0);
    ((1.0 - complement).copysign(x), bell)
}

/// Of the normal distribution: its function at `x`, and its density.
#[inline(always)]
fn normal<const FMA: bool>(x: f32) -> (f32, f32) {
    let (erf, bell) = erf::<FMA>(x * std::f32::consts::FRAC_1_SQRT_2);
    (0.5 + 0.5 * erf, bell * 0.398_942_3)
}

#[inline(always)]
fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

#[inline(always)]
fn tanh<const FMA: bool>(x: f32) -> f32 {
    2.0 * sigmoid::<FMA>(2.0 * x) - 1.0
}

kernel! {
    /// The forward pass.
    pub fn unary(function: Unary, x: &[f32], y: &mut [f32]) {
        macro_rules! each {
            ($f:expr) => { x.iter().zip(y).for_each(|(x, y)| *y = $f(*x)) };
        }
        match function {
            Unary::Line(a, b) => each!(|x| fma::<FMA>(a, x, b)),
            Unary::Sigmoid => each!(sigmoid::<FMA>),
            Unary::Tanh => each!(tanh::<FMA>),
            Unary::Exp => each!(exp::<FMA>),
            Unary::Gelu => each!(|x| x * normal::<FMA>(x).0),
            Unary::Erf => each!(|x| erf::<FMA>(x).0),
            Unary::Sqrt => each!(f32::sqrt),
            Unary::Reciprocal => each!(|x| 1.0 / x),
            Unary::Power(2.0) => each!(|x| x * x),
            Unary::Power(p) => each!(|x: f32| x.powf(p)),
        }
    }
}

kernel! {
    /// The backward pass, from the input alone; a line needs not even that.
    pub fn unary_back(function: Unary, x: &[f32], flow: Flow<'_>, to: &mut [f32]) {
        macro_rules! each {
            ($f:expr) => {
                match (flow.from, flow.add) {
                    (Some(g), true) => x.iter().zip(g).zip(to).for_each(|((x, g), to)| *to += g * $f(*x)),
                    (Some(g), false) => x.iter().zip(g).zip(to).for_each(|((x, g), to)| *to = g * $f(*x)),
                    (None, _) => x.iter().zip(to).for_each(|(x, to)| *to *= $f(*x)),
                }
            };
        }
        match function {
            // Needs no input, and may be given none.
            Unary::Line(a, _) => match (flow.from, flow.add) {
                (Some(g), true) => g.iter().zip(to).for_each(|(g, to)| *to = fma::<FMA>(a, *g, *to)),
                (Some(g), false) => g.iter().zip(to).for_each(|(g, to)| *to = a * g),
                (None, _) => to.iter_mut().for_each(|to| *to *= a),
            },
            Unary::Sigmoid => each!(|x| { let s = sigmoid::<FMA>(x); s * (1.0 - s) }),
            Unary::Tanh => each!(|x| { let t = tanh::<FMA>(x); 1.0 - t * t }),
            Unary::Exp => each!(exp::<FMA>),
            Unary::Gelu => each!(|x| { let (below, density) = normal::<FMA>(x); fma::<FMA>(x, density, below) }),
            Unary::Erf => each!(|x| erf::<FMA>(x).1 * std::f32::consts::FRAC_2_SQRT_PI),
            Unary::Sqrt => each!(|x: f32| 0.5 / x.sqrt()),
            Unary::Reciprocal => each!(|x| -1.0 / (x * x)),
            Unary::Power(2.0) => each!(|x| 2.0 * x),
            Unary::Power(p) => each!(|x: f32| p * x.powf(p - 1.0)),
        }
    }
}

kernel! {
    /// `to += x`.
    pub fn add(x: &[f32], to: &mut [f32]) {
        x.iter().zip(to).for_each(|(x, to)| *to += x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_good_to_the_last_places() {
        for i in -8700..8800i32 {
            let x = i as f32 / 100.0 + 0.003;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp::<false>(x)) / exact - 1.0).abs() < 3e-7, "{x}");
        }
    }

    /// Against the series, which is exact to double precision there.
    #[test]
    fn the_error_function_is_good_to_single_precision() {
        for i in -300..=300i32 {
            let x = i as f32 / 100.0;
            let (wide, mut sum, mut term) = (f64::from(x), 0.0, f64::from(x));
            for n in 0..200u32 {
                sum += term / f64::from(2 * n + 1);
                term *= -wide * wide / f64::from(n + 1);
            }
            let exact = sum * std::f64::consts::FRAC_2_SQRT_PI;
            assert!((f64::from(erf::<false>(x).0) - exact).abs() < 2e-7, "{x}");
        }
    }
}
