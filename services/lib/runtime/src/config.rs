//! Configuration in layers: embedded defaults, the platform's folders, a file, environment variables, flags.
//! `load` gives the typed result, or every fault at once with its key and where the value came from.

mod gate;
mod layers;
mod objects;
mod oidc;
mod sections;
mod trainer;
mod validate;

use std::fmt;
use std::path::PathBuf;

use figment::value::Value;

pub use gate::GateSection;
pub use objects::ObjectsSection;
pub use oidc::{IssuerSection, OidcSection, SignatureAlgorithm};
pub use sections::{
    AdminSection, Config, Erase, GallerySection, GatewaySection, LimitsSection, LogFormat, ModelsSection, Precision,
    Provider, QueueEngine, QueueSection, RedisSection, SealingMode, SealingSection, ShutdownSection, StoreEngine,
    StoreSection, TelemetrySection, TlsVersion, WorkerSection,
};
pub use trainer::TrainerSection;

/// The embedded defaults, commented: also the reference of all keys.
pub const DEFAULT_TOML: &str = include_str!("config/default.toml");

/// Prefix of the environment variables that set a key.
pub const ENV_PREFIX: &str = "VISAVIS__";

/// Exit status of a process whose configuration or command line is wrong (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Where values come from, weakest first; the embedded defaults lie below all of them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// What the platform suggests, such as the user's data folder.
    pub platform: Vec<Setting>,
    /// The file of `--config`.
    pub file: Option<PathBuf>,
    /// The process's environment; variables without [`ENV_PREFIX`] are passed over.
    pub env: Vec<(String, String)>,
    /// Command line flags.
    pub flags: Vec<Setting>,
}

/// One key set to one value by one source.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What set it, as the user knows it: "flag --listen".
    pub source: String,
    /// Dotted path of the key: "gateway.listen".
    pub key: String,
    /// The value.
    pub value: Value,
}

impl Setting {
    /// `key` set to `value` by `source`.
    pub fn new(source: impl Into<String>, key: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { source: source.into(), key: key.into(), value: value.into() }
    }
}

/// A configuration that holds together, and where its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Keys that are not at their embedded default, with their source, by key.
    pub origins: Vec<(String, String)>,
}

impl Loaded {
    /// The effective configuration as TOML, secrets redacted, with the origin of what was changed.
    ///
    /// # Errors
    /// When a value has no TOML form.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let mut text = toml::to_string_pretty(&self.config)?;
        for (i, (key, source)) in self.origins.iter().enumerate() {
            text.push_str(if i == 0 { "\n# Not at their defaults:\n" } else { "" });
            text.push_str(&format!("# {key}: {source}\n"));
        }
        Ok(text)
    }
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Dotted path of the key, empty where the fault is a whole source's.
    pub key: String,
    /// Where the value came from.
    pub source: String,
    /// What is wrong, for a person to act on.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.source, self.detail),
            key => write!(f, "{key}: {} (from {})", self.detail, self.source),
        }
    }
}

/// Everything that is wrong with the configuration; the process ends with [`EXIT_USAGE`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is not valid:{}", list(.faults))]
pub struct ConfigError {
    /// The faults, by key.
    pub faults: Vec<Fault>,
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(|f| format!("\n  {f}")).collect()
}

/// Merges the layers and checks the result.
///
/// # Errors
/// Every fault of every layer at once: unreadable file, unknown key, wrong type, broken rule.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    layers::load(sources)
}
