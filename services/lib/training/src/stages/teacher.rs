//! What the model that training begins with makes of the photos: where prototypes begin, what a teacher says of a batch,
//! and what the trained model is compared with.

use std::collections::BTreeMap;

use super::prepare::Photos;
use crate::embed::normalise;

/// Templates of length one.
pub(super) struct Champion {
    pub dim: usize,
    /// Of the usable photos as they are, in their order.
    pub plain: Vec<f32>,
    /// Row in `plain` by photo.
    rows: BTreeMap<usize, usize>,
    /// Through the domain, by photo.
    domain: BTreeMap<usize, Vec<f32>>,
    /// Mean of each class, of length one.
    pub centres: Vec<f32>,
}

impl Champion {
    pub fn new(photos: &Photos, dim: usize, all: &[f32], domain: &[usize]) -> Self {
        let (plain, rest) = all.split_at(photos.usable.len() * dim);
        let rows: BTreeMap<usize, usize> = photos.usable.iter().enumerate().map(|(row, s)| (*s, row)).collect();
        let domain = domain.iter().copied().zip(rest.chunks_exact(dim).map(<[f32]>::to_vec)).collect();
        let mut champion = Self { dim, plain: plain.to_vec(), rows, domain, centres: Vec::new() };
        champion.centres = champion.centres(photos);
        champion
    }

    fn centres(&self, photos: &Photos) -> Vec<f32> {
        let mut centres = vec![0.0f32; photos.classes * self.dim];
        for (&sample, &class) in photos.train.iter().zip(&photos.labels) {
            let centre = &mut centres[class * self.dim..(class + 1) * self.dim];
            centre.iter_mut().zip(self.of(sample)).for_each(|(c, v)| *c += v);
        }
        centres.chunks_exact_mut(self.dim).for_each(normalise);
        centres
    }

    /// Template of a photo as it is.
    pub fn of(&self, sample: usize) -> &[f32] {
        let row = self.rows.get(&sample).copied().unwrap_or(0);
        &self.plain[row * self.dim..(row + 1) * self.dim]
    }

    /// Templates of photos as they are, or through the domain where there is one.
    pub fn all(&self, samples: &[usize], through_domain: bool) -> Vec<f32> {
        let one = |s: &usize| match self.domain.get(s).filter(|_| through_domain) {
            Some(row) => row.as_slice(),
            None => self.of(*s),
        };
        samples.iter().flat_map(one).copied().collect()
    }

    /// Scaled cosines of photos with the centres: whom it takes them for.
    pub fn logits(&self, samples: &[usize], scale: f32) -> Vec<f32> {
        let row = |s: &usize| {
            let template = self.of(*s);
            let cosine = |c: &[f32]| scale * c.iter().zip(template).map(|(a, b)| a * b).sum::<f32>();
            self.centres.chunks_exact(self.dim).map(cosine).collect::<Vec<f32>>()
        };
        samples.iter().flat_map(row).collect()
    }
}
