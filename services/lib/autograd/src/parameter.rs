//! What is trained, and what else a checkpoint holds. Callers: whoever optimises.

/// What a parameter does; some recipes treat kinds differently (no weight decay on biases, say).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Of a convolution or a dense layer.
    Weight,
    /// Added to values: biases, class tokens, embeddings of positions.
    Bias,
    /// Scale and shift of a normalisation.
    Norm,
    /// Of an activation below zero.
    Slope,
}

/// One trained tensor, in the order of its elements in the ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in the graph.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Its values.
    pub value: Vec<f32>,
    /// The sum of the gradients since they were last set to zero.
    pub gradient: Vec<f32>,
}

/// Values that are no parameters, by their name in the graph: running means and variances.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedValues {
    /// Name in the graph.
    pub name: String,
    /// The values.
    pub values: Vec<f32>,
}
