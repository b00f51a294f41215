//! How a process starts, is seen and stops: configuration layers, telemetry, readiness, the admin server and
//! shutdown. The binary and the roles call it; it knows nothing of faces.

pub mod admin;
pub mod config;
mod process;
mod readiness;
mod secret;
pub mod shutdown;
pub mod telemetry;

pub use config::{Config, ConfigError, Loaded, Setting, Sources};
pub use readiness::{Condition, ConditionState, Readiness, ReadinessSnapshot};
pub use secret::Secret;
pub use shutdown::Shutdown;
