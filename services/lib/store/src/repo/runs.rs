//! Training runs in the tenant's space. Gateways and workers make them, gateways cancel them, trainers carry them out. A
//! trainer claims a run under a name of its own; whatever it writes afterwards is written only while the run is still its:
//! one that was taken for dead and lives writes nothing.
//!
//! `run/{id}` the record, `rundoc/{id}/{name}` what came of it, `runlast/{collection}` the last run of a collection, from
//! which on its policy counts; in the system's space `runopen/{tenant}/{id}` for each that has not ended.

mod record;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{CollectionId, ErrorCode, RunId, RunState, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    BATCH, RepoError, Versioned, all_keys, as_seen, encode,
    jobs::{RACES, pause},
    read, versioned,
};
use crate::{Commit, Precondition, Revision, Space, Store, StoreError};

pub use record::{RunOrigin, RunRecord, SealedObject};

const RECORD: &str = "run/";
const OPEN: &str = "runopen/";

/// An entry among the open ones without a record is left alone so long: its record may be about to be written.
const NEW: Duration = Duration::from_secs(60);

/// The last run of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// Which.
    pub run: RunId,
    /// When it was asked for.
    pub at: Timestamp,
}

/// What a trainer finds when it takes up a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// The run is its.
    Claimed(Box<RunRecord>),
    /// It has ended; there is nothing to do.
    Ended,
    /// There is no such run.
    Missing,
}

/// The training runs of one tenant.
#[derive(Clone)]
pub struct Runs {
    store: Arc<dyn Store>,
    tenant: TenantId,
    space: Space,
}

