//! The first API key: taken from a file (headless), or made once so that the binary can print it.

use std::{fs, io, path::Path, sync::Arc};

use domain::{ApiKey, ErrorCode, Scope, TenantId};
use store::{ApiKeys, RepoError, Store};

use crate::{auth::Credential, tls::write_secret};

/// Why there is no first key.
#[derive(Debug, thiserror::Error)]
pub enum AdminKeyError {
    /// The file cannot be read or written.
    #[error("admin key file: {0}")]
    File(#[from] io::Error),
    /// The file holds something else.
    #[error(
        "the admin key file does not hold a key of the form vv_<id>_<secret> (secret: 16 to 128 letters and digits)"
    )]
    Malformed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] RepoError),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl AdminKeyError {
    /// The code a caller would see; nobody does, since the process does not start.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Store(e) => e.code(),
            _ => ErrorCode::Internal,
        }
    }
}

/// What became of the first key.
#[derive(Clone, PartialEq, Eq)]
pub enum AdminKey {
    /// Made just now: this is the only time its text is at hand, unless a file was named.
    Made(String),
    /// The key of the file; it is registered with every scope.
    FromFile(String),
    /// No file was named and the store has keys already.
    Kept,
}

/// A key's text belongs in no log.
impl std::fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Made(_) => "Made",
            Self::FromFile(_) => "FromFile",
            Self::Kept => "Kept",
        })
    }
}

/// Sees to it that tenant `default` has a key with every scope. If `file` exists its key is registered, again if
/// need be; if it does not exist a key is made and written there with mode 0600. Without a file a key is made only
/// for a store that has none.
///
/// # Errors
/// A file that cannot be used, or the store's.
pub async fn ensure_admin_key(store: Arc<dyn Store>, file: Option<&Path>) -> Result<AdminKey, AdminKeyError> {
    let keys = ApiKeys::new(store);
    let given = match file {
        Some(path) => read(path)?,
        None if keys.is_empty().await? => None,
        None => return Ok(AdminKey::Kept),
    };
    if let Some(credential) = given {
        register(&keys, &credential).await?;
        return Ok(AdminKey::FromFile(credential.shown()));
    }
    let credential = Credential::generate(None).map_err(|_| AdminKeyError::Random)?;
    if let Some(path) = file {
        write_secret(path, format!("{}\n", credential.shown()).as_bytes())?;
    }
    register(&keys, &credential).await?;
    Ok(AdminKey::Made(credential.shown()))
}

fn read(path: &Path) -> Result<Option<Credential>, AdminKeyError> {
    match fs::read_to_string(path) {
        Ok(text) => Credential::parse(text.trim()).map(Some).ok_or(AdminKeyError::Malformed),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// How often it is tried while others do the same: gateways that start together all register the key of their file.
const ATTEMPTS: usize = 16;

/// The file is the authority: its key has this secret and every scope, whatever the store said before.
async fn register(keys: &ApiKeys, credential: &Credential) -> Result<(), RepoError> {
    let tenant = TenantId::new("default").map_err(|_| RepoError::NotFound(ErrorCode::Internal))?;
    let key = ApiKey {
        name: "admin".into(),
        ..ApiKey::new(credential.id.clone(), tenant, Scope::ALL.iter().copied().collect(), credential.hash())
    };
    for _ in 0..ATTEMPTS {
        if let Some(found) = keys.get(&key.id).await? {
            // Only its age may differ: a former secret, an end or a range of addresses is not what the file says.
            if found.value == (ApiKey { created_at: found.value.created_at, ..key.clone() }) {
                return Ok(());
            }
            match keys.delete(&found.value.tenant, &key.id).await {
                Ok(()) | Err(RepoError::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        match keys.create(&key).await {
            // Another was quicker: what it registered is looked at like any other.
            Err(RepoError::AlreadyExists(_)) => {}
            done => return done.map(drop),
        }
    }
    Err(RepoError::Contended)
}
