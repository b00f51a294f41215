//! The two tiles that every product of matrices is made of: a few rows by two vectors of columns, kept in registers
//! for the whole sum. Caller: `matrix.rs`, which checks all bounds.
//!
//! `gathered` sums along rows of the left matrix that may lie anywhere, so that a convolution needs no copy of its
//! patches. `outer` sums over rows of both matrices: gradients of weights.

/// What a `gathered` tile reads. Pointers into slices that outlive the call.
pub struct Tile {
    /// The left matrix.
    pub a: *const f32,
    /// For every row its taps: where in `a` each begins, or [`super::NONE`].
    pub starts: *const usize,
    /// `depth` zeros, in place of a tap that is [`super::NONE`].
    pub zeros: *const f32,
    /// Runs of values in a row.
    pub taps: usize,
    /// Values in a run.
    pub depth: usize,
}

/// What is done with a tile's sums.
pub struct Out {
    /// The result.
    pub c: *mut f32,
    /// Where in `c` each row begins.
    pub at: *const usize,
    /// How many of the columns there are.
    pub columns: usize,
    /// As many values, added to every row; null for none.
    pub bias: *const f32,
    /// Add to what is there.
    pub add: bool,
}

macro_rules! tiles {
    ($(#[$arch:meta])* $name:ident, [$(#[$with:meta])*], $from:path, $vec:ident * $lanes:literal, $rows:literal, [$zero:ident, $load:ident, $store:ident, $set:ident, $fma:ident, $add:ident]) => {
        $(#[$arch])*
        pub mod $name {
            //! Tiles with the vectors of one instruction set.
            use $from::*;

            use super::{super::NONE, Out, Tile};

            /// Values in a vector.
            pub const LANES: usize = $lanes;
            /// Columns of a tile.
            pub const WIDTH: usize = 2 * LANES;
            /// Most rows of a tile.
            pub const ROWS: usize = $rows;

            /// `M` rows of the result: sums over taps and depth of `a` by the packed `b`.
            ///
            /// # Safety
            /// `M · taps` starts, each with `depth` values behind it; `taps · depth · WIDTH` values at `b`; `M` places
            /// in `c` with room for the columns.
            $(#[$with])*
            pub unsafe fn gathered<const M: usize>(tile: &Tile, b: *const f32, out: &Out) {
                let mut sums = [[$zero(); 2]; M];
                let mut b = b;
                for tap in 0..tile.taps {
                    let mut rows = [tile.zeros; M];
                    for r in 0..M {
                        // SAFETY: the caller gives M · taps starts, each within `a`.
                        unsafe {
                            let start = *tile.starts.add(r * tile.taps + tap);
                            if start != NONE {
                                rows[r] = tile.a.add(start);
                            }
                        }
                    }
                    for k in 0..tile.depth {
                        // SAFETY: `depth` values lie behind each start, and WIDTH columns at each step of `b`.
                        unsafe {
                            let (b0, b1) = ($load(b), $load(b.add(LANES)));
                            for r in 0..M {
                                let x = $set(*rows[r].add(k));
                                sums[r][0] = $fma(x, b0, sums[r][0]);
                                sums[r][1] = $fma(x, b1, sums[r][1]);
                            }
                            b = b.add(WIDTH);
                        }
                    }
                }
                for r in 0..M {
                    // SAFETY: the caller gives M places.
                    let at = unsafe { out.c.add(*out.at.add(r)) };
                    if out.columns >= WIDTH {
                        // SAFETY: there is room for WIDTH columns, and as many values of the bias.
                        unsafe { finish(sums[r], at, out) };
                    } else {
                        // SAFETY: there is room for `columns` of them, fewer than WIDTH.
                        unsafe { finish_part(sums[r], at, out) };
                    }
                }
            }

            #[inline]
            $(#[$with])*
            unsafe fn finish(mut sums: [$vec; 2], at: *mut f32, out: &Out) {
                for v in 0..2 {
                    // SAFETY: as the caller says, WIDTH values at `at` and at the bias where there is one.
                    unsafe {
                        if !out.bias.is_null() {
                            sums[v] = $add(sums[v], $load(out.bias.add(v * LANES)));
                        }
                        if out.add {
                            sums[v] = $add(sums[v], $load(at.add(v * LANES)));
                        }
                        $store(at.add(v * LANES), sums[v]);
                    }
                }
            }

            #[inline]
            $(#[$with])*
            unsafe fn finish_part(sums: [$vec; 2], at: *mut f32, out: &Out) {
                let mut values = [0.0f32; WIDTH];
                // SAFETY: `values` has room for two vectors; `columns` values at `at` and at the bias.
                unsafe {
                    $store(values.as_mut_ptr(), sums[0]);
                    $store(values.as_mut_ptr().add(LANES), sums[1]);
                    for (j, value) in values.iter_mut().enumerate().take(out.columns) {
                        if !out.bias.is_null() {
                            *value += *out.bias.add(j);
                        }
                        let place = at.add(j);
                        *place = if out.add { *place + *value } else { *value };
                    }
                }
            }

            /// `c[i][j] += Σ a[from_a + i] · b[from_b + j]` over all pairs of places, `M` rows by `V` vectors.
            ///
            /// # Safety
            /// `M` values behind each place in `a`, `V` vectors behind each in `b`, `M` rows of `V` vectors at `c`.
            $(#[$with])*
            pub unsafe fn outer<const M: usize, const V: usize>(
                (a, b): (*const f32, *const f32),
                pairs: &[(usize, usize)],
                c: *mut f32,
                stride: usize,
            ) {
                let mut sums = [[$zero(); V]; M];
                for &(from_a, from_b) in pairs {
                    // SAFETY: as the caller says.
                    unsafe {
                        let (a, b) = (a.add(from_a), b.add(from_b));
                        let mut columns = [$zero(); V];
                        for v in 0..V {
                            columns[v] = $load(b.add(v * LANES));
                        }
                        for r in 0..M {
                            let x = $set(*a.add(r));
                            for v in 0..V {
                                sums[r][v] = $fma(x, columns[v], sums[r][v]);
                            }
                        }
                    }
                }
                for r in 0..M {
                    for v in 0..V {
                        // SAFETY: as the caller says.
                        unsafe {
                            let at = c.add(r * stride + v * LANES);
                            $store(at, $add(sums[r][v], $load(at)));
                        }
                    }
                }
            }
        }
    };
}

tiles!(
    #[cfg(target_arch = "x86_64")]
    avx512,
    [#[target_feature(enable = "avx512f")]],
    std::arch::x86_64,
    __m512 * 16,
    8,
    [_mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps]
);
tiles!(
    #[cfg(target_arch = "x86_64")]
    avx2,
    [#[target_feature(enable = "avx2,fma")]],
    std::arch::x86_64,
    __m256 * 8,
    6,
    [_mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps]
);
tiles!(plain, [], super::array, Array * 8, 4, [zero, load, store, set, fma, add]);

/// A vector that is none, for machines without.
mod array {
    pub type Array = [f32; 8];

    pub const fn zero() -> Array {
        [0.0; 8]
    }

    /// # Safety
    /// Eight values at `from`.
    pub const unsafe fn load(from: *const f32) -> Array {
        // SAFETY: as the caller says; an array of values needs no more alignment than one.
        unsafe { *from.cast::<Array>() }
    }

    /// # Safety
    /// Room for eight values at `to`.
    pub const unsafe fn store(to: *mut f32, values: Array) {
        // SAFETY: as in `load`.
        unsafe { *to.cast::<Array>() = values }
    }

    pub const fn set(value: f32) -> Array {
        [value; 8]
    }

    pub fn fma(a: Array, b: Array, c: Array) -> Array {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    pub fn add(a: Array, b: Array) -> Array {
        std::array::from_fn(|i| a[i] + b[i])
    }
}
