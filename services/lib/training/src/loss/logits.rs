//! From embeddings and prototypes to logits and back: by a linear layer, or by cosines.

use super::real::{Real, add_scaled, dot, rows_by_rows};

/// Shorter vectors have no direction.
const LEAST_LENGTH: f64 = 1e-12;

/// Softmax of `row / temperature`, put into `out`; gives the logarithm of the sum, so that `total − z` is the negative
/// logarithm of a share.
pub(super) fn softmax<R: Real>(row: &[R], temperature: R, out: &mut [R]) -> R {
    let most = row.iter().fold(row[0], |m, z| if *z > m { *z } else { m }) / temperature;
    let mut sum = R::ZERO;
    for (o, z) in out.iter_mut().zip(row) {
        *o = (*z / temperature - most).exp();
        sum = sum + *o;
    }
    out.iter_mut().for_each(|o| *o = *o / sum);
    most + sum.ln()
}

/// x · wᵀ + b.
pub(super) struct Linear<'a, R> {
    pub x: &'a [R],
    pub weights: &'a [R],
    pub bias: &'a [R],
    pub n: usize,
}

impl<R: Real> Linear<'_, R> {
    pub fn logits(&self) -> Vec<R> {
        let dim = self.x.len() / self.n;
        let mut all = rows_by_rows(self.x, self.weights, dim);
        for row in all.chunks_exact_mut(self.bias.len()) {
            row.iter_mut().zip(self.bias).for_each(|(z, b)| *z = *z + *b);
        }
        all
    }

    /// Derivatives by x, weights and biases.
    pub fn backward(&self, gradient: &[R]) -> (Vec<R>, Vec<R>, Vec<R>) {
        let (dim, classes) = (self.x.len() / self.n, self.bias.len());
        let (mut dx, mut dw) = (vec![R::ZERO; self.x.len()], vec![R::ZERO; self.weights.len()]);
        let mut db = vec![R::ZERO; classes];
        let rows = gradient.chunks_exact(classes).zip(dx.chunks_exact_mut(dim)).zip(self.x.chunks_exact(dim));
        for ((g, dx), x) in rows {
            let by_class = g.iter().zip(self.weights.chunks_exact(dim)).zip(dw.chunks_exact_mut(dim)).zip(&mut db);
            for (((g, w), dw), db) in by_class {
                add_scaled(dx, *g, w);
                add_scaled(dw, *g, x);
                *db = *db + *g;
            }
        }
        (dx, dw, db)
    }
}

/// Vectors of length one, and how long they were.
pub(super) struct Units<R> {
    pub rows: Vec<R>,
    pub lengths: Vec<R>,
}

impl<R: Real> Units<R> {
    pub fn of(x: &[R], dim: usize) -> Self {
        let least = R::of(LEAST_LENGTH);
        let length = |row: &[R]| {
            let l = dot(row, row).sqrt();
            if l > least { l } else { least }
        };
        let lengths: Vec<R> = x.chunks_exact(dim).map(length).collect();
        let rows = x.chunks_exact(dim).zip(&lengths).flat_map(|(row, l)| row.iter().map(|v| *v / *l)).collect();
        Self { rows, lengths }
    }

    /// From the derivative by the unit vectors to that by the vectors: what points along a vector does not turn it.
    pub fn backward(&self, mut gradient: Vec<R>, dim: usize) -> Vec<R> {
        let rows = gradient.chunks_exact_mut(dim).zip(self.rows.chunks_exact(dim)).zip(&self.lengths);
        for ((g, unit), length) in rows {
            let along = dot(g, unit);
            g.iter_mut().zip(unit).for_each(|(g, u)| *g = (*g - along * *u) / *length);
        }
        gradient
    }
}

/// Cosines of every embedding with every prototype.
pub(super) struct Cosines<R> {
    x: Units<R>,
    w: Units<R>,
    dim: usize,
    /// `n × classes`.
    pub values: Vec<R>,
}

impl<R: Real> Cosines<R> {
    pub fn of(x: &[R], weights: &[R], n: usize) -> Self {
        let dim = x.len() / n;
        let (x, w) = (Units::of(x, dim), Units::of(weights, dim));
        let values = rows_by_rows(&x.rows, &w.rows, dim);
        Self { x, w, dim, values }
    }

    /// Derivatives by embeddings and prototypes.
    pub fn backward(&self, gradient: &[R]) -> (Vec<R>, Vec<R>) {
        let (dim, classes) = (self.dim, self.w.lengths.len());
        let (mut dx, mut dw) = (vec![R::ZERO; self.x.rows.len()], vec![R::ZERO; self.w.rows.len()]);
        let rows = gradient.chunks_exact(classes).zip(dx.chunks_exact_mut(dim)).zip(self.x.rows.chunks_exact(dim));
        for ((g, dx), x) in rows {
            for ((g, w), dw) in g.iter().zip(self.w.rows.chunks_exact(dim)).zip(dw.chunks_exact_mut(dim)) {
                add_scaled(dx, *g, w);
                add_scaled(dw, *g, x);
            }
        }
        (self.x.backward(dx, dim), self.w.backward(dw, dim))
    }
}
