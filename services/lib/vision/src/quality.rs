//! How usable a face is for recognition, and what a person could do better. Called by `describe`.
//!
//! Measured on the aligned crop, so that the same face gives the same figures wherever it stands in the picture.
//! The scales are set on photos of everyday quality (see each constant); the score is a weighted geometric mean, so
//! that one bad component is not made up for by good ones.

mod measure;

use domain::{BoundingBox, Landmarks, Pose, Quality, QualityComponents, QualityLevel};

use crate::{Detection, Rgb8};

/// Score from which a face is fit for enrolment.
const HIGH_FROM: f32 = 65.0;
/// Score from which a face is usable.
const MEDIUM_FROM: f32 = 40.0;
/// A component below this names a reason.
const REASON_BELOW: f32 = 40.0;
/// Eye distance of the embedder's own crop is 35 pixels: beyond some twice that, pixels add nothing.
const AMPLE_EYE_DISTANCE: f32 = 60.0;
/// Eye distance below which a face is too small to be told apart reliably.
const SMALL_EYE_DISTANCE: f32 = 20.0;
/// A turn by this many degrees leaves no frontality.
const FULLY_TURNED: f32 = 75.0;

/// The score in three steps.
#[must_use]
pub fn level_of(score: f32) -> QualityLevel {
    if score >= HIGH_FROM {
        QualityLevel::High
    } else if score >= MEDIUM_FROM {
        QualityLevel::Medium
    } else {
        QualityLevel::Low
    }
}

/// Quality of one face. `image` is the picture's (width, height), `found` lies in its pixels, `aligned` is the crop.
#[must_use]
pub fn assess(image: (u32, u32), found: &Detection, pose: &Pose, aligned: &Rgb8) -> Quality {
    let luma = measure::luminance(aligned);
    let light = measure::light(aligned, &luma);
    let components = QualityComponents {
        sharpness: measure::sharpness(aligned, &luma),
        illumination: light.illumination(),
        symmetry: light.symmetry(),
        frontality: frontality(pose),
        completeness: completeness(image, &found.bounding_box),
        detection: percent(found.score),
        inter_eye_distance: eye_distance(&found.landmarks),
    };
    let score = score(&components);
    Quality { score, level: level_of(score), reasons: reasons(&components, &light, pose), components }
}

/// Weighted geometric mean of the components and of the size.
fn score(c: &QualityComponents) -> f32 {
    let weighted = [
        (c.sharpness, 0.25),
        (c.illumination, 0.20),
        (c.symmetry, 0.05),
        (c.frontality, 0.20),
        (c.completeness, 0.10),
        (c.detection, 0.05),
        (percent(c.inter_eye_distance / AMPLE_EYE_DISTANCE), 0.15),
    ];
    // One part in a hundred keeps the logarithm finite.
    let log: f32 = weighted.iter().map(|(value, weight)| weight * (value.max(1.0) / 100.0).ln()).sum();
    percent(log.exp())
}

fn reasons(c: &QualityComponents, light: &measure::Light, pose: &Pose) -> Vec<String> {
    let turned = pose.yaw.abs() >= 35.0 || pose.pitch.abs() >= 35.0;
    let checks = [
        ("too_small", c.inter_eye_distance < SMALL_EYE_DISTANCE),
        ("blurred", c.sharpness < REASON_BELOW),
        ("too_dark", light.is_dark()),
        ("too_bright", light.is_bright()),
        ("low_contrast", light.is_flat()),
        ("uneven_light", c.symmetry < REASON_BELOW),
        ("turned_away", turned || c.frontality < REASON_BELOW),
        ("cut_off", c.completeness < 85.0),
        ("uncertain_detection", c.detection < 60.0),
    ];
    checks.iter().filter(|(_, applies)| *applies).map(|(name, _)| (*name).to_owned()).collect()
}

/// 100 frontal, 0 fully turned; roll does not count, alignment undoes it.
fn frontality(pose: &Pose) -> f32 {
    percent(1.0 - (pose.yaw / FULLY_TURNED).hypot(pose.pitch / FULLY_TURNED))
}

/// Share of the box that lies inside the picture.
fn completeness(image: (u32, u32), b: &BoundingBox) -> f32 {
    let inside = |start: f32, length: f32, most: u32| (start + length).min(most as f32) - start.max(0.0);
    let (w, h) = (inside(b.x, b.width, image.0).max(0.0), inside(b.y, b.height, image.1).max(0.0));
    percent(w * h / b.area())
}

fn eye_distance(landmarks: &Landmarks) -> f32 {
    let [left, right, ..] = landmarks.0;
    let distance = (right[0] - left[0]).hypot(right[1] - left[1]);
    if distance.is_finite() { distance } else { 0.0 }
}

/// A share as a percentage within bounds; anything not a number is worst.
fn percent(share: f32) -> f32 {
    if share.is_nan() { 0.0 } else { (share * 100.0).clamp(0.0, 100.0) }
}

#[cfg(test)]
mod tests;
