//! What is known of retained crops: for each a record `o/{h}/{face}` below the subject's handle, which holds the key that
//! its object is sealed with and goes with everything else of the subject. Written by enrolments; read by `crops`.

use std::{fmt, sync::Arc};

use domain::{Collection, CollectionId, FaceId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{BATCH, RepoError, SubjectHandle, Versioned, collections::META, decode, read};
use crate::{Commit, Space, Store, StoreError};

const PREFIX: &str = "o/";

/// A retained crop.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CropRecord {
    /// The key its object is sealed with, hex: as long as this record can be read the object can.
    pub key: String,
    /// Bytes of the object.
    pub size: u64,
    /// Where the landmarks lie inside the margin: the name of the alignment.
    pub alignment: String,
    /// Side of the aligned face in pixels, without margin.
    pub side: u32,
    /// Pixels around it, on every side.
    pub margin: u32,
    /// When it was taken.
    pub created_at: Timestamp,
    /// When the consent that it rests on ends; the record goes then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Secrets do not appear in logs.
impl fmt::Debug for CropRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CropRecord({} bytes, {} with {} around)", self.size, self.alignment, self.margin)
    }
}

/// A crop's place: whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CropOf<'a> {
    /// The subject.
    pub handle: SubjectHandle,
    /// The face.
    pub face: &'a FaceId,
}

/// The records of crops in one collection.
#[derive(Clone)]
pub struct CropRecords {
    store: Arc<dyn Store>,
    space: Space,
}

impl CropRecords {
    /// Of `collection` of `tenant`, whether or not it exists.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tenant: &TenantId, collection: &CollectionId) -> Self {
        Self { store, space: Space::collection(tenant, collection) }
    }

    /// The record of one crop.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, of: CropOf<'_>) -> Result<Option<Versioned<CropRecord>>, RepoError> {
        Ok(read(&*self.store, &self.space, &crop_key(of.handle, of.face)).await?)
    }

    /// The records of these crops, in their order.
    ///
    /// # Errors
    /// The store's.
    pub async fn get_many(&self, of: &[CropOf<'_>]) -> Result<Vec<Option<CropRecord>>, RepoError> {
        let mut all = Vec::with_capacity(of.len());
        for some in of.chunks(BATCH) {
            let keys: Vec<String> = some.iter().map(|c| crop_key(c.handle, c.face)).collect();
            for (key, record) in keys.iter().zip(self.store.get_many(&self.space, &keys).await?) {
                all.push(record.map(|r| decode(key, &r.value)).transpose()?);
            }
        }
        Ok(all)
    }

    /// The policy of the collection, if there is such a collection.
    ///
    /// # Errors
    /// The store's.
    pub async fn collection(&self) -> Result<Option<Collection>, RepoError> {
        Ok(read(&*self.store, &self.space, META).await?.map(|c| c.value))
    }

    /// Whose they are, in the order of their keys.
    ///
    /// # Errors
    /// The store's.
    pub async fn listed(&self) -> Result<Vec<(SubjectHandle, FaceId)>, RepoError> {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self.store.keys(&self.space, PREFIX, after.as_deref(), 10 * BATCH).await?;
            all.extend(page.keys.iter().filter_map(|key| parse(key)));
            after = page.keys.into_iter().next_back().or(after);
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// How many of them are of faces enrolled at or after a moment, or ever. Walks their keys.
    ///
    /// # Errors
    /// The store's.
    pub async fn count_since(&self, since: Option<Timestamp>) -> Result<u64, RepoError> {
        let new = |face: &FaceId| since.is_none_or(|since| face.made_at().is_some_and(|at| at >= since));
        Ok(self.listed().await?.iter().filter(|(_, face)| new(face)).count() as u64)
    }

    /// How many there are. Walks their keys.
    ///
    /// # Errors
    /// The store's.
    pub async fn count(&self) -> Result<u64, RepoError> {
        let (mut n, mut after) = (0, None::<String>);
        loop {
            let page = self.store.keys(&self.space, PREFIX, after.as_deref(), 10 * BATCH).await?;
            n += page.keys.len() as u64;
            after = page.keys.into_iter().next_back().or(after);
            if !page.more {
                return Ok(n);
            }
        }
    }

    /// Erases these; one that is not there is gone already.
    ///
    /// # Errors
    /// The store's.
    pub async fn erase(&self, of: &[CropOf<'_>]) -> Result<(), RepoError> {
        for some in of.chunks(BATCH) {
            let commit = some.iter().fold(Commit::new(), |commit, of| commit.erase(crop_key(of.handle, of.face)));
            self.store.commit(&self.space, commit).await?;
        }
        Ok(())
    }

    /// Erases all of them; how many there were.
    ///
    /// # Errors
    /// The store's.
    pub async fn erase_all(&self) -> Result<u64, RepoError> {
        let mut n = 0;
        loop {
            let page = self.store.keys(&self.space, PREFIX, None, BATCH).await?;
            if page.keys.is_empty() {
                return Ok(n);
            }
            n += page.keys.len() as u64;
            self.store.commit(&self.space, page.keys.iter().fold(Commit::new(), Commit::erase)).await?;
        }
    }
}

pub(super) fn crop_key(h: SubjectHandle, face: &FaceId) -> String {
    format!("{PREFIX}{h}/{face}")
}

fn parse(key: &str) -> Option<(SubjectHandle, FaceId)> {
    let (handle, face) = key.strip_prefix(PREFIX)?.split_once('/')?;
    Some((handle.parse().ok()?, FaceId::new(face).ok()?))
}

/// Puts a crop's record, to go by itself when the consent it rests on ends.
pub(super) fn put_crop(
    commit: Commit,
    h: SubjectHandle,
    (face, crop): (&FaceId, &CropRecord),
) -> Result<Commit, StoreError> {
    let key = crop_key(h, face);
    let value = super::encode(&key, crop)?;
    Ok(match crop.until {
        Some(until) => commit.put_until(key, value, until),
        None => commit.put(key, value),
    })
}
