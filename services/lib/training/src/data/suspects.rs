//! Label noise: photos that a model which knows faces takes for somebody else's. Called by `prepare`, once the templates
//! are there.

use std::collections::BTreeMap;

use super::{DataReport, Suspect, report::LISTED};
use crate::Samples;

/// Adds to the report the photos that are more like another person than like the other photos of their own, by these
/// templates (length one, in the order of the usable photos); the clearest first.
pub(crate) fn suspects(report: &mut DataReport, samples: &dyn Samples, (usable, templates): (&[usize], &[f32])) {
    let dim = templates.len() / usable.len().max(1);
    let row = |i: usize| &templates[i * dim..(i + 1) * dim];
    let mut sums: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
    for (i, s) in usable.iter().enumerate() {
        let sum = sums.entry(samples.identity(*s)).or_insert_with(|| vec![0.0; dim]);
        sum.iter_mut().zip(row(i)).for_each(|(a, b)| *a += b);
    }
    let mut found = Vec::new();
    for (i, &s) in usable.iter().enumerate() {
        let identity = samples.identity(s);
        let rest: Vec<f32> = sums[&identity].iter().zip(row(i)).map(|(a, b)| a - b).collect();
        // Somebody's only photo is like no other of theirs.
        if rest.iter().all(|v| v.abs() < 1e-6) {
            continue;
        }
        let own = cosine(&rest, row(i));
        let others = sums.iter().filter(|(k, _)| **k != identity).map(|(k, sum)| (*k, cosine(sum, row(i))));
        let Some((other, score)) = others.max_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        if score > own {
            let label = |k: usize| samples.identities()[k].clone();
            found.push(Suspect { sample: samples.name(s), identity: label(identity), own, other: label(other), score });
        }
    }
    found.sort_by(|a, b| (b.score - b.own).total_cmp(&(a.score - a.own)));
    if !found.is_empty() {
        let count = found.len();
        report
            .warnings
            .push(format!("{count} photos are more like somebody else: look whether their labels are right"));
    }
    found.truncate(LISTED);
    report.suspects = found;
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(p, q)| p * q).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
}
