//! Head pose from five points. Called by `describe`.
//!
//! A mean face in three dimensions is fitted to the points under weak perspective (the first step of POSIT,
//! DeMenthon and Davis 1995): after the turn in the picture plane is taken out by the line of the eyes and mouth, each
//! image axis is a linear function of the model's coordinates, solved by least squares, and the angles follow from
//! the depth terms. Good to some ten degrees in yaw and roll: enough to say "turned away", not to measure gaze. Pitch depends
//! on where a detector puts the nose and comes out too small where it lies near the lips (YuNet).

use domain::{Landmarks, Pose};

/// Mean face in units of the distance between the eyes, around the mean of its points: x to the picture's right, y
/// down, z towards the camera. Widths and heights are medians of detected near-frontal faces, so that the usual
/// portrait has pitch zero; depths are common anthropometric means.
const MODEL: [[f64; 3]; 5] =
    [[-0.50, -0.525, -0.18], [0.50, -0.525, -0.18], [0.00, 0.056, 0.34], [-0.43, 0.497, 0.01], [0.43, 0.497, 0.01]];

/// Beyond this the points themselves are guesses.
const MOST_DEGREES: f64 = 90.0;

/// Yaw, pitch and roll in degrees as [`Pose`] documents them. Zero for points without extent.
#[must_use]
pub fn estimate_pose(landmarks: &Landmarks) -> Pose {
    let p = landmarks.0.map(|[x, y]| [f64::from(x), f64::from(y)]);
    let roll = in_plane_turn(&p);
    let (sin, cos) = roll.sin_cos();
    let centre = [p.iter().map(|q| q[0]).sum::<f64>() / 5.0, p.iter().map(|q| q[1]).sum::<f64>() / 5.0];
    let upright = p.map(|[x, y]| {
        let (x, y) = (x - centre[0], y - centre[1]);
        [x * cos + y * sin, y * cos - x * sin]
    });
    // x = s·(X·cos yaw + Z·sin yaw): by the model's left-right symmetry the height drops out.
    let [across, depth_x] = solve(|i| [MODEL[i][0], MODEL[i][2]], |i| upright[i][0]);
    // y = s·(Y·cos pitch − Z·cos yaw·sin pitch + …X): the width drops out likewise.
    let [down, depth_y] = solve(|i| [MODEL[i][1], MODEL[i][2]], |i| upright[i][1]);
    let yaw = depth_x.atan2(across.abs());
    let pitch = (-depth_y).atan2(down.abs() * yaw.cos().max(0.3));
    let degrees = |angle: f64| {
        let value = angle.to_degrees();
        if value.is_finite() { value.clamp(-MOST_DEGREES, MOST_DEGREES) as f32 } else { 0.0 }
    };
    let roll = roll.to_degrees();
    Pose { yaw: degrees(yaw), pitch: degrees(pitch), roll: if roll.is_finite() { roll as f32 } else { 0.0 } }
}

/// Turn of the face in the picture plane, clockwise, −π to π: the sum of the eye line, the mouth line and the line
/// from the eyes' middle to the mouth's, the latter turned by a quarter.
fn in_plane_turn(p: &[[f64; 2]; 5]) -> f64 {
    let (eyes, mouth) = ([p[1][0] - p[0][0], p[1][1] - p[0][1]], [p[4][0] - p[3][0], p[4][1] - p[3][1]]);
    let drop = [(p[3][0] + p[4][0] - p[0][0] - p[1][0]) / 2.0, (p[3][1] + p[4][1] - p[0][1] - p[1][1]) / 2.0];
    // In profile the lines across the face shrink and the line down it decides.
    let across = [eyes[0] + mouth[0] + drop[1], eyes[1] + mouth[1] - drop[0]];
    across[1].atan2(across[0])
}

/// Two coefficients by least squares over the five points.
fn solve(model: impl Fn(usize) -> [f64; 2], image: impl Fn(usize) -> f64) -> [f64; 2] {
    let (mut uu, mut uv, mut vv, mut ut, mut vt) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for i in 0..5 {
        let ([u, v], t) = (model(i), image(i));
        uu += u * u;
        uv += u * v;
        vv += v * v;
        ut += u * t;
        vt += v * t;
    }
    let determinant = uu * vv - uv * uv;
    [(ut * vv - vt * uv) / determinant, (vt * uu - ut * uv) / determinant]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The model turned by known angles and seen from afar.
    fn seen(yaw: f64, pitch: f64, roll: f64) -> Landmarks {
        let (sy, cy) = yaw.to_radians().sin_cos();
        let (sp, cp) = pitch.to_radians().sin_cos();
        let (sr, cr) = roll.to_radians().sin_cos();
        Landmarks(MODEL.map(|[x, y, z]| {
            let (x, z) = (x * cy + z * sy, z * cy - x * sy);
            let y = y * cp - z * sp;
            [(300.0 + 80.0 * (x * cr - y * sr)) as f32, (200.0 + 80.0 * (x * sr + y * cr)) as f32]
        }))
    }

    #[test]
    fn frontal_is_zero() {
        let pose = estimate_pose(&seen(0.0, 0.0, 0.0));
        assert!(pose.yaw.abs() < 0.5 && pose.pitch.abs() < 0.5 && pose.roll.abs() < 0.5, "{pose:?}");
    }

    /// Points that detectors gave on four photos, around their mean, in units of the eye distance.
    #[test]
    fn photos_of_turned_heads_have_the_right_signs() {
        let of = |points| estimate_pose(&Landmarks(points));
        let left = of([[-0.37, -0.92], [0.62, -0.88], [-0.59, 0.07], [-0.23, 0.87], [0.57, 0.87]]);
        let right = of([[-0.77, -1.01], [0.15, -1.38], [0.89, -0.14], [-0.38, 1.40], [0.11, 1.13]]);
        assert!(left.yaw < -25.0 && right.yaw > 25.0, "{left:?} {right:?}");
        let up = of([[-0.42, -0.55], [0.57, -0.39], [-0.02, -0.17], [-0.49, 0.48], [0.36, 0.62]]);
        let down = of([[-0.60, -0.49], [0.39, -0.62], [-0.22, 0.26], [-0.25, 0.49], [0.68, 0.36]]);
        assert!(up.pitch > 15.0 && down.pitch < -15.0, "{up:?} {down:?}");
        assert!(up.roll > 5.0 && down.roll < -5.0, "clockwise is positive: {up:?} {down:?}");
    }

    proptest! {
        #[test]
        fn single_turns_are_recovered(yaw in -60.0f64..60.0, pitch in -35.0f64..35.0, roll in -170.0f64..170.0) {
            let pose = estimate_pose(&seen(yaw, 0.0, roll));
            prop_assert!((f64::from(pose.yaw) - yaw).abs() < 8.0, "yaw {yaw} roll {roll}: {pose:?}");
            let pose = estimate_pose(&seen(0.0, pitch, 0.0));
            prop_assert!((f64::from(pose.pitch) - pitch).abs() < 8.0, "pitch {pitch}: {pose:?}");
            let pose = estimate_pose(&seen(0.0, 0.0, roll));
            prop_assert!((f64::from(pose.roll) - roll).abs() < 1.0, "roll {roll}: {pose:?}");
        }

        #[test]
        fn any_points_give_finite_angles(points in prop::array::uniform5(prop::array::uniform2(prop::num::f32::ANY))) {
            let pose = estimate_pose(&Landmarks(points));
            prop_assert!(pose.yaw.is_finite() && pose.pitch.is_finite() && pose.roll.is_finite());
        }
    }
}
