//! Seeded augmentation of aligned faces: what a trainer sees instead of the same picture again. Called by the training
//! library, and by `visavis train preview`, which shows it.
//!
//! What is drawn ([`Augment::draw`]) and what it does ([`Drawn::apply`]) are apart, so that the first can be held
//! against its ranges. Every effect draws from a stream of its own: switching one off leaves the others as they were.

mod damage;
mod degrade;
mod place;
mod ranges;
mod tone;

use crate::{Alignment, Random, Rgb8};

pub use damage::{Cover, Rectangle};
pub use degrade::Motion;
pub use ranges::{Augment, AugmentError, Effect};

/// Whose turn it is: same key, same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Of the run.
    pub seed: u64,
    /// How often all samples were seen before.
    pub epoch: u64,
    /// Number of the sample.
    pub sample: u64,
}

impl Key {
    fn stream(self, effect: u64) -> Random {
        Random::of(&[self.seed, self.epoch, self.sample, effect])
    }
}

/// What was drawn for one picture; nothing for an effect that has no turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawn {
    /// Left becomes right.
    pub mirrored: bool,
    /// Degrees, clockwise.
    pub turn: Option<f32>,
    /// Above 1 the face becomes larger.
    pub scale: Option<f32>,
    /// Along x and y, as a share of the side.
    pub shift: Option<[f32; 2]>,
    /// Share by which all becomes brighter.
    pub brightness: Option<f32>,
    /// Share by which differences from the mean grow.
    pub contrast: Option<f32>,
    /// Share by which differences from grey grow.
    pub saturation: Option<f32>,
    /// Side in pixels to which the picture is reduced, and enlarged again.
    pub reduced: Option<f32>,
    /// The camera's or the face's movement.
    pub motion: Option<Motion>,
    /// Mouth and chin under a mask.
    pub cover: Option<Cover>,
    /// Something in front of the face.
    pub occlusion: Option<Rectangle>,
    /// Deviation of the noise, as a share of the range of values.
    pub noise: Option<f32>,
    /// Share of pixels that become black or white.
    pub salt_and_pepper: Option<f32>,
    /// Stream of what is drawn for each pixel.
    pixels: u64,
}

impl Augment {
    /// What this key's picture will go through.
    #[must_use]
    pub fn draw(&self, key: Key) -> Drawn {
        let turn = |effect: u64, e: &Effect| {
            let mut random = key.stream(effect);
            let value = random.chance(e.probability).then(|| random.within(e.range));
            (value, random)
        };
        let plain = |effect, e| turn(effect, e).0;
        let (shift_x, mut random) = turn(3, &self.shift);
        let shift = shift_x.map(|x| [x, random.within(self.shift.range)]);
        let motion = {
            let (length, mut random) = turn(8, &self.motion_blur);
            length.map(|length| Motion { length, direction: random.within([0.0, 180.0]) })
        };
        let cover = {
            let (from, mut random) = turn(9, &self.covered);
            from.map(|from| Cover { from, colour: colour(&mut random) })
        };
        let occlusion = {
            let (area, mut random) = turn(10, &self.occlusion);
            area.map(|area| Rectangle::drawn(area, Alignment::Arcface112.side(), &mut random))
        };
        Drawn {
            mirrored: key.stream(0).chance(self.flip),
            turn: plain(1, &self.rotation),
            scale: plain(2, &self.scale),
            shift,
            brightness: plain(4, &self.brightness),
            contrast: plain(5, &self.contrast),
            saturation: plain(6, &self.saturation),
            reduced: plain(7, &self.reduced),
            motion,
            cover,
            occlusion,
            noise: plain(11, &self.noise),
            salt_and_pepper: plain(12, &self.salt_and_pepper),
            pixels: key.stream(13).draw(),
        }
    }

    /// Draws and applies.
    #[must_use]
    pub fn augment(&self, crop: &Rgb8, key: Key) -> Rgb8 {
        self.draw(key).apply(crop)
    }
}

impl Drawn {
    /// The picture as the embedder gets it, 112×112, out of an aligned crop with or without margin around it. First the
    /// face moves, then something is put before it, then the light changes, then the camera spoils it.
    #[must_use]
    pub fn apply(&self, crop: &Rgb8) -> Rgb8 {
        let mut picture = place::placed(crop, self);
        if let Some(cover) = &self.cover {
            cover.apply(&mut picture);
        }
        if let Some(rectangle) = &self.occlusion {
            rectangle.apply(&mut picture);
        }
        tone::apply(&mut picture, self);
        if let Some(side) = self.reduced {
            picture = degrade::reduced(&picture, side.round().max(1.0) as u32);
        }
        if let Some(motion) = &self.motion {
            picture = motion.apply(&picture);
        }
        if let Some(sigma) = self.noise {
            damage::noise(&mut picture, sigma, &mut Random::of(&[self.pixels, 0]));
        }
        if let Some(share) = self.salt_and_pepper {
            damage::salt_and_pepper(&mut picture, share, &mut Random::of(&[self.pixels, 1]));
        }
        picture
    }
}

fn colour(random: &mut Random) -> [u8; 3] {
    [0; 3].map(|_: u8| random.below(256) as u8)
}

#[cfg(test)]
mod tests;
