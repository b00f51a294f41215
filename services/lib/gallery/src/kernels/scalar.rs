//! The kernels without vector instructions: what every machine can run, and the order of additions all others keep.

use half::f16;

use super::{Found, Lane, STEP_BYTES, STEP_DIMS, Tile, WORD_ROWS};

/// Independent partial sums of a score.
pub const SUMS: usize = 16;

pub fn scan<const N: usize>(tile: &Tile<'_>, lanes: &[Lane<'_>; N], _ahead: &[u8], found: &mut Found) {
    let words = tile.scales.len() / WORD_ROWS;
    for (n, lane) in lanes.iter().enumerate() {
        for word in 0..words {
            let mut sums = [-lane.bias; WORD_ROWS];
            let codes = &tile.codes[word * tile.steps * STEP_BYTES..][..tile.steps * STEP_BYTES];
            for (step, &packed) in codes.chunks_exact(STEP_BYTES).zip(lane.codes) {
                let probe = packed.to_ne_bytes().map(|b| i32::from(b.cast_signed()));
                for (sum, row) in sums.iter_mut().zip(step.chunks_exact(STEP_DIMS)) {
                    let products = row.iter().zip(&probe).map(|(a, b)| i32::from(*a) * b);
                    *sum = sum.wrapping_add(products.sum());
                }
            }
            let at = (n * words + word) * WORD_ROWS;
            let mut mask = 0;
            for (row, sum) in sums.into_iter().enumerate() {
                let place = word * WORD_ROWS + row;
                let upper = sum as f32 * tile.scales[place] + tile.residuals[place] * lane.gain;
                found.uppers[at + row] = upper;
                mask |= u64::from(upper >= lane.floor) << row;
            }
            found.masks[n * words + word] = mask;
        }
    }
}

/// In sixteen partial sums, folded by halves.
pub fn dot(row: &[u16], probe: &[f32]) -> f32 {
    let mut sums = [0.0f32; SUMS];
    for (row, probe) in row.chunks(SUMS).zip(probe.chunks(SUMS)) {
        for ((sum, x), y) in sums.iter_mut().zip(row).zip(probe) {
            *sum += f16::from_bits(*x).to_f32() * y;
        }
    }
    let mut width = SUMS / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

/// Scale and the sum of squares of what rounding lost.
pub fn quantise(row: &[u16], codes: &mut [u8]) -> (f32, f32) {
    let wide = || row.iter().map(|v| f16::from_bits(*v).to_f32());
    let max = wide().fold(0.0f32, |max, v| max.max(v.abs()));
    let (scale, inverse) = scales(max);
    let mut squares = 0.0;
    for (value, code) in wide().zip(codes) {
        let whole = (value * inverse).round_ties_even();
        let lost = value - whole * scale;
        squares += lost * lost;
        *code = (whole as i8).cast_unsigned() ^ 0x80;
    }
    (scale, squares)
}

/// What codes are multiplied with to give values, and the other way round.
pub fn scales(max: f32) -> (f32, f32) {
    if max > 0.0 { (max / 127.0, 127.0 / max) } else { (0.0, 0.0) }
}

pub const fn prefetch(_row: &[u16]) {}

pub fn read(bytes: &[u8]) -> u64 {
    let (lines, _) = bytes.as_chunks::<64>();
    let mut sums = [0u64; 8];
    for line in lines {
        for (sum, word) in sums.iter_mut().zip(line.as_chunks::<8>().0) {
            *sum ^= u64::from_le_bytes(*word);
        }
    }
    sums.iter().fold(0, |a, b| a ^ b)
}
