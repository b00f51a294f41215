//! The sections of a recipe about what is minimised and how weights move, with their defaults.

use serde::{Deserialize, Serialize};

/// How people are told apart while training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossKind {
    /// A linear layer and cross-entropy.
    Softmax,
    /// Deng et al. 2019: a margin on the angle.
    Arcface,
    /// Wang et al. 2018: a margin on the cosine.
    Cosface,
}

impl LossKind {
    /// The published margin.
    #[must_use]
    pub const fn margin(self) -> f32 {
        match self {
            Self::Softmax => 0.0,
            Self::Arcface => 0.5,
            Self::Cosface => 0.35,
        }
    }
}

/// Where the vectors that stand for people begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prototypes {
    /// Anywhere: for a network without knowledge.
    Random,
    /// At the mean template of each person: for one that is trained already.
    Centres,
}

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossPart {
    /// Which.
    pub kind: LossKind,
    /// The published one unless another is given.
    pub margin: Option<f32>,
    /// Cosines are multiplied with this.
    pub scale: f32,
    /// Share of the target that is spread over all people.
    pub label_smoothing: f32,
    /// Share of the steps over which the margin grows from 0.
    pub margin_warmup: f32,
    /// Where the vectors that stand for people begin.
    pub prototypes: Prototypes,
}

impl Default for LossPart {
    fn default() -> Self {
        Self {
            kind: LossKind::Arcface,
            margin: None,
            scale: 64.0,
            label_smoothing: 0.1,
            margin_warmup: 0.0,
            prototypes: Prototypes::Random,
        }
    }
}

/// Staying close to the model that training began with: what it makes of each photo, neither augmented nor seen through
/// `domain`, is what the trained one should make of the same photo however it looks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Distill {
    /// Weight of 1 − cosine to its template; 0 for none.
    pub features: f32,
    /// Weight of the divergence from whom it takes the photo for; 0 for none.
    pub logits: f32,
    /// Hinton et al. 2015.
    pub temperature: f32,
}

impl Default for Distill {
    fn default() -> Self {
        Self { features: 0.0, logits: 0.0, temperature: 2.0 }
    }
}

impl Distill {
    /// Whether the first model's templates are needed.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.features > 0.0 || self.logits > 0.0
    }
}

/// How weights move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimiserKind {
    /// Loshchilov and Hutter 2019: decay apart from the gradient.
    Adamw,
    /// Gradient descent with momentum.
    Sgd,
}

/// How weights move, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserPart {
    /// Which.
    pub kind: OptimiserKind,
    /// At its highest.
    pub learning_rate: f32,
    /// The vectors that stand for people move so much faster.
    pub classifier_factor: f32,
    /// Of weights; norms, biases and slopes have none.
    pub weight_decay: f32,
    /// AdamW's.
    pub betas: [f32; 2],
    /// AdamW's.
    pub epsilon: f32,
    /// SGD's.
    pub momentum: f32,
    /// Share of the steps over which the rate grows from 0.
    pub warmup: f32,
    /// Where the cosine ends, as a share of the rate.
    pub last: f32,
    /// Longest gradient over all weights; 0 for any.
    pub clip: f32,
}

impl Default for OptimiserPart {
    fn default() -> Self {
        Self {
            kind: OptimiserKind::Adamw,
            learning_rate: 1e-3,
            classifier_factor: 1.0,
            weight_decay: 0.05,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            momentum: 0.9,
            warmup: 0.05,
            last: 0.01,
            clip: 1.0,
        }
    }
}
