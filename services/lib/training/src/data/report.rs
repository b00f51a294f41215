//! The data report: what somebody should know of the photos before they believe a model made of them.

use serde::{Deserialize, Serialize};

use super::{Scan, twins::twins};
use crate::{Samples, samples::About, split::Role};

/// Fewer photos of a person than this get a warning.
const FEW: usize = 20;

/// Entries of a list in the report at most.
pub(super) const LISTED: usize = 1000;

/// What the photos are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataReport {
    /// People with usable photos.
    pub identities: usize,
    /// Usable photos.
    pub samples: usize,
    /// People and photos by role: train, validation, test.
    pub split: Vec<(String, usize, usize)>,
    /// Fewest, median and most photos of a person.
    pub balance: [usize; 3],
    /// Photos of every person.
    pub people: Vec<IdentityCount>,
    /// Photos that cannot be used.
    pub unusable: Vec<Unusable>,
    /// How faces are turned, in degrees, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yaw: Option<Spread>,
    /// Up and down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pitch: Option<Spread>,
    /// Quality, 0 to 100, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Spread>,
    /// Photos that are nearly the same.
    pub near_duplicates: Vec<NearDuplicate>,
    /// Photos that may be of somebody else, by the model that training begins with, where that knows faces.
    #[serde(default)]
    pub suspects: Vec<Suspect>,
    /// All of it that deserves a look, in sentences.
    pub warnings: Vec<String>,
}

/// Photos of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityCount {
    /// Label.
    pub identity: String,
    /// Usable photos.
    pub samples: usize,
    /// What they are for.
    pub role: Role,
}

/// A photo that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unusable {
    /// Its name.
    pub sample: String,
    /// Why.
    pub reason: String,
}

/// Percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Photos it is known of.
    pub known: usize,
    /// 5 % are below.
    pub low: f32,
    /// Half are below.
    pub median: f32,
    /// 95 % are below.
    pub high: f32,
}

/// Two photos that are nearly the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearDuplicate {
    /// The one.
    pub left: String,
    /// The other.
    pub right: String,
    /// Whether they are said to be of one person.
    pub same_identity: bool,
    /// Mean difference of their thumbnails in grey levels.
    pub difference: f32,
}

/// A photo that is more like another person than like its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// Its name.
    pub sample: String,
    /// Whose it is said to be.
    pub identity: String,
    /// Cosine with the mean of that person's other photos.
    pub own: f32,
    /// Whom it is more like.
    pub other: String,
    /// Cosine with the mean of that person's photos.
    pub score: f32,
}

/// All that is known without a model.
pub(crate) fn report(samples: &dyn Samples, scan: &Scan, roles: &[Role]) -> DataReport {
    let labels = samples.identities();
    let mut counts = vec![0usize; labels.len()];
    scan.usable.iter().for_each(|&s| counts[samples.identity(s)] += 1);
    let count = |i: usize| IdentityCount { identity: labels[i].clone(), samples: counts[i], role: roles[i] };
    let people: Vec<IdentityCount> = (0..labels.len()).filter(|&i| counts[i] > 0).map(count).collect();
    let mut sorted: Vec<usize> = people.iter().map(|p| p.samples).collect();
    sorted.sort_unstable();
    let of = |role: Role| people.iter().filter(move |p| p.role == role);
    let split = [("train", Role::Train), ("validation", Role::Validation), ("test", Role::Test)];
    let split = split.map(|(name, r)| (name.to_owned(), of(r).count(), of(r).map(|p| p.samples).sum()));
    let about: Vec<About> = scan.usable.iter().filter_map(|&s| samples.about(s)).collect();
    let duplicate = |t: super::twins::Twins| {
        let (l, r) = (scan.usable[t.left], scan.usable[t.right]);
        let same_identity = samples.identity(l) == samples.identity(r);
        NearDuplicate { left: samples.name(l), right: samples.name(r), same_identity, difference: t.difference }
    };
    let unusable = |(s, reason): &(usize, String)| Unusable { sample: samples.name(*s), reason: reason.clone() };
    let at = |share: usize| sorted.get(share * sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0);
    let mut report = DataReport {
        identities: people.len(),
        samples: scan.usable.len(),
        split: split.to_vec(),
        balance: [at(0), at(1), at(2)],
        unusable: scan.unusable.iter().map(unusable).collect(),
        yaw: spread(&about, |a| a.yaw),
        pitch: spread(&about, |a| a.pitch),
        quality: spread(&about, |a| a.quality),
        near_duplicates: twins(&scan.thumbnails, LISTED).into_iter().map(duplicate).collect(),
        people,
        ..DataReport::default()
    };
    report.warnings = warnings(&report);
    report
}

fn spread(about: &[About], value: fn(&About) -> f32) -> Option<Spread> {
    let mut all: Vec<f32> = about.iter().map(value).filter(|v| v.is_finite()).collect();
    all.sort_by(f32::total_cmp);
    let last = all.len().checked_sub(1)?;
    let at = |share: f64| all[(share * last as f64).round() as usize];
    Some(Spread { known: all.len(), low: at(0.05), median: at(0.5), high: at(0.95) })
}

fn warnings(r: &DataReport) -> Vec<String> {
    let mut all = Vec::new();
    let few = r.people.iter().filter(|p| p.samples < FEW).count();
    if few > 0 {
        let of = r.identities;
        all.push(format!("{few} of {of} people have fewer than {FEW} photos: a model learns little from them"));
    }
    let [least, median, most] = r.balance;
    if most > 5 * median.max(1) {
        all.push(format!("photos are uneven: from {least} to {most} of a person, {median} in the middle"));
    }
    if !r.unusable.is_empty() {
        all.push(format!("{} photos cannot be used and are left out", r.unusable.len()));
    }
    let (same, other): (Vec<_>, Vec<_>) = r.near_duplicates.iter().partition(|d| d.same_identity);
    if !same.is_empty() {
        all.push(format!("{} pairs of photos of one person are nearly the same: they count as one", same.len()));
    }
    if !other.is_empty() {
        let n = other.len();
        all.push(format!("{n} pairs of nearly the same photo are said to be of two people: one label is wrong"));
    }
    if r.yaw.is_some_and(|y| y.high - y.low < 20.0) {
        all.push("nearly all faces are turned alike: the model will not learn other poses".to_owned());
    }
    all
}
