//! Numbers that a loss is computed in.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `f32` or `f64`.
pub trait Real:
    Copy
    + Debug
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// Nothing.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// The nearest to a number.
    fn of(value: f64) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// e to its power.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
}

macro_rules! real {
    ($($t:ty),*) => {$(
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            fn of(value: f64) -> Self {
                value as $t
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn exp(self) -> Self {
                self.exp()
            }
            fn ln(self) -> Self {
                self.ln()
            }
        }
    )*};
}

real!(f32, f64);

/// Rows of `a` times rows of `b`: `n × m` values, each a sum over `k`.
pub(super) fn rows_by_rows<R: Real>(a: &[R], b: &[R], k: usize) -> Vec<R> {
    let row = |x: &[R]| b.chunks_exact(k).map(|y| dot(x, y)).collect::<Vec<R>>();
    a.chunks_exact(k).flat_map(row).collect()
}

/// Sum of products, in eight parts that the compiler may add side by side.
pub(super) fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    let mut sums = [R::ZERO; 8];
    let (x, y) = (a.chunks_exact(8), b.chunks_exact(8));
    let mut rest = R::ZERO;
    for (p, q) in x.remainder().iter().zip(y.remainder()) {
        rest = rest + *p * *q;
    }
    for (p, q) in x.zip(y) {
        for (s, (p, q)) in sums.iter_mut().zip(p.iter().zip(q)) {
            *s = *s + *p * *q;
        }
    }
    sums.iter().fold(rest, |sum, s| sum + *s)
}

/// `target += by × row`.
pub(super) fn add_scaled<R: Real>(target: &mut [R], by: R, row: &[R]) {
    for (t, r) in target.iter_mut().zip(row) {
        *t = *t + by * *r;
    }
}
