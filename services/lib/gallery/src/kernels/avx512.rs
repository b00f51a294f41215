//! Kernels for AVX-512 with VNNI: 64 rows in four registers, up to six probes at a time.

use std::arch::x86_64::*;

use super::{Found, Lane, STEP_BYTES, Tile, WORD_ROWS, lines_per_step, scalar::scales};

/// Registers that hold 64 rows.
const PARTS: usize = 4;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn scan<const N: usize>(tile: &Tile<'_>, lanes: &[Lane<'_>; N], ahead: &[u8], found: &mut Found) {
    let words = tile.scales.len() / WORD_ROWS;
    let mut probes = [std::ptr::null(); N];
    for n in 0..N {
        probes[n] = lanes[n].codes.as_ptr();
    }
    let lines = lines_per_step(ahead, words, tile.steps);
    let mut next = ahead.as_ptr();
    for word in 0..words {
        // Filled in a loop and handed on by value: whatever takes its address keeps it out of registers.
        let mut sums = [[_mm512_setzero_si512(); PARTS]; N];
        for n in 0..N {
            sums[n] = [_mm512_set1_epi32(-lanes[n].bias); PARTS];
        }
        let mut at = tile.codes[word * tile.steps * STEP_BYTES..].as_ptr();
        for step in 0..tile.steps {
            for _ in 0..lines {
                _mm_prefetch::<_MM_HINT_T1>(next.cast());
                next = next.wrapping_add(64);
            }
            // SAFETY: the caller checked that every word has `steps` steps of 256 bytes and every lane `steps` codes.
            unsafe {
                let mut rows = [_mm512_setzero_si512(); PARTS];
                for i in 0..PARTS {
                    rows[i] = _mm512_loadu_si512(at.add(64 * i).cast());
                }
                for n in 0..N {
                    let probe = _mm512_set1_epi32(*probes[n].add(step));
                    for i in 0..PARTS {
                        sums[n][i] = _mm512_dpbusd_epi32(sums[n][i], rows[i], probe);
                    }
                }
                at = at.add(STEP_BYTES);
            }
        }
        for n in 0..N {
            judge(tile, word, (n, &lanes[n]), sums[n], found);
        }
    }
}

/// Compares the bounds of a word's rows with the lane's floor.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn judge(tile: &Tile<'_>, word: usize, (n, lane): (usize, &Lane<'_>), sums: [__m512i; PARTS], found: &mut Found) {
    let out = n * found.words + word;
    let (scales, residuals) = (&tile.scales[word * WORD_ROWS..][..64], &tile.residuals[word * WORD_ROWS..][..64]);
    let (gain, floor) = (_mm512_set1_ps(lane.gain), _mm512_set1_ps(lane.floor));
    let mut mask = 0;
    let mut uppers = [_mm512_setzero_ps(); PARTS];
    for i in 0..PARTS {
        // SAFETY: both slices have 64 values.
        let (scale, residual) =
            unsafe { (_mm512_loadu_ps(scales.as_ptr().add(16 * i)), _mm512_loadu_ps(residuals.as_ptr().add(16 * i))) };
        uppers[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[i]), scale, _mm512_mul_ps(residual, gain));
        mask |= u64::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(uppers[i], floor)) << (16 * i);
    }
    found.masks[out] = mask;
    if mask != 0 {
        let to = &mut found.uppers[out * WORD_ROWS..][..WORD_ROWS];
        for (i, upper) in uppers.into_iter().enumerate() {
            // SAFETY: the slice has 64 values.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr().add(16 * i), upper) };
        }
    }
}

/// Sixteen half-precision values from `at` on, zeros beyond the end.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn widen(row: &[u16], at: usize) -> (__m512, u16) {
    let mask = if row.len() - at >= 16 { u16::MAX } else { (1 << (row.len() - at)) - 1 };
    // SAFETY: reads only the values that the mask admits, and those are inside the slice.
    (_mm512_cvtph_ps(unsafe { _mm256_maskz_loadu_epi16(mask, row.as_ptr().add(at).cast()) }), mask)
}

/// Not fused, so that it rounds as the other kernels do.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub fn dot(row: &[u16], probe: &[f32]) -> f32 {
    let mut sums = _mm512_setzero_ps();
    for at in (0..row.len()).step_by(16) {
        let (values, mask) = widen(row, at);
        // SAFETY: the probe is as long as the row.
        let probe = unsafe { _mm512_maskz_loadu_ps(mask, probe.as_ptr().add(at)) };
        sums = _mm512_add_ps(sums, _mm512_mul_ps(values, probe));
    }
    let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sums)));
    super::avx2::fold(_mm256_add_ps(_mm512_castps512_ps256(sums), high))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub fn quantise(row: &[u16], codes: &mut [u8]) -> (f32, f32) {
    let mut max = _mm512_setzero_ps();
    for at in (0..row.len()).step_by(16) {
        max = _mm512_max_ps(max, _mm512_abs_ps(widen(row, at).0));
    }
    let (scale, inverse) = scales(_mm512_reduce_max_ps(max));
    let (by, inverse) = (_mm512_set1_ps(scale), _mm512_set1_ps(inverse));
    let mut squares = _mm512_setzero_ps();
    for at in (0..row.len()).step_by(16) {
        let (values, mask) = widen(row, at);
        let whole = _mm512_cvtps_epi32(_mm512_mul_ps(values, inverse));
        let lost = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(whole), by, values);
        squares = _mm512_fmadd_ps(lost, lost, squares);
        let bytes = _mm_xor_si128(_mm512_cvtepi32_epi8(whole), _mm_set1_epi8(-128));
        // SAFETY: writes only the values that the mask admits; `codes` is at least as long as the row.
        unsafe { _mm_mask_storeu_epi8(codes.as_mut_ptr().add(at).cast(), mask, bytes) };
    }
    (scale, _mm512_reduce_add_ps(squares))
}

#[target_feature(enable = "avx512f")]
pub fn prefetch(row: &[u16]) {
    super::avx2::prefetch_lines(row);
}

#[target_feature(enable = "avx512f")]
pub fn read(bytes: &[u8]) -> u64 {
    let (blocks, _) = bytes.as_chunks::<512>();
    let mut sums = [_mm512_setzero_si512(); 8];
    for block in blocks {
        for (i, sum) in sums.iter_mut().enumerate() {
            let line = block[64 * i..].as_ptr();
            _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(4096).cast());
            // SAFETY: eight lines of 64 bytes make the block.
            *sum = _mm512_xor_si512(*sum, unsafe { _mm512_loadu_si512(line.cast()) });
        }
    }
    let sum = sums.into_iter().fold(_mm512_setzero_si512(), |a, b| _mm512_xor_si512(a, b));
    _mm512_reduce_or_epi64(sum).cast_unsigned()
}
