//! Which effects there are, how often each has a turn and how strong it may be. Part of every recipe.

use domain::ErrorCode;
use serde::{Deserialize, Serialize};

/// How often an effect has a turn, and between which ends it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Share of pictures, 0 to 1.
    pub probability: f32,
    /// Least and greatest strength.
    pub range: [f32; 2],
}

/// All effects. What is left out of a recipe is off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Share of pictures that are mirrored.
    pub flip: f32,
    /// Degrees.
    pub rotation: Effect,
    /// Factor.
    pub scale: Effect,
    /// Share of the side, drawn for each axis.
    pub shift: Effect,
    /// Change as a share: 0.2 is a fifth brighter.
    pub brightness: Effect,
    /// Change as a share.
    pub contrast: Effect,
    /// Change as a share.
    pub saturation: Effect,
    /// One rectangle of one colour: share of the area.
    pub occlusion: Effect,
    /// Gaussian: deviation as a share of 255.
    pub noise: Effect,
    /// Share of the pixels.
    pub salt_and_pepper: Effect,
    /// Side in pixels to which the face is reduced, and enlarged again: a face far from the camera.
    pub reduced: Effect,
    /// Length of the movement in pixels.
    pub motion_blur: Effect,
    /// Height at which the cover of the lower face begins, as a share of the side from the top.
    pub covered: Effect,
}

impl Default for Augment {
    /// Everything off; each range is the one it has when only its probability is set.
    fn default() -> Self {
        let off = |low: f32, high: f32| Effect { probability: 0.0, range: [low, high] };
        Self {
            flip: 0.0,
            rotation: off(-15.0, 15.0),
            scale: off(0.9, 1.1),
            shift: off(-0.1, 0.1),
            brightness: off(-0.2, 0.2),
            contrast: off(-0.15, 0.15),
            saturation: off(-0.1, 0.1),
            occlusion: off(0.05, 0.2),
            noise: off(0.01, 0.05),
            salt_and_pepper: off(0.02, 0.1),
            reduced: off(32.0, 32.0),
            motion_blur: off(5.0, 11.0),
            covered: off(0.55, 0.65),
        }
    }
}

/// An effect that cannot be drawn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AugmentError {
    /// Not a share.
    #[error("augmentation `{effect}`: a probability lies between 0 and 1, not at {probability}")]
    Probability {
        /// Its name.
        effect: &'static str,
        /// What was given.
        probability: f32,
    },
    /// Ends beyond what the effect can do, or in the wrong order.
    #[error("augmentation `{effect}`: the range {low} to {high} does not lie, least first, within {least} to {most}")]
    Range {
        /// Its name.
        effect: &'static str,
        /// What was given.
        low: f32,
        /// What was given.
        high: f32,
        /// What is possible.
        least: f32,
        /// What is possible.
        most: f32,
    },
}

impl AugmentError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::InvalidRequest
    }
}

impl Augment {
    /// Names of all effects with a strength, what is set for them, and what is possible.
    #[must_use]
    pub const fn effects(&self) -> [(&'static str, Effect, [f32; 2]); 12] {
        [
            ("rotation", self.rotation, [-180.0, 180.0]),
            ("scale", self.scale, [0.25, 4.0]),
            ("shift", self.shift, [-0.5, 0.5]),
            ("brightness", self.brightness, [-1.0, 3.0]),
            ("contrast", self.contrast, [-1.0, 3.0]),
            ("saturation", self.saturation, [-1.0, 3.0]),
            ("occlusion", self.occlusion, [0.0, 0.45]),
            ("noise", self.noise, [0.0, 1.0]),
            ("salt_and_pepper", self.salt_and_pepper, [0.0, 1.0]),
            ("reduced", self.reduced, [4.0, 112.0]),
            ("motion_blur", self.motion_blur, [1.0, 64.0]),
            ("covered", self.covered, [0.0, 1.0]),
        ]
    }

    /// Refuses what cannot be drawn.
    ///
    /// # Errors
    /// The first effect that is wrong, by name.
    pub fn check(&self) -> Result<(), AugmentError> {
        let share = |effect, probability: f32| match (0.0..=1.0).contains(&probability) {
            true => Ok(()),
            false => Err(AugmentError::Probability { effect, probability }),
        };
        share("flip", self.flip)?;
        for (effect, Effect { probability, range: [low, high] }, [least, most]) in self.effects() {
            share(effect, probability)?;
            // Written so that anything not a number is refused.
            if !(least <= low && low <= high && high <= most) {
                return Err(AugmentError::Range { effect, low, high, least, most });
            }
        }
        Ok(())
    }

    /// Whether nothing is ever changed.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.flip <= 0.0 && self.effects().iter().all(|(_, e, _)| e.probability <= 0.0)
    }
}
