//! Kernels for NEON, which every 64-bit ARM processor has: 16 rows in four registers, up to two probes at a time.

use std::arch::aarch64::*;

use half::f16;

use super::{Found, Lane, STEP_BYTES, Tile, WORD_ROWS, scalar};

/// Registers that hold a quarter of a word's rows.
const PARTS: usize = 4;

#[target_feature(enable = "neon")]
pub fn scan<const N: usize>(tile: &Tile<'_>, lanes: &[Lane<'_>; N], _ahead: &[u8], found: &mut Found) {
    let words = tile.scales.len() / WORD_ROWS;
    for quarter in 0..4 * words {
        let mut sums = [[vdupq_n_s32(0); PARTS]; N];
        let mut at = tile.codes[quarter / 4 * tile.steps * STEP_BYTES + quarter % 4 * (STEP_BYTES / 4)..].as_ptr();
        for step in 0..tile.steps {
            for i in 0..PARTS {
                // SAFETY: the caller checked that every word has `steps` steps of 256 bytes.
                let row = unsafe { vld1q_u8(at.add(16 * i)) };
                // Without the offset of 128 there is no bias to take away.
                let row = vreinterpretq_s8_u8(veorq_u8(row, vdupq_n_u8(0x80)));
                for n in 0..N {
                    let probe = vreinterpretq_s8_s32(vdupq_n_s32(lanes[n].codes[step]));
                    let low = vmull_s8(vget_low_s8(row), vget_low_s8(probe));
                    let high = vmull_high_s8(row, probe);
                    // A pair of products is at most 2 · 127 · 127, which 16 bits hold.
                    sums[n][i] = vpadalq_s16(sums[n][i], vpaddq_s16(low, high));
                }
            }
            at = at.wrapping_add(STEP_BYTES);
        }
        for n in 0..N {
            judge(tile, quarter, (n, &lanes[n]), sums[n], found);
        }
    }
}

/// Compares the bounds of a quarter of a word's rows with the lane's floor.
#[inline]
#[target_feature(enable = "neon")]
fn judge(tile: &Tile<'_>, quarter: usize, (n, lane): (usize, &Lane<'_>), sums: [int32x4_t; PARTS], found: &mut Found) {
    let out = n * found.words + quarter / 4;
    let (scales, residuals) = (&tile.scales[quarter * 16..][..16], &tile.residuals[quarter * 16..][..16]);
    let (gain, floor) = (vdupq_n_f32(lane.gain), vdupq_n_f32(lane.floor));
    let to = &mut found.uppers[out * WORD_ROWS + quarter % 4 * 16..][..16];
    let mut mask = 0;
    for i in 0..PARTS {
        // SAFETY: all three slices have 16 values.
        unsafe {
            let (scale, residual) = (vld1q_f32(&raw const scales[4 * i]), vld1q_f32(&raw const residuals[4 * i]));
            let upper = vfmaq_f32(vmulq_f32(residual, gain), vcvtq_f32_s32(sums[i]), scale);
            let reached = vshrq_n_u32::<31>(vcgeq_f32(upper, floor));
            let bits = vshlq_u32(reached, vld1q_s32([0, 1, 2, 3].as_ptr()));
            mask |= u64::from(vaddvq_u32(bits)) << (4 * i);
            vst1q_f32(&raw mut to[4 * i], upper);
        }
    }
    let before = if quarter.is_multiple_of(4) { 0 } else { found.masks[out] };
    found.masks[out] = before | mask << (quarter % 4 * 16);
}

/// Not fused, so that it rounds as the other kernels do.
#[target_feature(enable = "neon")]
pub fn dot(row: &[u16], probe: &[f32]) -> f32 {
    let mut sums = [vdupq_n_f32(0.0); PARTS];
    let mut wide = [0.0f32; 16];
    let mut right = [0.0f32; 16];
    for (row, probe) in row.chunks(16).zip(probe.chunks(16)) {
        wide.fill(0.0);
        right[..probe.len()].copy_from_slice(probe);
        for (to, value) in wide.iter_mut().zip(row) {
            *to = f16::from_bits(*value).to_f32();
        }
        for i in 0..PARTS {
            // SAFETY: both arrays have sixteen values.
            let (x, y) = unsafe { (vld1q_f32(&raw const wide[4 * i]), vld1q_f32(&raw const right[4 * i])) };
            sums[i] = vaddq_f32(sums[i], vmulq_f32(x, y));
        }
    }
    // By halves: of sixteen, of eight, of four, of two.
    let four = vaddq_f32(vaddq_f32(sums[0], sums[2]), vaddq_f32(sums[1], sums[3]));
    let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
}

#[target_feature(enable = "neon")]
pub fn quantise(row: &[u16], codes: &mut [u8]) -> (f32, f32) {
    scalar::quantise(row, codes)
}

#[target_feature(enable = "neon")]
pub const fn prefetch(_row: &[u16]) {}

#[target_feature(enable = "neon")]
pub fn read(bytes: &[u8]) -> u64 {
    scalar::read(bytes)
}
