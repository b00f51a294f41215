//! Where the key-encryption keys come from: a file, the configuration, a program's output, or for the embedded store a
//! file that is made at its first start. Puts the seal over store and queue. Used by `engines.rs`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use queue::{Engine, SealedEngine};
use runtime::Config;
use runtime::config::{SealingMode, SealingSection, StoreEngine};
use seal::Keyring;
use store::{SealedStore, Store, StoreError};
use tokio::time::timeout;

use crate::failure::Failure;

/// Bytes of keys at most.
const LONGEST: u64 = 1 << 16;
/// Longest time for a program to print them.
const PATIENCE: Duration = Duration::from_secs(30);

/// What there is to seal with.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Nothing is sealed.
    Off,
    /// These keys.
    Given(Arc<Keyring>),
    /// The file of a store that is not new is not there.
    Missing(PathBuf),
}

/// Where the embedded store's keys lie unless the configuration names another place.
pub fn default_file(config: &Config) -> PathBuf {
    let file = config.store.data_dir.join("sealing.key");
    std::path::absolute(&file).unwrap_or(file)
}

/// The same, where that is the place they are taken from.
pub fn kept_beside(config: &Config) -> Option<PathBuf> {
    let s = &config.sealing;
    let elsewhere = s.key.is_some() || s.key_file.is_some() || !s.key_command.is_empty();
    let beside = s.mode == SealingMode::On && config.store.engine == StoreEngine::Redb && !elsewhere;
    beside.then(|| default_file(config))
}

/// The keys of the configuration. With `make` the embedded store's first are made where there are none.
///
/// # Errors
/// [`Failure::Usage`] for keys that are none, or not there; a file that cannot be read.
pub async fn keys(config: &Config, make: bool) -> Result<Keys, Failure> {
    let s = &config.sealing;
    if s.mode == SealingMode::Off {
        return Ok(Keys::Off);
    }
    if let Some((text, source)) = given(s).await? {
        return parse(&text, &source).map(Keys::Given);
    }
    if config.store.engine == StoreEngine::Redis {
        let detail = "what lies on a shared server is sealed, and there is no key: give every process the same by \
                      sealing.key_file, by sealing.key (variable VISAVIS__SEALING__KEY) or by sealing.key_command. \
                      `visavis sealing key` makes one. Without sealing: sealing.mode = \"off\"";
        return Err(Failure::Usage(detail.into()));
    }
    let file = default_file(config);
    match fs::read_to_string(&file) {
        Ok(text) => parse(&text, &file.display().to_string()).map(Keys::Given),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Failure::io("the sealing key", &file, &e)),
        Err(_) if make => {
            let text = Keyring::fresh_key().map_err(|e| Failure::Other(e.to_string()))?;
            write_new(&file, &text).map_err(|e| Failure::io("the sealing key", &file, &e))?;
            tracing::info!(file = %file.display(), "made a key to seal the store with: keep a backup of it elsewhere");
            parse(&text, &file.display().to_string()).map(Keys::Given)
        }
        Err(_) => Ok(Keys::Missing(file)),
    }
}

/// The configured text of keys, if there is one, and where it is from.
async fn given(s: &SealingSection) -> Result<Option<(String, String)>, Failure> {
    if let Some(key) = &s.key {
        return Ok(Some((key.expose().clone(), "sealing.key".into())));
    }
    if let Some(file) = &s.key_file {
        let text = fs::read_to_string(file).map_err(|e| {
            Failure::Usage(format!("sealing.key_file {} cannot be read: {e}. Put it back where it was", file.display()))
        })?;
        if fs::metadata(file).is_ok_and(|m| m.permissions().mode() & 0o007 != 0) {
            tracing::warn!(file = %file.display(), "everybody on this machine may read the sealing key");
        }
        return Ok(Some((text, file.display().to_string())));
    }
    match s.key_command.split_first() {
        Some((program, arguments)) => {
            let text = printed(program, arguments).await?;
            Ok(Some((text, format!("the output of {program}"))))
        }
        None => Ok(None),
    }
}