impl Runs {
    /// Of `tenant`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tenant: &TenantId) -> Self {
        Self { store, tenant: tenant.clone(), space: Space::tenant(tenant) }
    }

    /// Every run that has not ended, of all tenants.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(store: &dyn Store) -> Result<Vec<(TenantId, RunId)>, RepoError> {
        let keys = all_keys(store, &Space::system(), OPEN).await?;
        let read = |key: &String| {
            let (tenant, id) = key[OPEN.len()..].split_once('/')?;
            Some((TenantId::new(tenant).ok()?, RunId::new(id).ok()?))
        };
        Ok(keys.iter().filter_map(read).collect())
    }

    /// Adds a run, as the last one of each of its collections.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`].
    pub async fn create(&self, run: &RunRecord) -> Result<Revision, RepoError> {
        self.create_when(run, None).await
    }

    /// The same as the run that follows `last`: of all who would add it one does.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`] where there is a later one, or this one.
    pub async fn create_after(
        &self,
        run: &RunRecord,
        collection: &CollectionId,
        last: Option<Revision>,
    ) -> Result<Revision, RepoError> {
        self.create_when(run, Some(as_seen(&last_key(collection), last))).await
    }

    async fn create_when(&self, run: &RunRecord, also: Option<Precondition>) -> Result<Revision, RepoError> {
        let listed = Commit::new().put(self.open_key(&run.id), run.created_at.to_string());
        self.store.commit(&Space::system(), listed).await?;
        let key = record_key(&run.id);
        let mut commit = Commit::new().when(Precondition::Absent(key.clone())).put(&key, encode(&key, run)?);
        commit.preconditions.extend(also);
        let last = LastRun { run: run.id.clone(), at: run.created_at };
        for collection in &run.collections {
            let key = last_key(collection);
            commit = commit.put(&key, encode(&key, &last)?);
        }
        match self.store.commit(&self.space, commit).await {
            Err(StoreError::Precondition { .. }) => {
                if self.get(&run.id).await?.is_none() {
                    self.unlist(&run.id).await?;
                }
                Err(RepoError::AlreadyExists("training run"))
            }
            done => Ok(done?),
        }
    }

    /// The run of this id, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, id: &RunId) -> Result<Option<Versioned<RunRecord>>, RepoError> {
        Ok(read(&*self.store, &self.space, &record_key(id)).await?)
    }

    /// Up to `limit` runs by id (which sort by time), after the id `after`; with the cursor of the next page if there is
    /// one.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<(Vec<RunRecord>, Option<String>), RepoError> {
        let after = after.map(|a| format!("{RECORD}{a}"));
        let page = self.store.scan(&self.space, RECORD, after.as_deref(), limit).await?;
        let next = page.records.last().filter(|_| page.more).map(|(k, _)| k[RECORD.len()..].to_owned());
        let found = page.records.iter().map(|(k, r)| Ok(versioned::<RunRecord>(k, r)?.value));
        Ok((found.collect::<Result<_, StoreError>>()?, next))
    }

    /// The last run of a collection.
    ///
    /// # Errors
    /// The store's.
    pub async fn last(&self, collection: &CollectionId) -> Result<Option<Versioned<LastRun>>, RepoError> {
        Ok(read(&*self.store, &self.space, &last_key(collection)).await?)
    }

    /// Applies `edit`, which says whether there is something to write; gives the record as it is then.
    ///
    /// # Errors
    /// Not found; those of `edit`.
    pub async fn change(
        &self,
        id: &RunId,
        edit: impl Fn(&mut RunRecord) -> Result<bool, RepoError> + Send + Sync,
    ) -> Result<RunRecord, RepoError> {
        self.change_with(id, &[], edit).await
    }

    async fn change_with(
        &self,
        id: &RunId,
        documents: &[(&str, Bytes)],
        edit: impl Fn(&mut RunRecord) -> Result<bool, RepoError> + Send + Sync,
    ) -> Result<RunRecord, RepoError> {
        let key = record_key(id);
        for attempt in 0..RACES {
            let found = self.get(id).await?.ok_or(RepoError::NotFound(ErrorCode::NotFound))?;
            let mut run = found.value.clone();
            if !edit(&mut run)? {
                return Ok(found.value);
            }
            run.updated_at = Timestamp::now();
            let unchanged = Precondition::Unchanged(key.clone(), found.version);
            let mut commit = Commit::new().when(unchanged).put(&key, encode(&key, &run)?);
            for (name, bytes) in documents {
                commit = commit.put(document_key(id, name), bytes.clone());
            }
            match self.store.commit(&self.space, commit).await {
                Ok(_) => return Ok(run),
                Err(StoreError::Precondition { .. }) => pause(attempt).await,
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

    /// Cancels a run that has not ended. Cancelling twice changes nothing.
    ///
    /// # Errors
    /// Not found; [`RepoError::RunEnded`].
    pub async fn cancel(&self, id: &RunId, now: Timestamp) -> Result<RunRecord, RepoError> {
        self.change(id, |run| match run.state {
            RunState::Cancelled => Ok(false),
            state if state.is_final() => Err(RepoError::RunEnded),
            _ => {
                run.end(RunState::Cancelled, now);
                Ok(true)
            }
        })
        .await
    }

    /// Takes up a run as `carrier`, away from whoever had it.
    ///
    /// # Errors
    /// The store's.
    pub async fn claim(&self, id: &RunId, carrier: &str) -> Result<Claim, RepoError> {
        let claimed = self
            .change(id, |run| {
                if run.state.is_final() {
                    return Ok(false);
                }
                run.resumes += u32::from(run.carrier.is_some());
                run.fruitless += 1;
                run.carrier = Some(carrier.to_owned());
                run.submitted = true;
                Ok(true)
            })
            .await;
        match claimed {
            Ok(run) if run.state.is_final() => Ok(Claim::Ended),
            Ok(run) => Ok(Claim::Claimed(Box::new(run))),
            Err(RepoError::NotFound(_)) => Ok(Claim::Missing),
            Err(e) => Err(e),
        }
    }

    /// Changes a run as its carrier, and puts documents beside it in the same commit. Nothing is written, and nothing
    /// given, when the run has ended or is another's meanwhile.
    ///
    /// # Errors
    /// The store's.
    pub async fn carry(
        &self,
        (id, carrier): (&RunId, &str),
        documents: &[(&str, Bytes)],
        edit: impl Fn(&mut RunRecord) + Send + Sync,
    ) -> Result<Option<RunRecord>, RepoError> {
        let changed = self
            .change_with(id, documents, |run| {
                if run.state.is_final() || run.carrier.as_deref() != Some(carrier) {
                    return Err(RepoError::RunEnded);
                }
                edit(run);
                Ok(true)
            })
            .await;
        match changed {
            Ok(run) => Ok(Some(run)),
            Err(RepoError::RunEnded | RepoError::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What came of a run, by name.
    ///
    /// # Errors
    /// The store's.
    pub async fn document(&self, id: &RunId, name: &str) -> Result<Option<Bytes>, RepoError> {
        Ok(self.store.get(&self.space, &document_key(id, name)).await?.map(|r| r.value))
    }

    /// Erases documents of a run. Those that are not there are gone already.
    ///
    /// # Errors
    /// The store's.
    pub async fn drop_documents(&self, id: &RunId, names: &[&str]) -> Result<(), RepoError> {
        let erase = names.iter().take(BATCH).fold(Commit::new(), |commit, name| commit.erase(document_key(id, name)));
        self.store.commit(&self.space, erase).await?;
        Ok(())
    }

    /// Takes a run off the list of those that have not ended.
    ///
    /// # Errors
    /// The store's.
    pub async fn unlist(&self, id: &RunId) -> Result<(), RepoError> {
        self.store.commit(&Space::system(), Commit::new().delete(self.open_key(id))).await?;
        Ok(())
    }

    /// The same for one that has no record: whoever was about to write it died.
    ///
    /// # Errors
    /// The store's.
    pub async fn unlist_lost(&self, id: &RunId, now: Timestamp) -> Result<(), RepoError> {
        let Some(listed) = self.store.get(&Space::system(), &self.open_key(id)).await? else { return Ok(()) };
        let since = std::str::from_utf8(&listed.value).ok().and_then(|text| text.parse().ok());
        if since.is_none_or(|since: Timestamp| now.since(since) > NEW) {
            self.unlist(id).await?;
        }
        Ok(())
    }

    fn open_key(&self, id: &RunId) -> String {
        format!("{OPEN}{}/{id}", self.tenant)
    }
}

fn record_key(id: &RunId) -> String {
    format!("{RECORD}{id}")
}

fn document_key(id: &RunId, name: &str) -> String {
    format!("rundoc/{id}/{name}")
}

fn last_key(collection: &CollectionId) -> String {
    format!("runlast/{collection}")
}
