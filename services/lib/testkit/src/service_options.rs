//! Which role a process of the service has, and how it is started.

use std::{net::SocketAddr, path::PathBuf};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything, with the embedded queue and store.
    Up,
    /// The HTTPS edge.
    Gateway,
    /// Inference.
    Worker,
    /// Training runs.
    Trainer,
}

impl Role {
    /// Whether it serves HTTPS.
    pub(crate) const fn serves(self) -> bool {
        matches!(self, Self::Up | Self::Gateway)
    }

    /// Its subcommand.
    pub(crate) const fn command(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Gateway => "gateway",
            Self::Worker => "worker",
            Self::Trainer => "trainer",
        }
    }
}

/// How a process is started.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// What it does.
    pub role: Role,
    /// Where HTTPS is served; port 0 takes a free one, another at each start.
    pub listen: SocketAddr,
    /// Its data directory, its own alone.
    pub data_dir: PathBuf,
    /// The first admin key.
    pub key_file: PathBuf,
    /// The certificate it serves with; callers trust it.
    pub certificate: PathBuf,
    /// Settings as environment variables, such as `VISAVIS__GATEWAY__MAX_IMAGE_BYTES`.
    pub environment: Vec<(String, String)>,
    /// Arguments after those that every test gives.
    pub arguments: Vec<String>,
    /// How much it lets others go first, 0 to 19, as an operator would set it with `nice`.
    pub niceness: u8,
    /// Another binary than the one under test, such as a former release.
    pub binary: Option<PathBuf>,
}
