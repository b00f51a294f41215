//! A search as the scan sees it: the probe, its 8-bit form with the bound of its error, and what the filters admit.
//! Owns everything, so that it can be worked on by other threads. Made by `flat.rs`, used by `sweep.rs`.

use std::collections::HashSet;

use domain::{Metadata, Purpose, SubjectId, Timestamp};

use crate::{
    GalleryError, Permit, Query, SubjectEntry,
    directory::Directory,
    kernels::{Kernel, Lane, MAX_DIM, STEP_DIMS, WORD_ROWS},
    ranking::Wanted,
};

/// How far a vector's length may be off one: half precision rounds by 2⁻¹¹ per value.
const UNIT_TOLERANCE: f32 = 0.01;

/// A filter that admits less than one row in this many looks at those rows alone.
const SPARSE: usize = 8;

/// A vector the rows can be compared with: of `dim` values and unit length.
///
/// # Errors
/// [`GalleryError::Dimension`] and [`GalleryError::NotUnit`].
pub fn check_vector(values: &[f32], dim: usize) -> Result<(), GalleryError> {
    if values.len() != dim || dim == 0 || dim > MAX_DIM {
        return Err(GalleryError::Dimension { expected: dim, got: values.len() });
    }
    let norm = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if (norm - 1.0).abs() <= f64::from(UNIT_TOLERANCE) { Ok(()) } else { Err(GalleryError::NotUnit) }
}

/// Which rows a filter admits.
pub enum Places {
    /// All.
    All,
    /// Many: a bit each.
    Many(Vec<u64>),
    /// Few: their places, in order.
    Few(Vec<u32>),
}

/// One search.
pub struct Probe {
    /// The probe itself.
    pub values: Vec<f32>,
    /// What is to be found.
    pub wanted: Wanted,
    /// Rows the filters admitted when the search began.
    pub places: Places,
    /// Subjects the filters and the permit admitted.
    pub subjects: usize,
    /// Rows at those places that the permit leaves out.
    pub left_out: usize,
    filter: Option<Metadata>,
    listed: Option<HashSet<SubjectId>>,
    permit: Option<(Purpose, Timestamp)>,
    coded: Coded,
}

/// The 8-bit form of a probe. With `x = x̂ + r` for a row and `q = q̂ + p` for the probe, both in codes times a scale and
/// a rest, the score is `⟨x̂, q̂⟩ + ⟨r, q⟩ + ⟨x̂, p⟩`, so it differs from `⟨x̂, q̂⟩` by at most
/// `‖r‖·‖q‖ + ‖x̂‖·‖p‖ ≤ ‖r‖·(‖q‖ + ‖p‖) + ‖x‖·‖p‖`.
struct Coded {
    codes: Vec<i32>,
    bias: i32,
    scale: f32,
    /// `‖q‖ + ‖p‖`, over the scale.
    gain: f32,
    /// `‖x‖·‖p‖` for the longest row there may be, and what single precision may round on the way.
    slack: f32,
}

impl Coded {
    fn new(values: &[f32], kernel: Kernel) -> Self {
        let max = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        let scale = if max > 0.0 { max / kernel.probe_max() } else { 1.0 };
        let whole = |v: &f32| (v / scale).round() as i8;
        let lost = |v: &f32| f64::from(*v) - f64::from(whole(v)) * f64::from(scale);
        let length = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let rest = values.iter().map(|v| lost(v).powi(2)).sum::<f64>().sqrt();
        let pack = |step: &[f32]| {
            let mut bytes = [0; STEP_DIMS];
            step.iter().zip(&mut bytes).for_each(|(v, byte)| *byte = whole(v).cast_unsigned());
            i32::from_ne_bytes(bytes)
        };
        let longest = 1.0 + f64::from(UNIT_TOLERANCE);
        // A score is the sum of sixteen sums of dim/16 products; the bound itself takes a few operations.
        let rounding = (values.len() as f64 / 16.0 + 32.0) * f64::from(f32::EPSILON) * longest * longest;
        Self {
            codes: values.chunks(STEP_DIMS).map(pack).collect(),
            bias: 128 * values.iter().map(|v| i32::from(whole(v))).sum::<i32>(),
            scale,
            gain: ((length + rest) * 1.000_001 / f64::from(scale)) as f32,
            slack: (rest * longest * 1.000_001 + rounding) as f32,
        }
    }
}

