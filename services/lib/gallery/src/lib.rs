//! Exact 1:N search over the templates of a collection, in memory: the index, its kernels, its snapshots and its
//! follower of the store's change feed. Workers search through [`Galleries`]; tests and benches use [`FlatIndex`].

mod bandwidth;
mod block;
mod cell;
mod combine;
mod directory;
mod epochs;
mod error;
mod flat;
mod follower;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod galleries;
mod index;
mod kernels;
mod live;
mod pool;
mod probe;
mod ranking;
mod sealing;
mod snapshot;
mod sweep;
pub mod synthetic;
mod tally;
mod terms;
mod upkeep;

pub use bandwidth::{Memory, kernel_name};
pub use error::GalleryError;
pub use flat::{FlatIndex, Work};
pub use galleries::{CollectionGallery, Galleries, GalleryOptions, GalleryStats};
pub use index::{Hit, Hits, Index, Permit, Query, Row, RowKey, SubjectEntry};
pub use terms::Terms;
