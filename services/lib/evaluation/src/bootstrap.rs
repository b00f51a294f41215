//! Percentile bootstrap (Efron and Tibshirani 1993). Where subjects are known they are what is drawn, since comparisons
//! that share a person are not independent (Bolle, Ratha and Pankanti 2004); else the comparisons themselves, mated and
//! non-mated apart, which makes the intervals somewhat too narrow.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Estimate, Scores};

/// Fewer subjects than this are too few to draw from: the comparisons are drawn instead.
const FEWEST_SUBJECTS: usize = 10;

/// With more non-mated comparisons per subject than this on average, both of their subjects count.
const SPARSE: usize = 4;

/// A resample without one of the two kinds is drawn again, at most this often in a row.
const REDRAWS: usize = 100;

/// How to resample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Number of resamples.
    pub resamples: usize,
    /// Share of the resamples inside the interval, such as 0.95.
    pub confidence: f64,
    /// Start of the random sequence: equal seeds give equal intervals.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, confidence: 0.95, seed: 1 }
    }
}

/// Both ends of a confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Comparisons, each by itself: the subjects are not known, or are too few.
    Comparison,
    /// Subjects; a comparison comes along with its first subject. For lists in which hardly anybody recurs.
    Subject,
    /// Subjects; a non-mated comparison counts as often as both of its subjects together (the product). For lists in
    /// which everybody is compared with many.
    BothSubjects,
}

impl Unit {
    /// For a reader who knows no statistics.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Comparison => "comparisons were drawn one by one, since the subjects are not known or too few",
            Self::Subject => "subjects were drawn, each with all of its comparisons",
            Self::BothSubjects => "subjects were drawn; a comparison of two subjects counts by both",
        }
    }
}

/// Who belongs together when drawing.
pub(crate) struct Draw<'a> {
    mated: Vec<bool>,
    /// Places of the mated and of the non-mated comparisons.
    strata: [Vec<usize>; 2],
    /// First and second subject by place in the resample's weights; empty when comparisons are drawn.
    parties: Vec<[usize; 2]>,
    subjects: usize,
    unit: Unit,
    bootstrap: &'a Bootstrap,
}

impl<'a> Draw<'a> {
    /// `items` are the truth of every comparison and its subjects.
    pub fn new(bootstrap: &'a Bootstrap, items: impl Iterator<Item = (bool, Option<[u32; 2]>)>) -> Self {
        let mut draw = Self::by_first(bootstrap, items);
        let crossed = 2 * draw.strata[1].len() > SPARSE * draw.subjects;
        if draw.unit == Unit::Subject && crossed {
            draw.unit = Unit::BothSubjects;
        }
        draw
    }

    /// The same for items that belong to their first subject alone, such as searches.
    pub fn by_first(bootstrap: &'a Bootstrap, items: impl Iterator<Item = (bool, Option<[u32; 2]>)>) -> Self {
        let (mated, known): (Vec<bool>, Vec<Option<[u32; 2]>>) = items.unzip();
        let mut places = BTreeMap::new();
        let mut place = |subject: u32| {
            let next = places.len();
            *places.entry(subject).or_insert(next)
        };
        let parties: Option<Vec<[usize; 2]>> =
            known.into_iter().map(|s| s.map(|[a, b]| [place(a), place(b)])).collect();
        let (parties, subjects) = (parties.unwrap_or_default(), places.len());
        let few = parties.is_empty() || subjects < FEWEST_SUBJECTS;
        let unit = if few { Unit::Comparison } else { Unit::Subject };
        let strata = [true, false].map(|kind| (0..mated.len()).filter(|&i| mated[i] == kind).collect());
        Self { mated, strata, parties, subjects, unit, bootstrap }
    }

    pub const fn unit(&self) -> Unit {
        self.unit
    }

    /// How many independent drawings of one kind there are: comparisons, or subjects if these are fewer.
    pub fn units(&self, mated: bool) -> usize {
        let of = &self.strata[usize::from(!mated)];
        if self.unit == Unit::Comparison {
            return of.len();
        }
        let subjects: BTreeSet<usize> = of.iter().flat_map(|&i| self.parties[i]).collect();
        of.len().min(subjects.len())
    }

    /// Intervals of measures, `None` where a measure had no value in any resample. `measure` gets, for each
    /// comparison in the order given, how often it was drawn.
    pub fn intervals(&self, measure: impl Fn(&[u32]) -> Vec<Option<f64>>) -> Vec<Option<Interval>> {
        let mut random = SplitMix(self.bootstrap.seed);
        let mut weights = vec![0u32; self.mated.len()];
        let mut draws: Vec<Vec<f64>> = Vec::new();
        for _ in 0..self.bootstrap.resamples.max(1) {
            self.resample(&mut random, &mut weights);
            let values = measure(&weights);
            draws.resize_with(values.len().max(draws.len()), Vec::new);
            for (column, value) in draws.iter_mut().zip(values) {
                column.extend(value);
            }
        }
        draws.into_iter().map(|column| percentile_interval(column, self.bootstrap.confidence)).collect()
    }

    fn resample(&self, random: &mut SplitMix, weights: &mut [u32]) {
        if self.unit == Unit::Comparison {
            return self.resample_comparisons(random, weights);
        }
        let mut drawn = vec![0u32; self.subjects];
        for _ in 0..REDRAWS {
            drawn.fill(0);
            (0..self.subjects).for_each(|_| drawn[random.below(self.subjects)] += 1);
            for ((weight, &mated), &[a, b]) in weights.iter_mut().zip(&self.mated).zip(&self.parties) {
                let both = !mated && self.unit == Unit::BothSubjects && a != b;
                *weight = drawn[a] * if both { drawn[b] } else { 1 };
            }
            let has = |kind: bool| self.mated.iter().zip(&*weights).any(|(m, w)| *m == kind && *w > 0);
            if [true, false].into_iter().zip(&self.strata).all(|(kind, of)| has(kind) || of.is_empty()) {
                return;
            }
        }
        self.resample_comparisons(random, weights);
    }

    fn resample_comparisons(&self, random: &mut SplitMix, weights: &mut [u32]) {
        weights.fill(0);
        for of in &self.strata {
            (0..of.len()).for_each(|_| weights[of[random.below(of.len())]] += 1);
        }
    }
}

impl Bootstrap {
    /// The interval of a rate. Where no error (or nothing but errors) was seen, no resample shows one either, and the
    /// open end is that of the exact binomial interval for `units` trials (Clopper and Pearson 1934).
    pub(crate) fn rate(&self, value: f64, interval: Option<Interval>, units: usize) -> Estimate {
        let Interval { low, high } = interval.unwrap_or(Interval { low: value, high: value });
        let reach = ((1.0 - self.confidence.clamp(0.0, 1.0)) / 2.0).powf(1.0 / units.max(1) as f64);
        let low = if value >= 1.0 { low.min(reach) } else { low };
        let high = if value <= 0.0 { high.max(1.0 - reach) } else { high };
        Estimate { value, interval: Interval { low, high } }
    }

    /// Draws from scores in their order.
    pub(crate) fn draw(&self, scores: &Scores) -> Draw<'_> {
        Draw::new(self, scores.items.iter().map(|i| (i.mated, i.subjects)))
    }
}

fn percentile_interval(mut values: Vec<f64>, confidence: f64) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
    let last = values.len().checked_sub(1)? as f64;
    let at = |share: f64| values[(share * last).round() as usize];
    Some(Interval { low: at(tail), high: at(1.0 - tail) })
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, fast and good enough to draw indices.
pub(crate) struct SplitMix(pub u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..n up to a bias of n / 2^64.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}
