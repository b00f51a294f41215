//! Objects: named byte strings on disk or in an S3-compatible store, behind one small interface. What is put here is
//! sealed by the caller; this crate knows no keys but those of the store itself. Used by `crops`.

mod disk;
mod error;
mod s3;

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::Timestamp;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path, prefix::PrefixStore};

use crate::disk::Disk;

pub use error::ObjectsError;
pub use s3::S3Options;

/// Objects deleted at a time.
const AT_ONCE: usize = 8;

/// Longest time for one request where nothing else is said.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// What a listing tells of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written, by the store's clock.
    pub written_at: Timestamp,
}

#[derive(Clone)]
enum Engine {
    Disk(Disk),
    S3(Arc<dyn ObjectStore>),
}

/// A place for objects; cheap to clone. Names are parts of letters, digits, `.`, `_` and `-`, joined by `/`; no part begins
/// with a dot.
#[derive(Clone)]
pub struct Objects {
    engine: Engine,
    place: Arc<str>,
    /// Bound of one request with its repetitions.
    limit: Duration,
}

impl Objects {
    /// In a folder, which is made where it is missing, readable by its owner alone.
    ///
    /// # Errors
    /// [`ObjectsError::Settings`] for a folder that cannot be made or used.
    pub fn disk(root: PathBuf) -> Result<Self, ObjectsError> {
        let failed = |e: io::Error| ObjectsError::Settings(format!("the folder {}: {e}", root.display()));
        let engine = Engine::Disk(Disk::open(&root).map_err(failed)?);
        Ok(Self { engine, place: root.display().to_string().into(), limit: 2 * TIMEOUT })
    }

    /// In a bucket of an S3-compatible store. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`ObjectsError::Settings`] for settings that cannot be used.
    pub fn s3(options: &S3Options) -> Result<Self, ObjectsError> {
        let bucket = s3::bucket(options)?;
        let prefix = options.prefix.trim_matches('/');
        let inner: Arc<dyn ObjectStore> =
            if prefix.is_empty() { Arc::new(bucket) } else { Arc::new(PrefixStore::new(bucket, path(prefix)?)) };
        let place = format!("s3://{}/{prefix}", options.bucket);
        Ok(Self { engine: Engine::S3(inner), place: place.into(), limit: 2 * options.timeout })
    }

    /// Where it is, for people.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Writes an object whole, over one of the same name. It stays after a crash.
    ///
    /// # Errors
    /// [`ObjectsError`].
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ObjectsError> {
        let path = path(name)?;
        match &self.engine {
            Engine::Disk(disk) => {
                let (disk, name) = (disk.clone(), name.to_owned());
                self.on_disk(move || disk.put(&name, &bytes)).await
            }
            Engine::S3(inner) => match self.answered(inner.put(&path, PutPayload::from_bytes(bytes))).await? {
                Ok(_) => Ok(()),
                Err(e) => Err(ObjectsError::of(&e)),
            },
        }
    }

    /// The bytes of an object, unless there is none of this name.
    ///
    /// # Errors
    /// [`ObjectsError`].
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectsError> {
        let path = path(name)?;
        match &self.engine {
            Engine::Disk(disk) => {
                let (disk, name) = (disk.clone(), name.to_owned());
                self.on_disk(move || disk.get(&name)).await
            }
            Engine::S3(inner) => {
                let read = async { inner.get(&path).await?.bytes().await };
                match self.answered(read).await? {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(e) => Err(ObjectsError::of(&e)),
                }
            }
        }
    }

    /// Deletes objects; those that are not there are gone already. One request for each, so that it works with every
    /// server that calls itself compatible.
    ///
    /// # Errors
    /// [`ObjectsError`]; some may be gone then.
    pub async fn delete(&self, names: &[String]) -> Result<(), ObjectsError> {
        // Owned, so that the whole can be sent to another thread.
        let delete = |name: &String| {
            let (objects, name) = (self.clone(), name.clone());
            async move { objects.delete_one(&name).await }
        };
        let deletions: Vec<_> = names.iter().map(delete).collect();
        stream::iter(deletions).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn delete_one(&self, name: &str) -> Result<(), ObjectsError> {
        let path = path(name)?;
        match &self.engine {
            Engine::Disk(disk) => {
                let (disk, name) = (disk.clone(), name.to_owned());
                self.on_disk(move || disk.delete(&name)).await
            }
            Engine::S3(inner) => match self.answered(s3::delete(&**inner, &path)).await? {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(e) => Err(ObjectsError::of(&e)),
            },
        }
    }

    /// Everything below a prefix, which is a whole part or several of them; in no particular order. Each page of the
    /// listing has the time limit to itself.
    #[must_use]
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Listed, ObjectsError>> {
        let path = match path(prefix) {
            Ok(path) => path,
            Err(e) => return stream::once(async { Err(e) }).boxed(),
        };
        let listed = match &self.engine {
            Engine::Disk(disk) => self.walk(disk, prefix),
            Engine::S3(inner) => self.listing(inner.list(Some(&path))),
        };
        // Whoever takes a few at a time asks once more after the end.
        listed.fuse().boxed()
    }

    fn walk(&self, disk: &Disk, prefix: &str) -> BoxStream<'static, Result<Listed, ObjectsError>> {
        let (objects, disk, prefix) = (self.clone(), disk.clone(), prefix.to_owned());
        let pages = stream::try_unfold(None, move |walk| {
            let (objects, disk, prefix) = (objects.clone(), disk.clone(), prefix.clone());
            async move {
                let next = move || {
                    let mut walk = walk.map_or_else(|| disk.walk(&prefix), Ok)?;
                    Ok((walk.page()?, walk))
                };
                let (page, walk) = objects.on_disk(next).await?;
                Ok((!page.is_empty()).then(|| (stream::iter(page.into_iter().map(Ok)), Some(walk))))
            }
        });
        pages.try_flatten().boxed()
    }

    fn listing(
        &self,
        found: BoxStream<'static, object_store::Result<object_store::ObjectMeta>>,
    ) -> BoxStream<'static, Result<Listed, ObjectsError>> {
        let limit = self.limit;
        let listed = |found: object_store::Result<object_store::ObjectMeta>| {
            let found = found.map_err(|e| ObjectsError::of(&e))?;
            let written_at = Timestamp::from_millis(found.last_modified.timestamp_millis());
            Ok(Listed { name: found.location.to_string(), size: found.size, written_at })
        };
        stream::unfold(Some(found), move |found| async move {
            let mut found = found?;
            match tokio::time::timeout(limit, found.next()).await {
                Ok(next) => Some((listed(next?), Some(found))),
                Err(_) => Some((Err(ObjectsError::late(limit)), None)),
            }
        })
        .boxed()
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, ObjectsError> {
        let done = tokio::time::timeout(self.limit, tokio::task::spawn_blocking(work)).await;
        let done = done.map_err(|_| ObjectsError::late(self.limit))?;
        let done = done.map_err(|e| ObjectsError::Unavailable(format!("a task was broken off: {e}")))?;
        done.map_err(|e| ObjectsError::disk(&e))
    }

    async fn answered<T>(
        &self,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<object_store::Result<T>, ObjectsError> {
        tokio::time::timeout(self.limit, work).await.map_err(|_| ObjectsError::late(self.limit))
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.place)
    }
}

/// A name that every engine writes as it is.
fn path(name: &str) -> Result<Path, ObjectsError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fine = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
    if name.split('/').all(fine) { Path::parse(name).map_err(|_| ObjectsError::Name) } else { Err(ObjectsError::Name) }
}
