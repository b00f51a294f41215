//! A differentiable network: what callers see of the engine. Callers: the training library, the speed harness, tests.

use onnx::{ModelProto, tensor};

use crate::{
    Error, NamedValues, Parameter,
    execute::{self, Machine},
    graph::Graph,
    import::{self, Names},
    plan::Plan,
    threads::Threads,
};

/// How a graph is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What is trained.
    pub trainable: Trainable,
    /// How batch normalisations behave.
    pub norm: Norm,
    /// Threads, at least one. The same number gives the same bits.
    pub threads: usize,
}

/// What is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trainable {
    /// Everything that can be.
    All,
    /// What stands from the node with this output on; no gradient goes before it.
    From(String),
}

/// How batch normalisations behave in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// As in evaluation: with the model's statistics, which stay. Scale and shift are trained.
    Frozen,
    /// With the batch's statistics; the model's follow by `running · momentum + batch · (1 - momentum)`, with the
    /// variance that is divided by the count, as ONNX defines it (not by one less, as PyTorch does).
    Batch,
}

/// What a forward pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// What the model would answer in service.
    Evaluation,
    /// To be followed by [`Network::backward`].
    Training {
        /// Decides what dropout drops.
        seed: u64,
    },
}

/// What one sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputShape {
    /// A picture, channel by channel, each row by row.
    Image {
        /// Channels.
        channels: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// So many numbers.
    Flat(usize),
}

impl InputShape {
    /// Numbers of one sample.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no sample is empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Image { channels, height, width } => channels * height * width,
            Self::Flat(len) => len,
        }
    }
}

/// An ONNX graph that can be trained.
pub struct Network {
    graph: Graph,
    names: Names,
    evaluation: Plan,
    training: Plan,
    machine: Machine,
    /// The training pass that [`Self::backward`] belongs to.
    pending: Option<execute::Pass>,
}

impl Network {
    /// A network of the whole graph.
    ///
    /// # Errors
    /// [`Error`] for a graph that cannot be trained, with the node that stands in the way.
    pub fn new(model: &ModelProto, options: &Options) -> Result<Self, Error> {
        Self::build(model, None, options)
    }

    /// A network of what follows a value inside the graph, whose numbers are then the input: the frozen part in front
    /// of it need not be computed again for samples that were seen before.
    ///
    /// # Errors
    /// As [`Self::new`]; also where the output depends on something beside that value.
    pub fn from_tensor(model: &ModelProto, tensor: &str, options: &Options) -> Result<Self, Error> {
        Self::build(model, Some(tensor), options)
    }

    fn build(model: &ModelProto, from: Option<&str>, options: &Options) -> Result<Self, Error> {
        let (graph, names) = import::import(model, from, options)?;
        let (evaluation, training) = (Plan::evaluation(&graph), Plan::training(&graph));
        let machine = Machine::new(Threads::new(options.threads));
        Ok(Self { graph, names, evaluation, training, machine, pending: None })
    }

    /// What one sample is.
    #[must_use]
    pub const fn input(&self) -> InputShape {
        self.names.input
    }

