//! Whether the place of the objects is the store's own. Both hold the same random mark, made at the first use; processes
//! that were given different places by mistake are told, instead of erasing where nothing lies. The store says which
//! process writes the mark, since not every object store can.

use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use objects::Objects;
use serde::{Deserialize, Serialize};
use store::{Commit, Precondition, Revision, Space, Store, StoreError};

use crate::CropsError;

/// The record in the system's space.
const KEY: &str = "objects";
/// The object.
const OBJECT: &str = "visavis-store";
/// A process that has not written the mark after this long has died before it.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Mark {
    /// What the object holds.
    mark: String,
    /// Since when a process is about to write it; absent once it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writing_since: Option<Timestamp>,
}

/// Compares the marks, and makes them where there are none yet.
pub async fn check(store: &dyn Store, objects: &Objects) -> Result<(), CropsError> {
    let elsewhere = || CropsError::Elsewhere(objects.place().to_owned());
    // In this order: whoever says in the record that the object is written has written it before.
    let record = store.get(&Space::system(), KEY).await?;
    let there = objects.get(OBJECT).await?;
    let Some(record) = record else {
        if there.is_some() {
            // Another's, unless a process has begun and ended meanwhile.
            let begun = store.get(&Space::system(), KEY).await?.is_some();
            return Err(if begun { CropsError::Beginning } else { elsewhere() });
        }
        let mut fresh = [0; 16];
        getrandom::fill(&mut fresh).map_err(|e| StoreError::Unavailable(format!("no randomness: {e}")))?;
        return write(store, objects, (Precondition::Absent(KEY.into()), hex::encode(fresh))).await;
    };
    let known: Mark = serde_json::from_slice(&record.value).map_err(damaged)?;
    match known.writing_since {
        _ if there.as_deref() == Some(known.mark.as_bytes()) => Ok(()),
        // Nothing is told of a place before it is known which one it is.
        Some(since) if Timestamp::now().since(since) < PATIENCE => Err(CropsError::Beginning),
        Some(_) if there.is_none() => {
            write(store, objects, (Precondition::Unchanged(KEY.into(), record.version), known.mark)).await
        }
        _ => Err(elsewhere()),
    }
}

/// Writes the mark, as the only one that does.
async fn write(
    store: &dyn Store,
    objects: &Objects,
    (condition, mark): (Precondition, String),
) -> Result<(), CropsError> {
    let Some(mine) = note(store, condition, &mark, Some(Timestamp::now())).await? else {
        return Err(CropsError::Beginning);
    };
    objects.put(OBJECT, Bytes::from(mark.clone())).await?;
    // If another took over meanwhile, it wrote the same.
    note(store, Precondition::Unchanged(KEY.into(), mine), &mark, None).await?;
    Ok(())
}

/// Puts the record; nothing where another was quicker.
async fn note(
    store: &dyn Store,
    condition: Precondition,
    mark: &str,
    writing_since: Option<Timestamp>,
) -> Result<Option<Revision>, CropsError> {
    let value = serde_json::to_vec(&Mark { mark: mark.to_owned(), writing_since }).map_err(damaged)?;
    match store.commit(&Space::system(), Commit::new().when(condition).put(KEY, value)).await {
        Ok(revision) => Ok(Some(revision)),
        Err(StoreError::Precondition { .. }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn damaged(e: serde_json::Error) -> StoreError {
    StoreError::Damaged { key: KEY.into(), reason: e.to_string() }
}