fn parse(text: &str, source: &str) -> Result<Arc<Keyring>, Failure> {
    let keyring = Keyring::parse(text).map_err(|e| Failure::Usage(format!("{source}: {e}")))?;
    Ok(Arc::new(keyring))
}

/// What a program prints. Its errors go where ours go.
async fn printed(program: &str, arguments: &[String]) -> Result<String, Failure> {
    let failed = |why: String| Failure::Usage(format!("sealing.key_command: {program} {why}"));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(format!("cannot be run: {e}")))?;
    let mut out = child.stdout.take();
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        out.as_mut().map_or(Ok(0), |out| out.take(LONGEST).read_to_string(&mut text)).map(|_| text)
    });
    let Ok(text) = timeout(PATIENCE, read).await else {
        // It may have ended just now; then there is nothing to end.
        drop(child.kill());
        return Err(failed(format!("has printed nothing to its end for {} s", PATIENCE.as_secs())));
    };
    let status = tokio::task::spawn_blocking(move || child.wait()).await;
    match (text, status) {
        (Ok(Ok(text)), Ok(Ok(status))) if status.success() => Ok(text),
        (Ok(Ok(_)), Ok(Ok(status))) => Err(failed(format!("failed: {status}"))),
        _ => Err(failed("printed no text".into())),
    }
}

/// Writes a file that is not there yet and that only its owner may read.
///
/// # Errors
/// The file system's; one that is there.
pub fn write_new(file: &Path, text: &str) -> io::Result<()> {
    // Whole or not at all: half a key under this name, left by a full disk, would be taken for the key at the next start.
    let part = file.with_extension("part");
    let mut new = File::options().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    let written = writeln!(new, "{text}").and_then(|()| new.sync_all()).and_then(|()| fs::hard_link(&part, file));
    fs::remove_file(&part)?;
    written?;
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

impl Keys {
    /// The keys, if anything is sealed.
    ///
    /// # Errors
    /// [`Failure::Usage`] where they are missing.
    pub fn ring(&self) -> Result<Option<Arc<Keyring>>, Failure> {
        match self {
            Self::Off => Ok(None),
            Self::Given(keyring) => Ok(Some(Arc::clone(keyring))),
            Self::Missing(file) => Err(Failure::Usage(missing(file, "the store here may be sealed with it"))),
        }
    }

    /// The store with its seal, or as it is where nothing is sealed.
    ///
    /// # Errors
    /// [`Failure::Usage`] when keys and store do not go together; nothing is changed then. The store's.
    pub async fn over_store(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, Failure> {
        match self {
            Self::Given(keyring) => Ok(Arc::new(SealedStore::open(store, Arc::clone(keyring)).await?)),
            Self::Off => {
                SealedStore::refuse_sealed(&*store).await?;
                Ok(store)
            }
            Self::Missing(file) => match SealedStore::refuse_sealed(&*store).await {
                Ok(()) => Err(Failure::Usage(missing(file, "the store here holds records that are not sealed"))),
                Err(StoreError::Sealing(_)) => Err(Failure::Usage(missing(file, "the store here is sealed with it"))),
                Err(e) => Err(e.into()),
            },
        }
    }

    /// The same of a queue's engine.
    ///
    /// # Errors
    /// [`Failure::Usage`] where the keys are missing.
    pub fn over_queue(&self, engine: Arc<dyn Engine>) -> Result<Arc<dyn Engine>, Failure> {
        let Some(keyring) = self.ring()? else { return Ok(engine) };
        Ok(Arc::new(SealedEngine::new(engine, &keyring).map_err(|e| Failure::Other(e.to_string()))?))
    }
}

fn missing(file: &Path, why: &str) -> String {
    format!(
        "the sealing key {} is missing, and {why}. Put it back from its backup: without it nobody can read a sealed \
         store. For a store that never was sealed set sealing.mode = \"off\". Nothing has been changed",
        file.display()
    )
}
