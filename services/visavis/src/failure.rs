//! Why a command ended: one sentence for a person, one exit status for a script (those of sysexits.h).

use std::path::Path;

use gateway::{AdminKeyError, GatewayError};
use inference::InferenceError;
use models::ModelError;
use runtime::ConfigError;
use runtime::admin::AdminError;
use runtime::telemetry::TelemetryError;
use store::StoreError;
use trace::TraceError;
use training::TrainingError;
use worker::WorkerError;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Command line, configuration or input file: nothing will change until it is corrected.
    #[error("{0}")]
    Usage(String),
    /// Something needed is taken or away: a port, a data directory.
    #[error("{0}")]
    Unavailable(String),
    /// A document that was to be checked is not what it should be.
    #[error("{0}")]
    Refused(String),
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// Exit status of the process.
    pub const fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => runtime::config::EXIT_USAGE,
            Self::Unavailable(_) => 69,
            Self::Refused(_) => 65,
            Self::Other(_) => 1,
        }
    }

    /// A file or folder that cannot be used.
    pub fn io(what: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::Other(format!("{what} {} cannot be used: {error}", path.display()))
    }
}

impl From<ConfigError> for Failure {
    fn from(e: ConfigError) -> Self {
        Self::Usage(e.to_string())
    }
}

impl From<TelemetryError> for Failure {
    fn from(e: TelemetryError) -> Self {
        Self::Usage(e.to_string())
    }
}

impl From<TraceError> for Failure {
    fn from(e: TraceError) -> Self {
        match &e {
            TraceError::Metrics(_) => Self::Other(e.to_string()),
            _ => Self::Usage(e.to_string()),
        }
    }
}

impl From<AdminError> for Failure {
    fn from(e: AdminError) -> Self {
        match &e {
            AdminError::Bind { .. } => {
                Self::Unavailable(format!("{e}. Stop what uses it, or choose another with --admin-listen ADDR"))
            }
            AdminError::Metrics(_) => Self::Other(e.to_string()),
        }
    }
}

impl From<GatewayError> for Failure {
    fn from(e: GatewayError) -> Self {
        match &e {
            GatewayError::Listen { .. } => {
                Self::Unavailable(format!("{e}. Stop what uses it, or choose another with --listen ADDR"))
            }
            _ => Self::Other(e.to_string()),
        }
    }
}

impl From<AdminKeyError> for Failure {
    fn from(e: AdminKeyError) -> Self {
        match &e {
            AdminKeyError::Malformed => Self::Usage(e.to_string()),
            _ => Self::Other(e.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(e: StoreError) -> Self {
        match &e {
            StoreError::Sealing(_) | StoreError::Schema(_) => Self::Usage(e.to_string()),
            _ => Self::Unavailable(e.to_string()),
        }
    }
}

impl From<ModelError> for Failure {
    fn from(e: ModelError) -> Self {
        match &e {
            ModelError::Unknown { .. }
            | ModelError::LicenceNotAccepted { .. }
            | ModelError::NoLicence { .. }
            | ModelError::Manifest { .. }
            | ModelError::NotRecognised { .. } => Self::Usage(e.to_string()),
            _ => Self::Other(e.to_string()),
        }
    }
}

impl From<InferenceError> for Failure {
    fn from(e: InferenceError) -> Self {
        Self::Other(e.to_string())
    }
}

impl From<WorkerError> for Failure {
    fn from(e: WorkerError) -> Self {
        match e {
            WorkerError::Models(e) => e.into(),
            e => Self::Other(e.to_string()),
        }
    }
}

impl From<TrainingError> for Failure {
    fn from(e: TrainingError) -> Self {
        match &e {
            TrainingError::DiskFull { .. } => Self::Unavailable(e.to_string()),
            _ if e.code().status() < 500 => Self::Usage(e.to_string()),
            _ => Self::Other(e.to_string()),
        }
    }
}
