//! Inner loops of the scan: widening half-precision rows and dot products. Called by `flat.rs` alone; faster kernels
//! replace the functions of this file without anything else changing.

use half::{f16, slice::HalfFloatSliceExt};

/// Independent partial sums: breaks the dependency chain and gives the compiler whole vector registers.
const LANES: usize = 16;

/// Widened values a tile may hold: 16 KiB, half of a usual first-level cache, so that a batch of probes rereads it
/// from there.
const TILE_VALUES: usize = 4096;

/// Rows per tile for rows of `dim` values.
pub fn tile_rows(dim: usize) -> usize {
    (TILE_VALUES / dim.max(1)).clamp(4, 64)
}

/// Widens `row` into `out`, which must be as long. Exact: every half is a float.
pub fn widen(row: &[f16], out: &mut [f32]) {
    row.convert_to_f32_slice(out);
}

/// Dot products of `query` with the rows of `tile` (row-major, `query.len()` values each), one per element of `out`.
/// The order of additions is fixed, so every machine, batch size and tile position gives the same score.
pub fn dots(tile: &[f32], query: &[f32], out: &mut [f32]) {
    for (row, score) in tile.chunks_exact(query.len()).zip(out) {
        *score = dot(row, query);
    }
}

/// Dot product in sixteen partial sums, folded by halves.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_body, a_tail) = a.as_chunks::<LANES>();
    let (b_body, b_tail) = b.as_chunks::<LANES>();
    for (x, y) in a_body.iter().zip(b_body) {
        for i in 0..LANES {
            sums[i] += x[i] * y[i];
        }
    }
    for ((x, y), sum) in a_tail.iter().zip(b_tail).zip(&mut sums) {
        *sum += x * y;
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dot_agrees_with_double_precision_at_every_length(
            pairs in prop::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 0..700),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            let size: f64 = a.iter().zip(&b).map(|(x, y)| (f64::from(*x) * f64::from(*y)).abs()).sum();
            prop_assert!((f64::from(dot(&a, &b)) - exact).abs() <= 1e-5 * size + 1e-9);
        }
    }

    #[test]
    fn widening_is_exact_for_every_finite_half() {
        let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|h| h.is_finite()).collect();
        let mut wide = vec![0.0; all.len()];
        widen(&all, &mut wide);
        assert!(all.iter().zip(&wide).all(|(h, w)| f16::from_f32(*w).to_bits() == h.to_bits()));
    }
}
