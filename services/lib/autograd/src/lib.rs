//! Training of ONNX graphs on the CPU: a graph in, the same graph with new weights out. A [`Network`] runs the graph
//! forwards, takes a gradient back through it and writes what was trained into the file it came from; losses and
//! optimisers are the caller's.
//!
//! ```
//! # use visavis_autograd as autograd;
//! # fn f(file: &[u8], pictures: &[f32]) -> Result<(), Box<dyn std::error::Error>> {
//! use autograd::{Network, Norm, Options, Pass, Trainable};
//!
//! let mut model = onnx::decode(file)?;
//! let options = Options { trainable: Trainable::All, norm: Norm::Frozen, threads: 2 };
//! let mut network = Network::new(&model, &options)?;
//! let embeddings = network.forward(pictures, 1, Pass::Training { seed: 1 })?;
//! network.backward(&embeddings)?; // of half the squared length
//! for parameter in network.parameters() {
//!     for (value, gradient) in parameter.value.iter_mut().zip(&parameter.gradient) {
//!         *value -= 0.01 * gradient;
//!     }
//! }
//! network.write_into(&mut model)?;
//! # Ok(())
//! # }
//! ```

mod error;
mod execute;
mod graph;
mod import;
mod kernels;
mod needs;
mod network;
mod ops;
mod parameter;
mod plan;
mod planner;
mod slots;
mod threads;

pub use error::Error;
pub use network::{InputShape, Network, Norm, Options, Pass, Trainable};
pub use parameter::{Kind, NamedValues, Parameter};
