//! Kernels for AVX2 with FMA and F16C: 32 rows in four registers, up to two probes at a time.

use std::arch::x86_64::*;

use super::{Found, Lane, STEP_BYTES, Tile, WORD_ROWS, lines_per_step, scalar::scales};

/// Registers that hold half a word's rows.
const PARTS: usize = 4;

#[target_feature(enable = "avx2,fma,f16c")]
pub fn scan<const N: usize>(tile: &Tile<'_>, lanes: &[Lane<'_>; N], ahead: &[u8], found: &mut Found) {
    let words = tile.scales.len() / WORD_ROWS;
    let lines = lines_per_step(ahead, 2 * words, tile.steps);
    let mut next = ahead.as_ptr();
    for half in 0..2 * words {
        // Filled in a loop and handed on by value: whatever takes its address keeps it out of registers.
        let mut sums = [[_mm256_setzero_si256(); PARTS]; N];
        for n in 0..N {
            sums[n] = [_mm256_set1_epi32(-lanes[n].bias); PARTS];
        }
        let mut at = tile.codes[half / 2 * tile.steps * STEP_BYTES + half % 2 * (STEP_BYTES / 2)..].as_ptr();
        for step in 0..tile.steps {
            for _ in 0..lines {
                _mm_prefetch::<_MM_HINT_T1>(next.cast());
                next = next.wrapping_add(64);
            }
            // SAFETY: the caller checked that every word has `steps` steps of 256 bytes and every lane `steps` codes.
            unsafe {
                let mut rows = [_mm256_setzero_si256(); PARTS];
                for i in 0..PARTS {
                    rows[i] = _mm256_loadu_si256(at.add(32 * i).cast());
                }
                for n in 0..N {
                    let probe = _mm256_set1_epi32(*lanes[n].codes.as_ptr().add(step));
                    for i in 0..PARTS {
                        let pairs = _mm256_maddubs_epi16(rows[i], probe);
                        let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
                        sums[n][i] = _mm256_add_epi32(sums[n][i], fours);
                    }
                }
            }
            at = at.wrapping_add(STEP_BYTES);
        }
        for n in 0..N {
            judge(tile, half, (n, &lanes[n]), sums[n], found);
        }
    }
}

/// Compares the bounds of half a word's rows with the lane's floor.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn judge(tile: &Tile<'_>, half: usize, (n, lane): (usize, &Lane<'_>), sums: [__m256i; PARTS], found: &mut Found) {
    let out = n * found.words + half / 2;
    let (scales, residuals) = (&tile.scales[half * 32..][..32], &tile.residuals[half * 32..][..32]);
    let (gain, floor) = (_mm256_set1_ps(lane.gain), _mm256_set1_ps(lane.floor));
    let to = &mut found.uppers[out * WORD_ROWS + half % 2 * 32..][..32];
    let mut mask = 0;
    for i in 0..PARTS {
        // SAFETY: all three slices have 32 values.
        unsafe {
            let (scale, residual) =
                (_mm256_loadu_ps(&raw const scales[8 * i]), _mm256_loadu_ps(&raw const residuals[8 * i]));
            let upper = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[i]), scale, _mm256_mul_ps(residual, gain));
            let reached = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(upper, floor)).cast_unsigned();
            mask |= u64::from(reached) << (8 * i);
            _mm256_storeu_ps(&raw mut to[8 * i], upper);
        }
    }
    let before = if half.is_multiple_of(2) { 0 } else { found.masks[out] };
    found.masks[out] = before | mask << (half % 2 * 32);
}

/// Sixteen half-precision values from `at` on, zeros beyond the end.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn widen(row: &[u16], at: usize) -> (__m256, __m256) {
    let mut tail = [0u16; 16];
    let whole = row[at..].first_chunk::<16>();
    let values = whole.unwrap_or_else(|| {
        tail[..row.len() - at].copy_from_slice(&row[at..]);
        &tail
    });
    // SAFETY: there are sixteen values.
    unsafe {
        let low = _mm_loadu_si128(values.as_ptr().cast());
        let high = _mm_loadu_si128(values.as_ptr().add(8).cast());
        (_mm256_cvtph_ps(low), _mm256_cvtph_ps(high))
    }
}

