//! People that are made up: each is a mixture of a few patterns, and every photo of them has strong patterns of its own
//! on top. Who learns which patterns matter recognises people whom they have never seen.

use visavis_training::{About, Samples, TrainingError};
use vision::{Random, Rgb8};

const SIDE: u32 = 112;
const CELLS: usize = 14;

/// Patterns that tell people apart, and patterns that do not.
const TELLING: u64 = 6;
const TOTAL: u64 = 16;

pub struct People {
    labels: Vec<String>,
    photos: usize,
    /// Photos that cannot be read.
    pub broken: Vec<usize>,
}

impl People {
    pub fn new(people: usize, photos: usize) -> Self {
        Self { labels: (0..people).map(|i| format!("person {i}")).collect(), photos, broken: Vec::new() }
    }
}

/// A pattern's value at a place: a plane wave of its own.
fn wave(pattern: u64, x: u32, y: u32) -> f32 {
    let mut random = Random::of(&[77, pattern]);
    let [a, b, phase] = [0; 3].map(|_: i32| random.within([-0.25, 0.25]));
    (a * x as f32 + b * y as f32 + 25.0 * phase).sin()
}

impl Samples for People {
    fn identities(&self) -> &[String] {
        &self.labels
    }

    fn len(&self) -> usize {
        self.labels.len() * self.photos
    }

    fn identity(&self, sample: usize) -> usize {
        sample / self.photos
    }

    fn crop(&self, sample: usize) -> Result<Rgb8, TrainingError> {
        if self.broken.contains(&sample) {
            return Err(TrainingError::Unreadable("it is torn".into()));
        }
        let (mut person, mut photo) = (Random::of(&[1, self.identity(sample) as u64]), Random::of(&[2, sample as u64]));
        let strength = |pattern| match pattern < TELLING {
            true => 14.0 * person.normals()[0] + 3.0 * photo.normals()[0],
            false => 22.0 * photo.normals()[0],
        };
        let strengths: Vec<f32> = (0..TOTAL).map(strength).collect();
        // One value for each cell of the linear network's mean.
        let cells: Vec<u8> = WAVES.with(|waves| {
            let sum = |c: usize| strengths.iter().zip(waves).map(|(s, w)| s * w[c]).sum::<f32>();
            (0..CELLS * CELLS).map(|c| (127.5 + sum(c)).clamp(0.0, 255.0) as u8).collect()
        });
        let mut pixels = Vec::with_capacity((SIDE * SIDE * 3) as usize);
        for row in cells.chunks_exact(CELLS) {
            let line: Vec<u8> = row.iter().flat_map(|v| [*v, *v, 255 - v].repeat(8)).collect();
            pixels.extend(line.repeat(8));
        }
        Rgb8::new(SIDE, SIDE, pixels).ok_or(TrainingError::NoSamples)
    }

    fn name(&self, sample: usize) -> String {
        format!("{}/{sample}.png", self.labels[self.identity(sample)])
    }

    fn about(&self, sample: usize) -> Option<About> {
        Some(About { yaw: sample as f32 % 61.0 - 30.0, pitch: 0.0, roll: 0.0, quality: 80.0 })
    }
}

thread_local! {
    static WAVES: Vec<Vec<f32>> = {
        let cells = || (0..SIDE / 8).flat_map(|y| (0..SIDE / 8).map(move |x| (x * 8, y * 8)));
        (0..TOTAL).map(|p| cells().map(|(x, y)| wave(p, x, y)).collect()).collect()
    };
}
