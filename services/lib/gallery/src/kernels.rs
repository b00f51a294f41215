//! Inner loops of exact search, one file per instruction set, chosen at run time: the scan of the 8-bit copy, scores of
//! half-precision rows, quantisation. Called by `block.rs`, `probe.rs`, `sweep.rs` and `bandwidth.rs`.
//!
//! The one place of the project with `unsafe` in it. Every function here checks lengths before it hands pointers on, and
//! every kernel is tested against double precision in `kernels/tests.rs`.
#![expect(unsafe_code, reason = "vector instructions chosen at run time cannot be called otherwise")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

/// Rows that lie interleaved: as many as a word of liveness has bits.
pub const WORD_ROWS: usize = 64;

/// Dimensions that lie together for each of the 64 rows.
pub const STEP_DIMS: usize = 4;

/// Bytes of one step: four dimensions of 64 rows.
pub const STEP_BYTES: usize = WORD_ROWS * STEP_DIMS;

/// Words of rows a call may scan.
pub const TILE_WORDS: usize = 8;

/// Probes a call may compare with.
pub const MAX_LANES: usize = 6;

/// Most values of a vector for which 32-bit sums of products cannot overflow.
pub const MAX_DIM: usize = 65_536;

/// Steps that hold `dim` values.
pub const fn steps(dim: usize) -> usize {
    dim.div_ceil(STEP_DIMS)
}

/// Rows in the 8-bit form, whole words of them. Value `d` of row `r` of word `w` lies, plus 128, at
/// `(w * steps + d / 4) * 256 + r * 4 + d % 4`.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    /// Codes; `words * steps * 256` bytes.
    pub codes: &'a [u8],
    /// What a row's codes are multiplied with; one per row.
    pub scales: &'a [f32],
    /// Bound on the length of what a row lost to rounding; one per row.
    pub residuals: &'a [f32],
    /// Steps per row.
    pub steps: usize,
}

/// A probe in the 8-bit form and what its bound needs.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    /// Codes, four signed bytes in each word; one word per step.
    pub codes: &'a [i32],
    /// What the rows' offset of 128 adds to every sum: 128 times the sum of the codes.
    pub bias: i32,
    /// What a row's residual is multiplied with.
    pub gain: f32,
    /// A row is found when `sum * scale + residual * gain` reaches this.
    pub floor: f32,
}

/// What a call found.
pub struct Found {
    words: usize,
    masks: [u64; MAX_LANES * TILE_WORDS],
    uppers: Box<[f32; MAX_LANES * TILE_WORDS * WORD_ROWS]>,
}

impl Default for Found {
    fn default() -> Self {
        Self { words: 0, masks: [0; _], uppers: Box::new([0.0; _]) }
    }
}

impl Found {
    /// Rows of a word that reached the lane's floor, a bit each.
    pub fn mask(&self, lane: usize, word: usize) -> u64 {
        self.masks[lane * self.words + word]
    }

    /// The 64 values that were compared with the floor; meaningful for a word with any row found.
    pub fn uppers(&self, lane: usize, word: usize) -> &[f32] {
        &self.uppers[(lane * self.words + word) * WORD_ROWS..][..WORD_ROWS]
    }
}

/// An instruction set this machine has: only [`Kernel::all`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Isa);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Scalar,
}

/// Calls one function of the kernel's file.
macro_rules! dispatch {
    ($kernel:expr, $function:ident $(::<$n:literal>)? ($($argument:expr),*)) => {
        match $kernel.0 {
            // SAFETY: a kernel of this kind exists only where its instructions were detected.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { avx512::$function $(::<$n>)? ($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::$function $(::<$n>)? ($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { neon::$function $(::<$n>)? ($($argument),*) },
            Isa::Scalar => scalar::$function $(::<$n>)? ($($argument),*),
        }
    };
}

impl Kernel {
    /// All that this machine can run, fastest first.
    pub fn all() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            let usual =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            found.extend(wide.then_some(Self(Isa::Avx512Vnni)));
            found.extend(usual.then_some(Self(Isa::Avx2)));
        }
        #[cfg(target_arch = "aarch64")]
        found.extend(std::arch::is_aarch64_feature_detected!("neon").then_some(Self(Isa::Neon)));
        found.push(Self(Isa::Scalar));
        found
    }

    /// The fastest, detected once.
    pub fn best() -> Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().first().copied().unwrap_or(Self(Isa::Scalar)))
    }

    /// Name of the instruction set.
    pub const fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => "neon",
            Isa::Scalar => "scalar",
        }
    }

    /// Largest code a probe may have. AVX2 adds pairs of products in 16 bits, which two of 255 · 127 overflow and two
    /// of 255 · 63 do not.
    pub const fn probe_max(self) -> f32 {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => 63.0,
            _ => 127.0,
        }
    }

    /// Probes that are compared in one reading of the rows.
    pub const fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => MAX_LANES,
            Isa::Scalar => 1,
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            _ => 2,
        }
    }

    /// Bounds the score of every row of `tile` by every probe of `lanes` (at most [`Kernel::lanes`]), and says which
    /// reach their floor. `ahead` is brought into the cache meanwhile: what will be scanned next.
    pub fn scan(self, tile: &Tile<'_>, lanes: &[Lane<'_>], ahead: &[u8], found: &mut Found) {
        let words = tile.scales.len() / WORD_ROWS;
        assert!(
            words <= TILE_WORDS && tile.scales.len() == words * WORD_ROWS && tile.residuals.len() == tile.scales.len()
        );
        assert!(tile.codes.len() == words * tile.steps * STEP_BYTES);
        assert!(lanes.iter().all(|l| l.codes.len() == tile.steps));
        found.words = words;
        macro_rules! lanes {
            ($($n:literal),*) => {
                match lanes.len() {
                    0 => {}
                    $($n => if let Some(lanes) = lanes.first_chunk() {
                        dispatch!(self, scan::<$n>(tile, lanes, ahead, found));
                    })*
                    n => unreachable!("{n} lanes"),
                }
            };
        }
        lanes!(1, 2, 3, 4, 5, 6);
    }

    /// Score of a row of half-precision bits: products and sums in single precision, in an order that is the same for
    /// every kernel, so every machine gives the same score to the last bit.
    pub fn dot(self, row: &[u16], probe: &[f32]) -> f32 {
        assert!(row.len() == probe.len());
        dispatch!(self, dot(row, probe))
    }

    /// The 8-bit form of a row of half-precision bits, plus 128 each, into the first bytes of `codes`, which may be
    /// longer. Returns the scale and a bound on the length of what rounding lost.
    pub fn quantise(self, row: &[u16], codes: &mut [u8]) -> (f32, f32) {
        assert!(codes.len() >= row.len());
        let (scale, squares) = dispatch!(self, quantise(row, codes));
        // Generous to what was rounded on the way: sums of up to 65 536 squares, and products of a value and a scale.
        (scale, squares.sqrt() * 1.001 + 1e-6)
    }

    /// Asks for a row before it is needed.
    pub fn prefetch(self, row: &[u16]) {
        dispatch!(self, prefetch(row));
    }

    /// Reads all bytes as fast as this machine can; the result only keeps the reading from being left out.
    pub fn read(self, bytes: &[u8]) -> u64 {
        dispatch!(self, read(bytes))
    }
}

/// Prefetches per step that bring `ahead` in by the end of the call.
#[cfg(target_arch = "x86_64")]
const fn lines_per_step(ahead: &[u8], words: usize, steps: usize) -> usize {
    let lines = ahead.len() / 64;
    if lines == 0 { 0 } else { lines.div_ceil(words * steps) }
}
