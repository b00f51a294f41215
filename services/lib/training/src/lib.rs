//! Training of embedders on aligned faces. Callers: `visavis train`, and the trainer role.
//!
//! A [`Recipe`] says how, [`Samples`] give the photos, [`train`] makes a model of them in a folder of the run's
//! own and tells a [`Progress`] how it goes. Whatever happens, the model that training begins with is untouched; a run
//! that was killed goes on from its last checkpoint and ends with the same bytes.
//!
//! The loop is `stages/learn.rs`; losses, optimisers, data and files lie beside it.

pub mod backend;
mod checkpoint;
mod data;
mod embed;
mod error;
mod features;
mod files;
mod graph;
mod inputs;
mod loader;
pub mod loss;
pub mod optimise;
mod pairs;
mod preview;
mod progress;
pub mod recipe;
mod run;
mod samples;
mod split;
mod stages;

pub use data::{DataReport, IdentityCount, NearDuplicate, Spread, Suspect, Unusable};
pub use error::TrainingError;
pub use features::is_made_anew;
pub use preview::preview;
pub use progress::{Event, Next, Phase, Progress, StepReport, ValidationReport};
pub use recipe::Recipe;
pub use run::{Dataset, Metric, RunRecord, SCHEMA, Stage};
pub use samples::{About, Lineage, Samples};
pub use split::Role;
pub use stages::{Finished, Outcome, train, train_with};
