//! What training needs of a differentiable network, and who makes one. [`Autograd`] is the engine on processors; another
//! one, for a GPU for instance, implements these two traits. Callers: the stages of a run.

use onnx::ModelProto;

pub use autograd::{Kind, NamedValues, Parameter, Pass};

use crate::{TrainingError, recipe::NormMode};

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
    fn state(&self) -> Vec<NamedValues>;

    /// Puts them back.
    ///
    /// # Errors
    /// [`TrainingError::Model`] for values of another graph.
    fn set_state(&mut self, state: &[NamedValues]) -> Result<(), TrainingError>;

    /// Writes weights and statistics into the model they are from.
    ///
    /// # Errors
    /// [`TrainingError::Model`].
    fn write_into(&self, model: &mut ModelProto) -> Result<(), TrainingError>;
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

/// The autograd library: on processors, the same bits for the same number of threads.
#[derive(Clone, Copy, Debug)]
pub struct Autograd;

impl Backend for Autograd {
    fn open(
        &self,
        model: &ModelProto,
        part: Part<'_>,
        norm: NormMode,
        threads: usize,
    ) -> Result<Box<dyn Network>, TrainingError> {
        let trainable = match part {
            Part::From(node) => autograd::Trainable::From(node.to_owned()),
            Part::Whole | Part::After(_) => autograd::Trainable::All,
        };
        let norm = match norm {
            NormMode::Frozen => autograd::Norm::Frozen,
            NormMode::Batch => autograd::Norm::Batch,
        };
        let options = autograd::Options { trainable, norm, threads };
        let network = match part {
            Part::After(value) => autograd::Network::from_tensor(model, value, &options),
            Part::Whole | Part::From(_) => autograd::Network::new(model, &options),
        };
        Ok(Box::new(network.map_err(of_engine)?))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn of_engine(e: autograd::Error) -> TrainingError {
    TrainingError::Model(e.to_string())
}

impl Network for autograd::Network {
    fn input(&self) -> usize {
        self.input().len()
    }

    fn dim(&self) -> usize {
        self.dim()
    }

    fn forward(&mut self, batch: &[f32], n: usize, pass: Pass) -> Result<Vec<f32>, TrainingError> {
        self.forward(batch, n, pass).map_err(of_engine)
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), TrainingError> {
        self.backward(gradient).map_err(of_engine)
    }

    fn parameters(&mut self) -> &mut [Parameter] {
        self.parameters()
    }

    fn zero_gradients(&mut self) {
        self.zero_gradients();
    }

    fn state(&self) -> Vec<NamedValues> {
        self.state()
    }

    fn set_state(&mut self, state: &[NamedValues]) -> Result<(), TrainingError> {
        self.set_state(state).map_err(of_engine)
    }

    fn write_into(&self, model: &mut ModelProto) -> Result<(), TrainingError> {
        self.write_into(model).map_err(of_engine)
    }
}
