//! Greedy non-maximum suppression. Called by the detector heads.

use crate::{Detection, DetectorParams};

/// Keeps the strongest of overlapping candidates, strongest first. Work is bounded by `max_candidates × max_faces`
/// overlaps. Candidates of equal strength keep their order.
#[must_use]
pub fn suppress(mut found: Vec<Detection>, params: &DetectorParams) -> Vec<Detection> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(params.max_candidates);
    let mut kept: Vec<Detection> = Vec::new();
    for candidate in found {
        if kept.len() >= params.max_faces {
            break;
        }
        if kept.iter().all(|k| k.bounding_box.iou(&candidate.bounding_box) <= params.iou_threshold) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use domain::{BoundingBox, Landmarks};
    use proptest::prelude::*;

    use super::*;

    fn candidates() -> impl Strategy<Value = Vec<Detection>> {
        let one = (0.0f32..300.0, 0.0f32..300.0, 1.0f32..120.0, 1.0f32..120.0, 0.0f32..1.0);
        prop::collection::vec(one, 0..60).prop_map(|all| {
            all.into_iter()
                .map(|(x, y, width, height, score)| Detection {
                    bounding_box: BoundingBox { x, y, width, height },
                    landmarks: Landmarks::default(),
                    score,
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn survivors_are_candidates_apart_from_each_other_and_cover_the_rest(all in candidates(), iou in 0.0f32..1.0) {
            let params = DetectorParams { score_threshold: 0.0, iou_threshold: iou, max_candidates: 100, max_faces: 100 };
            let kept = suppress(all.clone(), &params);
            prop_assert!(kept.iter().all(|k| all.contains(k)));
            prop_assert!(kept.is_sorted_by(|a, b| a.score >= b.score));
            for (i, a) in kept.iter().enumerate() {
                for b in &kept[i + 1..] {
                    prop_assert!(a.bounding_box.iou(&b.bounding_box) <= iou);
                }
            }
            for c in &all {
                let covered = |k: &Detection| k == c || (k.score >= c.score && k.bounding_box.iou(&c.bounding_box) > iou);
                prop_assert!(kept.iter().any(covered), "a face was lost");
            }
            prop_assert_eq!(suppress(kept.clone(), &params), kept, "suppression is idempotent");
        }

        #[test]
        fn bounds_hold(all in candidates(), most in 0usize..5) {
            let params = DetectorParams { score_threshold: 0.0, iou_threshold: 1.0, max_candidates: 3, max_faces: most };
            prop_assert!(suppress(all, &params).len() <= most.min(3));
        }
    }
}
