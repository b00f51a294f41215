//! Margins on the cosine with the right person: what is left of it, and how fast that changes.

use super::real::Real;
use crate::recipe::LossKind;

/// Sines below this make the slope of an angle meaningless.
const LEAST_SINE: f64 = 1e-6;

pub(super) struct Margin<R> {
    pub kind: LossKind,
    pub margin: R,
}

impl<R: Real> Margin<R> {
    /// The cosine after the margin, and its derivative by the cosine.
    pub fn apply(&self, cosine: R) -> (R, R) {
        match self.kind {
            LossKind::Arcface => self.on_the_angle(cosine),
            _ => (cosine - self.margin, R::ONE),
        }
    }

    /// cos(θ + m). Where θ + m would be beyond π the angle cannot grow any more, and the cosine goes down in a straight
    /// line instead, as in the published code.
    fn on_the_angle(&self, cosine: R) -> (R, R) {
        let (sin_m, cos_m) = sin_cos(self.margin);
        if cosine <= -cos_m {
            return (cosine - self.margin * sin_m, R::ONE);
        }
        let square = R::ONE - cosine * cosine;
        let least = R::of(LEAST_SINE);
        let sine = if square > least * least { square.sqrt() } else { least };
        (cosine * cos_m - sine * sin_m, cos_m + sin_m * cosine / sine)
    }
}

/// Of a margin from 0 to π / 2: a series, so that one code serves both precisions.
fn sin_cos<R: Real>(m: R) -> (R, R) {
    let square = m * m;
    let (mut sin, mut cos) = (R::ZERO, R::ZERO);
    let mut term = R::ONE;
    for i in 0..12 {
        cos = cos + term;
        let odd = term * m / R::of(f64::from(2 * i + 1));
        sin = sin + odd;
        term = -(term * square) / R::of(f64::from((2 * i + 1) * (2 * i + 2)));
    }
    (sin, cos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arcface_turns_by_the_margin_and_cosface_subtracts_it() {
        for angle in [0.2f64, 1.0, 2.0, 2.6] {
            let m = Margin { kind: LossKind::Arcface, margin: 0.5 };
            assert!((m.apply(angle.cos()).0 - (angle + 0.5).cos()).abs() < 1e-12);
        }
        let m = Margin { kind: LossKind::Cosface, margin: 0.35 };
        assert!((m.apply(0.9f64).0 - 0.55).abs() < 1e-12);
        let (sin, cos) = sin_cos(1.5f64);
        assert!((sin - 1.5f64.sin()).abs() < 1e-13 && (cos - 1.5f64.cos()).abs() < 1e-13);
        // Beyond π − m it still falls with the angle.
        let m = Margin { kind: LossKind::Arcface, margin: 0.5 };
        assert!(m.apply(3.0f64.cos()).0 < m.apply(2.7f64.cos()).0);
    }
}
