//! Exact 1:N search over the templates of a collection, in memory: the index, its kernels, its snapshots and its
//! follower of the store's change feed. Workers search through [`Galleries`]; tests and benches use [`FlatIndex`].

mod block;
mod cell;
mod directory;
mod epochs;
mod error;
mod flat;
mod follower;
mod galleries;
mod index;
mod kernel;
mod live;
mod ranking;
mod scan;
mod snapshot;
mod upkeep;

pub use error::GalleryError;
pub use flat::FlatIndex;
pub use galleries::{CollectionGallery, Galleries, GalleryOptions, GalleryStats};
pub use index::{Hit, Hits, Index, Query, Row, RowKey, SubjectEntry};