/// Not fused, so that it rounds as the other kernels do.
#[target_feature(enable = "avx2,f16c")]
pub fn dot(row: &[u16], probe: &[f32]) -> f32 {
    let (mut low, mut high) = (_mm256_setzero_ps(), _mm256_setzero_ps());
    let mut tail = [0.0f32; 16];
    for at in (0..row.len()).step_by(16) {
        let whole = probe[at..].first_chunk::<16>();
        let probe = whole.unwrap_or_else(|| {
            tail[..probe.len() - at].copy_from_slice(&probe[at..]);
            &tail
        });
        let (a, b) = widen(row, at);
        // SAFETY: there are sixteen values.
        let (x, y) = unsafe { (_mm256_loadu_ps(probe.as_ptr()), _mm256_loadu_ps(probe.as_ptr().add(8))) };
        low = _mm256_add_ps(low, _mm256_mul_ps(a, x));
        high = _mm256_add_ps(high, _mm256_mul_ps(b, y));
    }
    fold(_mm256_add_ps(low, high))
}

/// Sum of eight values, folded by halves.
#[inline]
#[target_feature(enable = "avx")]
pub fn fold(eight: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub fn quantise(row: &[u16], codes: &mut [u8]) -> (f32, f32) {
    let sign = _mm256_set1_ps(-0.0);
    let mut max = _mm256_setzero_ps();
    for at in (0..row.len()).step_by(16) {
        let (a, b) = widen(row, at);
        max = _mm256_max_ps(max, _mm256_max_ps(_mm256_andnot_ps(sign, a), _mm256_andnot_ps(sign, b)));
    }
    let mut eight = [0.0f32; 8];
    // SAFETY: there is room for eight values.
    unsafe { _mm256_storeu_ps(eight.as_mut_ptr(), max) };
    let (scale, inverse) = scales(eight.into_iter().fold(0.0, f32::max));
    let (by, inverse) = (_mm256_set1_ps(scale), _mm256_set1_ps(inverse));
    let mut squares = _mm256_setzero_ps();
    for at in (0..row.len()).step_by(16) {
        let (a, b) = widen(row, at);
        let [a, b] = [a, b].map(|values| {
            let whole = _mm256_cvtps_epi32(_mm256_mul_ps(values, inverse));
            let lost = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(whole), by, values);
            squares = _mm256_fmadd_ps(lost, lost, squares);
            whole
        });
        // Packing works on halves of 128 bits; the permutation puts the quarters in order.
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(a, b));
        let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
        let mut sixteen = [0u8; 16];
        // SAFETY: there is room for sixteen bytes.
        unsafe { _mm_storeu_si128(sixteen.as_mut_ptr().cast(), _mm_xor_si128(bytes, _mm_set1_epi8(-128))) };
        let n = (row.len() - at).min(16);
        codes[at..at + n].copy_from_slice(&sixteen[..n]);
    }
    (scale, fold(squares))
}

#[target_feature(enable = "avx2")]
pub fn prefetch(row: &[u16]) {
    prefetch_lines(row);
}

/// Asks for every cache line of a row.
#[inline]
#[target_feature(enable = "sse")]
pub fn prefetch_lines(row: &[u16]) {
    for line in row.chunks(32) {
        _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
    }
}

#[target_feature(enable = "avx2")]
pub fn read(bytes: &[u8]) -> u64 {
    let (blocks, _) = bytes.as_chunks::<256>();
    let mut sums = [_mm256_setzero_si256(); 8];
    for block in blocks {
        for (i, sum) in sums.iter_mut().enumerate() {
            let half = block[32 * i..].as_ptr();
            _mm_prefetch::<_MM_HINT_T0>(half.wrapping_add(4096).cast());
            // SAFETY: eight times 32 bytes make the block.
            *sum = _mm256_xor_si256(*sum, unsafe { _mm256_loadu_si256(half.cast()) });
        }
    }
    let sum = sums.into_iter().fold(_mm256_setzero_si256(), |a, b| _mm256_xor_si256(a, b));
    let mut four = [0u64; 4];
    // SAFETY: there is room for four words.
    unsafe { _mm256_storeu_si256(four.as_mut_ptr().cast(), sum) };
    four.into_iter().fold(0, |a, b| a ^ b)
}