impl Probe {
    /// Resolves the query's filters and codes its probe for `kernel`. The probe must have passed [`check_vector`].
    pub fn new(query: &Query<'_>, directory: &Directory, kernel: Kernel) -> Self {
        let min_score = query.min_score.unwrap_or(f32::NEG_INFINITY);
        let out = query.permit.map(|p| directory.left_out(&p));
        let permit = query.permit.zip(out).map(|(p, out)| Permit { at: out.at, ..p });
        let query = &Query { permit, ..*query };
        let (places, subjects, left_out) = match directory.admitted(query) {
            None => {
                let (rows, left) = out.map_or((0, 0), |out| (out.rows, out.subjects));
                (Places::All, directory.subjects().saturating_sub(left), rows)
            }
            Some((few, subjects)) if few.len() * SPARSE < directory.len() => (Places::Few(few), subjects, 0),
            Some((many, subjects)) => (Places::Many(bits(&many)), subjects, 0),
        };
        Self {
            values: query.values.to_vec(),
            wanted: Wanted { limit: query.limit, fold: query.unique_subjects, min_score },
            places,
            subjects,
            left_out,
            permit: permit.map(|p| (p.purpose.clone(), p.at)),
            filter: query.filter.cloned(),
            listed: query.subjects.map(|ids| ids.iter().cloned().collect()),
            coded: Coded::new(query.values, kernel),
        }
    }

    /// Which of the 64 places from `64 * word` on the filters admitted.
    pub fn admitted(&self, word: usize) -> u64 {
        match &self.places {
            Places::All => u64::MAX,
            Places::Many(bits) => bits.get(word).copied().unwrap_or(0),
            Places::Few(places) => {
                let first = places.partition_point(|p| (*p as usize) < word * WORD_ROWS);
                let here = places[first..].iter().take_while(|p| **p as usize / WORD_ROWS == word);
                here.fold(0, |bits, p| bits | 1 << (p % 64))
            }
        }
    }

    /// Whether filters and permit admit a subject as it is now: its place may have been another's when they were resolved.
    pub fn admits(&self, subject: impl FnOnce() -> std::sync::Arc<SubjectEntry>) -> bool {
        if self.filter.is_none() && self.listed.is_none() && self.permit.is_none() {
            return true;
        }
        let subject = subject();
        if self.permit.as_ref().is_some_and(|(purpose, at)| !subject.terms.permit(purpose, *at)) {
            return false;
        }
        self.filter.as_ref().is_none_or(|f| subject.metadata.satisfies(f))
            && self.listed.as_ref().is_none_or(|ids| ids.contains(&subject.id))
    }

    /// The probe for the kernel, to find rows that may score `floor` or more.
    pub fn lane(&self, floor: f32) -> Lane<'_> {
        let Coded { codes, bias, scale, gain, slack } = &self.coded;
        Lane { codes, bias: *bias, gain: *gain, floor: (floor - slack) / scale }
    }

    /// The most a row can score, from what the kernel gave for it.
    pub fn upper(&self, found: f32) -> f32 {
        found * self.coded.scale + self.coded.slack
    }

    /// The least it can score: its upper bound without the error twice.
    pub fn lower(&self, upper: f32, residual: f32) -> f32 {
        upper - 2.0 * (residual * self.coded.gain * self.coded.scale + self.coded.slack)
    }
}

fn bits(places: &[u32]) -> Vec<u64> {
    let mut bits = vec![0; places.last().map_or(0, |p| *p as usize / WORD_ROWS + 1)];
    places.iter().for_each(|p| bits[*p as usize / WORD_ROWS] |= 1 << (p % 64));
    bits
}

#[cfg(test)]
mod tests;
