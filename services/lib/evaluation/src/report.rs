//! Documents as HTML: one file each that needs nothing else, with plots as inline SVG and no scripts. Reads well in
//! light and dark and on paper. `visavis eval --report` writes them. Reports of load are made of the same parts.

mod calibration;
mod gate;
pub mod html;
mod identification;
mod plots;
mod shared;
pub mod svg;
mod training;
mod training_run;
mod verification;

pub use calibration::calibration;
pub use gate::gate;
pub use identification::identification;
pub use shared::{count, gap};
pub use training::training;
pub use training_run::training_run;
pub use verification::verification;

/// Aligned crops (PNG) of the pairs that a document lists, in its order: mated pairs first, then non-mated ones, or the
/// suspects of a calibration. A crop that could not be made is `None`.
pub type Crops = [[Option<Vec<u8>>; 2]];

/// Another run to draw beside this one.
#[derive(Clone, Debug)]
pub struct Other<D> {
    /// What to call it: a file name, for instance.
    pub name: String,
    /// Its document.
    pub document: D,
}
