//! The photos of a run, read once before anything else: which can be used, what they hash to, and the report on them:
//! who has few, how they are turned, how good they are, which are the same, which may be of somebody else.

mod report;
mod scan;
mod suspects;
mod twins;

pub(crate) use report::report;
pub use report::{DataReport, IdentityCount, NearDuplicate, Spread, Suspect, Unusable};
pub(crate) use scan::{Scan, scan};
pub(crate) use suspects::suspects;
