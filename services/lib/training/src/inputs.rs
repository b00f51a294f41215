//! What flows into a network for one photo: pixels as augmented for an epoch, or features that were computed once
//! (`features`). Called by the loader, from its threads.

use vision::{Augment, Key, Normalisation};

use crate::{Samples, TrainingError};

/// How a photo is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// As augmented in this epoch, then through the domain.
    Training(u64),
    /// As it is.
    Plain,
    /// Through the domain, always in the same way.
    Domain,
}

/// The epoch of [`View::Domain`]: one that training does not reach.
const FIXED: u64 = u64::MAX;

/// Apart from the seed of the run, so that domain and augmentation draw independently.
const DOMAIN: u64 = 0xd0_4a_14;

/// One photo at a time.
pub(crate) trait Inputs: Sync {
    /// Values of one.
    fn size(&self) -> usize;

    /// Writes one.
    fn fill(&self, sample: usize, view: View, out: &mut [f32]) -> Result<(), TrainingError>;
}

/// From the photo itself.
pub(crate) struct Pixels<'a> {
    pub samples: &'a dyn Samples,
    pub normalisation: Normalisation,
    pub augment: Augment,
    pub domain: Augment,
    pub seed: u64,
}

impl Inputs for Pixels<'_> {
    fn size(&self) -> usize {
        let side = vision::Alignment::Arcface112.side() as usize;
        3 * side * side
    }

    fn fill(&self, sample: usize, view: View, out: &mut [f32]) -> Result<(), TrainingError> {
        let crop = self.samples.crop(sample)?;
        let key = |seed, epoch| Key { seed, epoch, sample: sample as u64 };
        let through = |picture, epoch| self.domain.augment(picture, key(self.seed ^ DOMAIN, epoch));
        let picture = match view {
            View::Plain => Augment::default().augment(&crop, key(0, 0)),
            View::Domain => through(&crop, FIXED),
            // The domain has the last word: a camera sees what was augmented.
            View::Training(epoch) => {
                let augmented = self.augment.augment(&crop, key(self.seed, epoch));
                if self.domain.is_off() { augmented } else { through(&augmented, epoch) }
            }
        };
        let written = self.normalisation.write_planar(&picture, out);
        written.map_err(|e| TrainingError::Unreadable(e.to_string()))
    }
}

impl<I: Inputs> Inputs for &I {
    fn size(&self) -> usize {
        (**self).size()
    }

    fn fill(&self, sample: usize, view: View, out: &mut [f32]) -> Result<(), TrainingError> {
        (**self).fill(sample, view, out)
    }
}
