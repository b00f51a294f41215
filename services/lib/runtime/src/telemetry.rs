//! Logs: one subscriber per process, to standard error, for people or as JSON. Called once by the binary.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{LogFormat, TelemetrySection};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("telemetry.filter: {0}")]
    Filter(String),
    /// A subscriber is there already.
    #[error("logging was set up twice")]
    Twice,
}

impl TelemetryError {
    /// The code a caller would see.
    #[must_use]
    pub const fn code(&self) -> domain::ErrorCode {
        domain::ErrorCode::Internal
    }
}

/// Starts logging to standard error.
///
/// # Errors
/// When the filter does not parse or logging runs already.
pub fn init(section: &TelemetrySection) -> Result<(), TelemetryError> {
    let filter = parse_filter(&section.filter).map_err(TelemetryError::Filter)?;
    let json = match section.format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let done = if json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        builder.compact().with_ansi(io::stderr().is_terminal()).try_init()
    };
    done.map_err(|_| TelemetryError::Twice)
}

/// The filter's directives, or what is wrong with them.
pub(crate) fn parse_filter(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter).map_err(|e| format!("{filter:?} is not a log filter: {e}"))
}
