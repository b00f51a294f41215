//! How a session is to run, and what its manifest says about the graph. Callers: the worker and tools.

use std::path::PathBuf;

use crate::{BUCKETS, InferenceError, Provider, Signature};

/// How a session runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// What computes.
    pub provider: Provider,
    /// Number of the GPU; unused on the CPU.
    pub device: i32,
    /// Threads within one operator, at least 1.
    pub threads: usize,
    /// Whether idle threads spin: faster on a machine of its own, a waste of a shared one.
    pub spinning: bool,
    /// The largest batch; 1 for a graph with a fixed batch, whatever is asked.
    pub max_batch: usize,
    /// Folder for what TensorRT has compiled, which takes minutes; without it that is done at every start.
    pub engine_cache: Option<PathBuf>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            provider: Provider::Cpu,
            device: 0,
            threads: 1,
            spinning: false,
            max_batch: BUCKETS[BUCKETS.len() - 1],
            engine_cache: None,
        }
    }
}

/// What a manifest says about a graph; checked when it is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Name of the model, for messages.
    pub model: String,
    /// Shape of one item, such as [3, 112, 112].
    pub item_shape: Vec<usize>,
    /// Names of outputs that are read; none for an embedder, whose one output is read by position.
    pub outputs: Vec<String>,
    /// Length of the embedding, for an embedder.
    pub output_dim: Option<usize>,
}

impl Expected {
    pub(crate) fn check(&self, found: &Signature) -> Result<(), InferenceError> {
        let mismatch = |reason| Err(InferenceError::ManifestMismatch { model: self.model.clone(), reason });
        let item = found.input.dims.get(1..).unwrap_or_default();
        let fits = |(d, n): (&Option<usize>, &usize)| d.is_none_or(|d| d == *n);
        if item.len() != self.item_shape.len() || !item.iter().zip(&self.item_shape).all(fits) {
            let dims = &found.input.dims;
            return mismatch(format!(
                "its input `{}` has shape {}, not [N, {}]",
                found.input.name,
                show(dims),
                join(&self.item_shape)
            ));
        }
        let missing = self.outputs.iter().find(|name| !found.outputs.iter().any(|o| o.name == **name));
        if let Some(name) = missing {
            let names: Vec<_> = found.outputs.iter().map(|o| o.name.as_str()).collect();
            return mismatch(format!("it has no output `{name}`, only {}", names.join(", ")));
        }
        if let Some(dim) = self.output_dim {
            let [output] = found.outputs.as_slice() else {
                return mismatch(format!("an embedder has one output, this model has {}", found.outputs.len()));
            };
            if output.dims.len() != 2 || output.dims[1].is_some_and(|d| d != dim) {
                return mismatch(format!(
                    "its output `{}` has shape {}, not [N, {dim}]",
                    output.name,
                    show(&output.dims)
                ));
            }
        }
        Ok(())
    }
}

fn join(dims: &[usize]) -> String {
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn show(dims: &[Option<usize>]) -> String {
    let each: Vec<_> = dims.iter().map(|d| d.map_or_else(|| "?".into(), |d| d.to_string())).collect();
    format!("[{}]", each.join(", "))
}