    /// Length of the embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.graph.values[self.graph.output].len
    }

    /// Runs the graph on `n` samples, one behind the other as the ONNX graph takes them, and gives `n` embeddings, not
    /// normalised.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::EmptyBatch`] for a batch that does not fit.
    pub fn forward(&mut self, batch: &[f32], n: usize, pass: Pass) -> Result<Vec<f32>, Error> {
        let wanted = self.input().len() * n;
        if n == 0 {
            return Err(Error::EmptyBatch);
        }
        if batch.len() != wanted {
            return Err(Error::Length { what: "the batch", given: batch.len(), wanted });
        }
        let (plan, pass) = match pass {
            Pass::Evaluation => (&self.evaluation, execute::Pass { n, training: false, seed: 0 }),
            Pass::Training { seed } => (&self.training, execute::Pass { n, training: true, seed }),
        };
        self.machine.reserve(plan, n);
        let threads = self.machine.threads;
        fill(threads, self.names.input, batch, self.machine.slot(plan.input, wanted));
        self.machine.run(&mut self.graph, &plan.forward, pass);
        self.pending = pass.training.then_some(pass);
        let len = self.graph.values[self.graph.output].len * n;
        Ok(self.machine.slot(plan.output, len).to_vec())
    }

    /// Takes the gradient of the embeddings back, adding to the gradients of all parameters.
    ///
    /// # Errors
    /// [`Error::NothingToTakeBack`] unless a forward pass in training came directly before, [`Error::Length`] for a
    /// gradient that does not fit it.
    pub fn backward(&mut self, gradient: &[f32]) -> Result<(), Error> {
        let pass = self.pending.ok_or(Error::NothingToTakeBack)?;
        let wanted = self.dim() * pass.n;
        if gradient.len() != wanted {
            return Err(Error::Length { what: "the gradient", given: gradient.len(), wanted });
        }
        self.pending = None;
        self.machine.slot(self.training.gradient, wanted).copy_from_slice(gradient);
        self.machine.run(&mut self.graph, &self.training.backward, pass);
        Ok(())
    }

    /// What is trained, in an order that only the graph decides. Lengths must stay as they are.
    pub fn parameters(&mut self) -> &mut [Parameter] {
        &mut self.graph.parameters
    }

    /// Begins a new sum of gradients.
    pub fn zero_gradients(&mut self) {
        for parameter in &mut self.graph.parameters {
            parameter.gradient.fill(0.0);
        }
    }

    /// The statistics of batch normalisations, for checkpoints.
    #[must_use]
    pub fn state(&self) -> Vec<NamedValues> {
        let mut state = Vec::new();
        for running in self.graph.nodes.iter().filter_map(|n| n.op.running()) {
            for (name, values) in running.names.iter().zip(&running.values) {
                state.push(NamedValues { name: name.clone(), values: values.clone() });
            }
        }
        state
    }

    /// Sets statistics as [`Self::state`] gave them.
    ///
    /// # Errors
    /// [`Error::NoSuchValue`] for statistics of another graph, [`Error::Length`] where they do not fit.
    pub fn set_state(&mut self, state: &[NamedValues]) -> Result<(), Error> {
        for wanted in state {
            let mut found = false;
            for running in self.graph.nodes.iter_mut().filter_map(|n| n.op.running_mut()) {
                for (name, values) in running.names.iter().zip(&mut running.values) {
                    if *name != wanted.name {
                        continue;
                    }
                    if values.len() != wanted.values.len() {
                        let (given, wanted) = (wanted.values.len(), values.len());
                        return Err(Error::Length { what: "a running statistic", given, wanted });
                    }
                    values.clone_from(&wanted.values);
                    found = true;
                }
            }
            if !found {
                return Err(Error::NoSuchValue(wanted.name.clone()));
            }
        }
        Ok(())
    }

    /// Writes weights and statistics as they are now into the model this network was made from. Nothing else of it
    /// changes.
    ///
    /// # Errors
    /// [`Error::NoSuchValue`] or [`Error::Length`] for another model.
    pub fn write_into(&self, model: &mut ModelProto) -> Result<(), Error> {
        let state = self.state();
        let parameters = self.graph.parameters.iter().map(|p| (&p.name, &p.value));
        for (name, values) in parameters.chain(state.iter().map(|s| (&s.name, &s.values))) {
            let graph = model.graph.as_mut().ok_or_else(|| Error::NoSuchValue(name.clone()))?;
            let place = graph
                .initializer
                .iter_mut()
                .find(|t| t.name() == name)
                .ok_or_else(|| Error::NoSuchValue(name.clone()))?;
            let wanted = tensor::f32_data(place)?.len();
            if wanted != values.len() {
                return Err(Error::Length { what: "a tensor of the model", given: values.len(), wanted });
            }
            if place.raw_data.is_some() {
                place.raw_data = Some(values.iter().flat_map(|v| v.to_le_bytes()).collect());
            } else {
                place.float_data.clone_from(values);
            }
        }
        Ok(())
    }

    /// Bytes that training with batches of `n` samples takes: values, gradients, and parameters with theirs. Memory
    /// that operators share comes on top, as large as the largest weight.
    #[must_use]
    pub fn memory(&self, n: usize) -> usize {
        let parameters: usize = self.graph.parameters.iter().map(|p| 2 * p.value.len()).sum();
        let constants: usize = self.graph.constants.iter().map(Vec::len).sum();
        4 * (self.training.numbers(n) + parameters + constants)
    }

    /// Bytes that are held beside parameters now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.machine.bytes()
    }
}

/// Pictures come channel by channel and are worked on pixel by pixel.
fn fill(threads: Threads, shape: InputShape, batch: &[f32], to: &mut [f32]) {
    let InputShape::Image { channels, height, width } = shape else {
        to.copy_from_slice(batch);
        return;
    };
    let (len, pixels) = (shape.len(), height * width);
    threads.split(to, len, |first, part| {
        for (image, to) in batch[first * len..].chunks_exact(len).zip(part.chunks_exact_mut(len)) {
            for (pixel, to) in to.chunks_exact_mut(channels).enumerate() {
                to.iter_mut().enumerate().for_each(|(c, to)| *to = image[c * pixels + pixel]);
            }
        }
    });
}
