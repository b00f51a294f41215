//! Products of matrices whose rows may lie anywhere: dense layers, convolutions (a row is a pixel's patch, named by
//! where its taps begin) and the gradients of both. Callers: `ops/product.rs`, `ops/conv*.rs`.

use super::{
    Kind, Level,
    tiles::{self, Out, Tile},
};

/// A tap outside the picture: zeros.
pub const NONE: usize = usize::MAX;

/// Rows of the left matrix, named by where their runs of values begin.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Where all values lie.
    pub values: &'a [f32],
    /// For each row its taps.
    pub starts: &'a [usize],
    /// Runs of a row.
    pub taps: usize,
    /// Values of a run.
    pub depth: usize,
}

/// The right matrix and what is done with the sums.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// Packed by [`super::pack`] for this level, taps · depth rows.
    pub packed: &'a [f32],
    /// Columns of the right matrix.
    pub columns: usize,
    /// Added to every row of the result; may be empty.
    pub bias: &'a [f32],
    /// Adds to the result instead of replacing it.
    pub add: bool,
    /// At least `depth` zeros, read for a tap that is [`NONE`].
    pub zeros: &'a [f32],
}

/// Writes (or adds) `rows` by the packed matrix to `c`, whose rows begin at `at`.
///
/// Columns are worked through in the outer loop, so that what is packed for them stays in the cache for all rows: give
/// a hundred or two.
pub fn product(level: Level, rows: &Rows<'_>, right: &Product<'_>, c: &mut [f32], at: &[usize]) {
    let width = level.width();
    let panel = rows.taps * rows.depth * width;
    assert_eq!(rows.starts.len(), at.len() * rows.taps);
    assert!(right.packed.len() >= right.columns.div_ceil(width) * panel && right.zeros.len() >= rows.depth);
    assert!(rows.starts.iter().all(|&s| s == NONE || s + rows.depth <= rows.values.len()));
    assert!(at.iter().all(|&s| s + right.columns <= c.len()));
    assert!(right.bias.is_empty() || right.bias.len() >= right.columns);
    for column in (0..right.columns).step_by(width) {
        let b = &right.packed[column / width * panel..][..panel];
        let columns = (right.columns - column).min(width);
        let mut row = 0;
        while row < at.len() {
            let many = (at.len() - row).min(rows_of(level));
            let tile = Tile {
                a: rows.values.as_ptr(),
                starts: rows.starts[row * rows.taps..].as_ptr(),
                zeros: right.zeros.as_ptr(),
                taps: rows.taps,
                depth: rows.depth,
            };
            let bias = right.bias.get(column..).filter(|b| !b.is_empty()).map_or(std::ptr::null(), <[f32]>::as_ptr);
            // The column's offset is within the row: checked above.
            let base = c.as_mut_ptr().wrapping_add(column);
            let out = Out { c: base, at: at[row..].as_ptr(), columns, bias, add: right.add };
            // SAFETY: the assertions above; `many` rows are left.
            unsafe { gathered(level, many, &tile, b, &out) };
            row += many;
        }
    }
}

const fn rows_of(level: Level) -> usize {
    match level.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => tiles::avx512::ROWS,
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => tiles::avx2::ROWS,
        Kind::Plain => tiles::plain::ROWS,
    }
}

/// # Safety
/// As the tile's; at most `rows_of(level)` rows.
unsafe fn gathered(level: Level, rows: usize, tile: &Tile, b: &[f32], out: &Out) {
    macro_rules! by_rows {
        ($set:ident, $($rows:literal)*) => {
            match rows {
                // SAFETY: the level has the instructions; the rest is as the caller says.
                $($rows => unsafe { tiles::$set::gathered::<$rows>(tile, b.as_ptr(), out) },)*
                _ => {}
            }
        };
    }
    match level.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => by_rows!(avx512, 1 2 3 4 5 6 7 8),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => by_rows!(avx2, 1 2 3 4 5 6),
        Kind::Plain => by_rows!(plain, 1 2 3 4),
    }
}

/// A matrix that is added to.
#[derive(Debug)]
pub struct Sums<'a> {
    /// Where it begins.
    pub c: &'a mut [f32],
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub columns: usize,
    /// From a row to the next.
    pub stride: usize,
}

/// Adds to `c` the sum over `pairs` of the column at one place of `a` times the row at one
/// place of `b`: `c[i][j] += Σ a[p.0 + i] · b[p.1 + j]`.
///
/// Every tile of `c` goes through all pairs: give some hundreds, so that what they name stays in the cache.
pub fn outer(level: Level, (a, b): (&[f32], &[f32]), pairs: &[(usize, usize)], to: Sums<'_>) {
    let Sums { c, rows: m, columns: n, stride } = to;
    assert!(m == 0 || (n <= stride && (m - 1) * stride + n <= c.len()));
    assert!(pairs.iter().all(|p| p.0 + m <= a.len() && p.1 + n <= b.len()));
    let lanes = level.width() / 2;
    let whole = n / lanes * lanes;
    let mut i = 0;
    while i < m {
        let rows = (m - i).min(rows_of(level));
        for j in (0..whole).step_by(level.width()) {
            let two = j + level.width() <= whole;
            let at = &mut c[i * stride + j..];
            let from = (a[i..].as_ptr(), b[j..].as_ptr());
            // SAFETY: the assertion above; `rows` rows and one or two vectors of columns are left.
            unsafe { tile_of_outer(level, (rows, two), from, pairs, (at.as_mut_ptr(), stride)) };
        }
        i += rows;
    }
    for j in whole..n {
        for i in 0..m {
            c[i * stride + j] += pairs.iter().map(|p| a[p.0 + i] * b[p.1 + j]).sum::<f32>();
        }
    }
}

/// # Safety
/// As the tile's; at most `rows_of(level)` rows.
unsafe fn tile_of_outer(
    level: Level,
    (rows, two): (usize, bool),
    from: (*const f32, *const f32),
    pairs: &[(usize, usize)],
    (c, stride): (*mut f32, usize),
) {
    macro_rules! by_rows {
        ($set:ident, $($rows:literal)*) => {
            match (rows, two) {
                // SAFETY: the level has the instructions; the rest is as the caller says.
                $(($rows, true) => unsafe { tiles::$set::outer::<$rows, 2>(from, pairs, c, stride) },
                // SAFETY: as above.
                ($rows, false) => unsafe { tiles::$set::outer::<$rows, 1>(from, pairs, c, stride) },)*
                _ => {}
            }
        };
    }
    match level.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => by_rows!(avx512, 1 2 3 4 5 6 7 8),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => by_rows!(avx2, 1 2 3 4 5 6),
        Kind::Plain => by_rows!(plain, 1 2 3 4),
    }
}
