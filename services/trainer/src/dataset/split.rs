//! Who is learnt from and who is measured with: never the same person. A subject's part follows from its handle, so that it
//! is the same in every run: a model is never measured on somebody whom an earlier run of the same subjects learnt from.

use sha2::{Digest, Sha256};

use super::manifest::{Manifest, Part};

/// Share of the subjects to measure with.
const SHARE: f64 = 0.2;

/// Fewer subjects than this are all learnt from.
const FEWEST: usize = 4;

/// Subjects measured with at least: comparisons of different persons take two.
const LEAST: usize = 2;

/// Gives each subject its part. Subjects with one crop are learnt from: there is nothing to compare it with.
///
/// Where chance leaves fewer than two to measure with, the two whose turn would come next are taken; with few subjects a
/// part may therefore change as others join.
pub fn into_parts(mut manifest: Manifest) -> Manifest {
    manifest.subjects.sort_by(|a, b| (&a.collection, &a.handle).cmp(&(&b.collection, &b.handle)));
    if manifest.subjects.len() < FEWEST {
        return manifest;
    }
    let mut places: Vec<(f64, usize)> = manifest
        .subjects
        .iter()
        .enumerate()
        .filter(|(_, s)| s.crops.len() > 1)
        .map(|(i, s)| (lot(&s.handle), i))
        .collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Two at least are left to learn from.
    let most = manifest.subjects.len() - 2;
    let held = places.iter().take_while(|(lot, _)| *lot < SHARE).count().max(LEAST).min(most);
    for (_, i) in places.into_iter().take(held) {
        manifest.subjects[i].part = Part::HeldOut;
    }
    manifest
}

/// Between 0 and 1, the same for a handle at any time.
fn lot(handle: &str) -> f64 {
    let digest = Sha256::digest(format!("held-out {handle}"));
    let first = digest.iter().take(4).fold(0u32, |n, b| n << 8 | u32::from(*b));
    f64::from(first) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::manifest::{Crop, SCHEMA, Subject};
    use domain::{FaceId, Timestamp};

    fn manifest(handles: &[String], crops: usize) -> Manifest {
        let crop = || Crop { face: FaceId::generate(), sha256: String::new() };
        let subject = |h: &String| Subject {
            collection: "c".parse().unwrap(),
            handle: h.clone(),
            part: Part::Train,
            consents: Vec::new(),
            crops: (0..crops).map(|_| crop()).collect(),
        };
        Manifest {
            schema: SCHEMA.into(),
            consents_at: Timestamp::from_millis(0),
            purpose: None,
            collections: vec!["c".parse().unwrap()],
            subjects: handles.iter().map(subject).collect(),
            unreadable: 0,
            sha256: String::new(),
        }
    }

    fn held(m: &Manifest) -> Vec<&str> {
        m.subjects.iter().filter(|s| s.part == Part::HeldOut).map(|s| s.handle.as_str()).collect()
    }

    #[test]
    fn a_fifth_is_held_out_and_stays_so_when_others_join() {
        let handles: Vec<String> = (0..500).map(|i| format!("{i:032x}")).collect();
        let (first, all) = (into_parts(manifest(&handles[..300], 3)), into_parts(manifest(&handles, 3)));
        let share = held(&first).len() as f64 / 300.0;
        assert!((0.14..0.26).contains(&share), "{share}");
        let later = held(&all);
        assert!(held(&first).iter().all(|h| later.contains(h)), "somebody changed sides");
        let learnt = first.subjects.iter().filter(|s| s.part == Part::Train);
        assert!(learnt.map(|s| s.handle.as_str()).all(|h| !later.contains(&h)), "somebody changed sides");
    }

    #[test]
    fn few_subjects_leave_two_on_either_side_and_fewer_none_to_measure_with() {
        let handles: Vec<String> = (0..5).map(|i| format!("{i:032x}")).collect();
        assert_eq!(held(&into_parts(manifest(&handles[..3], 3))).len(), 0);
        assert_eq!(held(&into_parts(manifest(&handles[..4], 3))).len(), 2);
        assert!((2..=3).contains(&held(&into_parts(manifest(&handles, 3))).len()));
        assert_eq!(held(&into_parts(manifest(&handles, 1))).len(), 0, "single crops cannot be compared");
    }
}
