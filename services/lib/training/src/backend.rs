//! What training needs of a differentiable network, and who makes one. The engine is the autograd library; another one,
//! for a GPU for instance, implements these two traits. Callers: the steps of a run.

use onnx::ModelProto;

use crate::{TrainingError, recipe::NormMode};

/// Learns or not, and how it is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Decays.
    Weight,
    /// Does not.
    Bias,
    /// Scale or shift of a normalisation.
    Norm,
    /// Of a PReLU.
    Slope,
}

/// Values that learn, and their gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name of the initialiser.
    pub name: String,
    /// How it is to be treated.
    pub kind: Kind,
    /// Present values.
    pub value: Vec<f32>,
    /// Sum over the photos since it was last cleared.
    pub gradient: Vec<f32>,
}

/// Values under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedValues {
    /// Name of the initialiser.
    pub name: String,
    /// Its values.
    pub values: Vec<f32>,
}

/// Why photos go through a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// To be embedded.
    Evaluation,
    /// To be learned from; the seed is Dropout's.
    Training {
        /// Of what is random in this pass.
        seed: u64,
    },
}

/// A differentiable network.
pub trait Network: Send {
    /// Values of one input.
    fn input(&self) -> usize;

    /// Length of an embedding.
    fn dim(&self) -> usize;

    /// Embeddings of `n` inputs, not normalised.
    ///
    /// # Errors
    /// [`TrainingError::Model`].
    fn forward(&mut self, batch: &[f32], n: usize, pass: Pass) -> Result<Vec<f32>, TrainingError>;

    /// Adds to the gradients of all parameters; after a training pass.
    ///
    /// # Errors
    /// [`TrainingError::Model`].
    fn backward(&mut self, gradient: &[f32]) -> Result<(), TrainingError>;

    /// What learns, in an order that the graph fixes.
    fn parameters(&mut self) -> &mut [Parameter];

    /// Clears all gradients.
    fn zero_gradients(&mut self);

    /// Running statistics of batch normalisations.
    fn state(&mut self) -> Vec<NamedValues>;

    /// Puts them back.
    ///
    /// # Errors
    /// [`TrainingError::Model`] for values of another graph.
    fn set_state(&mut self, state: &[NamedValues]) -> Result<(), TrainingError>;

    /// Writes weights and statistics into the model they are from.
    ///
    /// # Errors
    /// [`TrainingError::Model`].
    fn write_into(&mut self, model: &mut ModelProto) -> Result<(), TrainingError>;
}

/// Which part of a graph is run, and which learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// All of it learns.
    Whole,
    /// All of it is run; the node with this output and what follows it learn.
    From(&'a str),
    /// What follows this value is run and learns; the value is the input.
    After(&'a str),
}

/// Makes networks.
pub trait Backend {
    /// A network of a model.
    ///
    /// # Errors
    /// [`TrainingError::Model`] for a graph that it does not understand.
    fn open(
        &self,
        model: &ModelProto,
        part: Part<'_>,
        norm: NormMode,
        threads: usize,
    ) -> Result<Box<dyn Network>, TrainingError>;
}
