//! The sections of a recipe with their defaults.

use serde::{Deserialize, Serialize};
use vision::{ChannelOrder, Normalisation};

/// What of the network learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The last linear layer and what follows it, on features computed once. Minutes.
    Head,
    /// The last blocks.
    Tail,
    /// Everything.
    Full,
}

impl Method {
    /// As in a recipe.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Tail => "tail",
            Self::Full => "full",
        }
    }
}

/// Order of the input planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// Planes of `(x − mean) × scale`, as a model's manifest says. The default is for models that scale in their graph.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// Order of the planes.
    pub channel_order: Order,
    /// Subtracted first, by plane.
    pub mean: [f32; 3],
    /// Multiplied with after that, by plane.
    pub scale: [f32; 3],
}

impl Default for Input {
    fn default() -> Self {
        Self { channel_order: Order::Rgb, mean: [0.0; 3], scale: [1.0; 3] }
    }
}

impl Input {
    /// For the vision library.
    #[must_use]
    pub const fn normalisation(&self) -> Normalisation {
        let order = match self.channel_order {
            Order::Rgb => ChannelOrder::Rgb,
            Order::Bgr => ChannelOrder::Bgr,
        };
        Normalisation { order, mean: self.mean, scale: self.scale }
    }
}

/// Photos for a step, and at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Photos behind one change of the weights.
    pub size: usize,
    /// Photos that go through the network together; their gradients add up.
    pub micro: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { size: 256, micro: 32 }
    }
}

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

/// Statistics of batch normalisations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormMode {
    /// As they are in the model: for few photos.
    Frozen,
    /// Those of each batch, and running ones that follow them.
    Batch,
}

/// Against learning by heart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Regularise {
    /// Share dropped where the graph has Dropout; without it the graph's own.
    pub dropout: Option<f32>,
    /// Decay of the moving average of the weights, which is what is validated and kept; 0 for none.
    pub ema: f32,
    /// Statistics of batch normalisations.
    pub norm: NormMode,
}

impl Default for Regularise {
    fn default() -> Self {
        Self { dropout: Some(0.3), ema: 0.0, norm: NormMode::Frozen }
    }
}

/// For the method `tail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tail {
    /// Share of the nodes, from the end, that learn; moved to the nearest place where one value holds everything.
    pub share: f32,
    /// Output of the first node that learns, instead of a share.
    pub from: Option<String>,
}

impl Default for Tail {
    fn default() -> Self {
        Self { share: 0.25, from: None }
    }
}

/// For the method `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Head {
    /// Augmented views of each photo whose features are kept; epochs take turns.
    pub views: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self { views: 4 }
    }
}

/// Who is held out: people, never photos of somebody who is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitPart {
    /// People who choose the best step: a share below 1, else a number.
    pub validation: f64,
    /// People who are met at the end only: a share below 1, else a number.
    pub test: f64,
}

impl Default for SplitPart {
    fn default() -> Self {
        Self { validation: 0.1, test: 0.1 }
    }
}

/// When and on what it is seen how good the model has become.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationPart {
    /// Epochs from one to the next.
    pub every: f64,
    /// Training ends after so many without a better one; 0 for never.
    pub patience: u32,
    /// The best step has the highest true accept rate at this false match rate.
    pub fmr: f64,
    /// Pairs of strangers, drawn at random where there are more.
    pub most_pairs: usize,
}

impl Default for ValidationPart {
    fn default() -> Self {
        Self { every: 1.0, patience: 10, fmr: 1e-3, most_pairs: 300_000 }
    }
}

/// How often the state is put down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpointing {
    /// From one to the next; 0 after every step. What comes out does not depend on it.
    pub seconds: u64,
}

impl Default for Checkpointing {
    fn default() -> Self {
        Self { seconds: 60 }
    }
}
