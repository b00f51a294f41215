//! Model manifests, artefact fetching by checksum, calibration tables. Callers: the worker and the trainer at start,
//! `visavis models`, and the gateway for what a model is called and how it is calibrated.
//!
//! A [`Catalogue`] knows manifests; [`fetch`] and [`import`] bring their files into a [`Cache`]; a [`ModelSet`] reads
//! the active detector and embedder from it, verified and rewritten for serving. Everything here blocks.

mod artefact;
mod cache;
mod catalogue;
mod error;
mod fetch;
mod import;
mod manifest;
mod model_set;
mod pip;
mod progress;
mod quantised;
mod random;
mod wheel;

pub use artefact::{Artefact, Checksum, WheelSource, WheelTags};
pub use cache::Cache;
pub use catalogue::{Catalogue, Precision, Runtime, Selection};
pub use error::ModelError;
pub use fetch::fetch;
pub use import::import;
pub use manifest::{ChannelOrder, Detector, Embedder, Head, Input, Kind, Manifest, Quantised};
pub use model_set::{Model, ModelSet, Target};
pub use pip::Pip;
pub use progress::{Progress, Silent};
pub use quantised::{quantised_from, quantised_in, save_quantised};
pub use random::Untrained;
