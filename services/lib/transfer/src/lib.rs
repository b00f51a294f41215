//! The file of an exported collection, version 1: newline-delimited JSON, every line but the first sealed by itself.
//! The gateway writes it while it reads the store, and reads it while it is being received; nothing here does IO.
//!
//! ```text
//! {"format":"visavis-export","version":1,"file":"<id>","key":"<id of the key>"}      header, plain
//! {"sealed":"<base64>"}                                                              manifest
//! {"sealed":"<base64>"}                                                              a subject, one line each
//! {"last":"<base64>"}                                                                trailer
//! ```
//!
//! A sealed line is XAES-256-GCM under the export key (crate `seal`), bound to the header's bytes, the line's number and
//! whether it is the last. So a line that was changed, removed, repeated, moved or taken from another file does not
//! open, and a file that was cut has no last line. The texts inside are JSON: [`Manifest`], [`SubjectLine`], [`Trailer`].
//! Readers ignore members they do not know, so that the form can grow within its version.

mod error;
mod key;
mod lines;
mod records;
mod sealed;

pub use error::TransferError;
pub use key::ExportKey;
pub use lines::{LONGEST_LINE, Lines};
pub use records::{CropLine, FaceLine, Manifest, SubjectLine, Trailer};
pub use sealed::{Opened, Opener, Sealer};

/// Media type of the file.
pub const MEDIA_TYPE: &str = "application/vnd.visavis.export";

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
