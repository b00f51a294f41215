//! Erasures under way and done, with their receipts, in the tenant's space. The gateway makes them and carries them out;
//! any gateway finds one whose gateway died, by its lease.
//!
//! `erasure/{id}` the record, `erasurework/{id}/{n}` ids still to be erased, `erasurereceipt/{id}` the signed receipt,
//! `erasurelease/{id}` who works on it; in the system's space `erasureopen/{tenant}/{id}` for each that is not done.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{CollectionId, ErasureId, KeyId, SubjectId, TenantId, Timestamp};
use evidence::{Extent, Removed, Verification};
use serde::{Deserialize, Serialize};

use super::{ATTEMPTS, BATCH, RepoError, Versioned, all_keys, decode, encode, read, versioned};
use crate::{Commit, Precondition, Revision, Space, Store, StoreError};

const RECORD: &str = "erasure/";
const OPEN: &str = "erasureopen/";

/// Ids of one piece of work.
pub const ERASED_AT_ONCE: usize = 100;

/// Pieces of work written by one commit.
const PIECES: usize = 50;

/// An entry among the open ones without a record is left alone so long: its record may be about to be written.
const NEW: Duration = Duration::from_secs(60);

/// Where an erasure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureState {
    /// Accepted.
    Queued,
    /// Begun.
    Running,
    /// Done, looked for, receipted.
    Succeeded,
}

/// One place, or the look through all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureStep {
    /// Its name.
    pub name: String,
    /// When it was done; absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Timestamp>,
}

/// An erasure. Names no subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureRecord {
    /// Its id.
    pub id: ErasureId,
    /// Where.
    pub collection: CollectionId,
    /// What.
    pub extent: Extent,
    /// Why, as the caller said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who asked; nobody where the service itself did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// When.
    pub requested_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Where it stands.
    pub state: ErasureState,
    /// Subjects named.
    pub subjects: u32,
    /// Which collection of this id: another may be made under it meanwhile.
    pub collection_made_at: Timestamp,
    /// Whether the collection is closed and counted, where it goes as a whole.
    pub closed: bool,
    /// Part of each subject's digest, hex.
    pub salt: String,
    /// The steps, in order.
    pub steps: Vec<ErasureStep>,
    /// What is gone so far.
    pub removed: Removed,
    /// What the look through all places found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Why it does not get on at present: the code of a problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// The right to work on an erasure, for a while.
#[derive(Clone, Debug)]
pub struct ErasureLease {
    id: ErasureId,
    version: Revision,
}

/// The erasures of one tenant.
#[derive(Clone)]
pub struct Erasures {
    store: Arc<dyn Store>,
    tenant: TenantId,
    space: Space,
}

impl Erasures {
    /// Of `tenant`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tenant: &TenantId) -> Self {
        Self { store, tenant: tenant.clone(), space: Space::tenant(tenant) }
    }

    /// Every erasure that is not done, of all tenants.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(store: &dyn Store) -> Result<Vec<(TenantId, ErasureId)>, RepoError> {
        let keys = all_keys(store, &Space::system(), OPEN).await?;
        let read = |key: &String| {
            let (tenant, id) = key[OPEN.len()..].split_once('/')?;
            Some((TenantId::new(tenant).ok()?, ErasureId::new(id).ok()?))
        };
        Ok(keys.iter().filter_map(read).collect())
    }

    /// Accepts an erasure of these subjects. Nothing is begun before all of it is written.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`].
    pub async fn create(&self, record: &ErasureRecord, subjects: &[SubjectId]) -> Result<(), RepoError> {
        let key = record_key(&record.id);
        let listed = Commit::new().put(self.open_key(&record.id), record.requested_at.to_string());
        self.store.commit(&Space::system(), listed).await?;
        let pieces: Vec<&[SubjectId]> = subjects.chunks(ERASED_AT_ONCE).collect();
        for (i, pieces) in pieces.chunks(PIECES).enumerate() {
            let mut commit = Commit::new().when(Precondition::Absent(key.clone()));
            for (n, piece) in pieces.iter().enumerate() {
                let key = work_key(&record.id, i * PIECES + n);
                commit = commit.put(&key, encode(&key, piece)?);
            }
            self.made(self.store.commit(&self.space, commit).await)?;
        }
        let commit = Commit::new().when(Precondition::Absent(key.clone())).put(&key, encode(&key, record)?);
        self.made(self.store.commit(&self.space, commit).await)
    }

    fn made(&self, done: Result<Revision, StoreError>) -> Result<(), RepoError> {
        match done {
            Err(StoreError::Precondition { .. }) => Err(RepoError::AlreadyExists("erasure")),
            done => Ok(done.map(drop)?),
        }
    }

    /// The erasure of this id, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, id: &ErasureId) -> Result<Option<Versioned<ErasureRecord>>, RepoError> {
        Ok(read(&*self.store, &self.space, &record_key(id)).await?)
    }

    /// Up to `limit` erasures by id (which sort by time), after the id `after`; with the cursor of the next page if there
    /// is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<ErasureRecord>, Option<String>), RepoError> {
        let after = after.map(|a| format!("{RECORD}{a}"));
        let page = self.store.scan(&self.space, RECORD, after.as_deref(), limit).await?;
        let next = page.records.last().filter(|_| page.more).map(|(k, _)| k[RECORD.len()..].to_owned());
        let found = page.records.iter().map(|(k, r)| Ok(versioned::<ErasureRecord>(k, r)?.value));
        Ok((found.collect::<Result<_, StoreError>>()?, next))
    }

    /// Takes the right to work on an erasure for a while, if nobody has it.
    ///
    /// # Errors
    /// The store's.
    pub async fn claim(&self, id: &ErasureId, until: Timestamp) -> Result<Option<ErasureLease>, RepoError> {
        let key = lease_key(id);
        let commit = Commit::new().when(Precondition::Absent(key.clone())).put_until(key, "", until);
        match self.store.commit(&self.space, commit).await {
            Ok(version) => Ok(Some(ErasureLease { id: id.clone(), version })),
            Err(StoreError::Precondition { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Keeps the right for longer. `false` when somebody else has it now.
    ///
    /// # Errors
    /// The store's.
    pub async fn renew(&self, lease: &mut ErasureLease, until: Timestamp) -> Result<bool, RepoError> {
        let key = lease_key(&lease.id);
        let commit = Commit::new().when(Precondition::Unchanged(key.clone(), lease.version)).put_until(key, "", until);
        match self.store.commit(&self.space, commit).await {
            Ok(version) => lease.version = version,
            Err(StoreError::Precondition { .. }) => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        Ok(true)
    }

    /// Gives the right back.
    ///
    /// # Errors
    /// The store's.
    pub async fn release(&self, lease: &ErasureLease) -> Result<(), RepoError> {
        let key = lease_key(&lease.id);
        let commit = Commit::new().when(Precondition::Unchanged(key.clone(), lease.version)).delete(key);
        match self.store.commit(&self.space, commit).await {
            Ok(_) | Err(StoreError::Precondition { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Changes the record; gives it as it is then.
    ///
    /// # Errors
    /// The store's.
    pub async fn change(
        &self,
        id: &ErasureId,
        edit: impl Fn(&mut ErasureRecord) + Send,
    ) -> Result<ErasureRecord, RepoError> {
        let key = record_key(id);
        for _ in 0..ATTEMPTS {
            let Some(mut found) = self.get(id).await? else { break };
            edit(&mut found.value);
            let unchanged = Precondition::Unchanged(key.clone(), found.version);
            let commit = Commit::new().when(unchanged).put(&key, encode(&key, &found.value)?);
            match self.store.commit(&self.space, commit).await {
                Ok(_) => return Ok(found.value),
                Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

    /// Numbers of the pieces of work that are left.
    ///
    /// # Errors
    /// The store's.
    pub async fn work(&self, id: &ErasureId) -> Result<Vec<usize>, RepoError> {
        let prefix = work_prefix(id);
        let keys = all_keys(&*self.store, &self.space, &prefix).await?;
        Ok(keys.iter().filter_map(|k| k[prefix.len()..].parse().ok()).collect())
    }

    /// Whom a piece of work is about; none once it was dropped.
    ///
    /// # Errors
    /// The store's.
    pub async fn piece(&self, id: &ErasureId, n: usize) -> Result<Vec<SubjectId>, RepoError> {
        let key = work_key(id, n);
        let record = self.store.get(&self.space, &key).await?;
        Ok(record.map(|r| decode(&key, &r.value)).transpose()?.unwrap_or_default())
    }

    /// Erases the ids that were to be erased: their work is done.
    ///
    /// # Errors
    /// The store's.
    pub async fn drop_work(&self, id: &ErasureId) -> Result<(), RepoError> {
        let keys = all_keys(&*self.store, &self.space, &work_prefix(id)).await?;
        for keys in keys.chunks(BATCH) {
            self.store.commit(&self.space, keys.iter().fold(Commit::new(), Commit::erase)).await?;
        }
        Ok(())
    }

    /// Ends the erasure with its receipt, in one commit. A receipt that is there stays.
    ///
    /// # Errors
    /// The store's.
    pub async fn finish(&self, record: &ErasureRecord, receipt: String) -> Result<(), RepoError> {
        let (key, receipt_key) = (record_key(&record.id), receipt_key(&record.id));
        let commit = Commit::new()
            .when(Precondition::Absent(receipt_key.clone()))
            .put(&key, encode(&key, record)?)
            .put(receipt_key, receipt);
        match self.store.commit(&self.space, commit).await {
            Ok(_) | Err(StoreError::Precondition { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// The signed receipt, once there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn receipt(&self, id: &ErasureId) -> Result<Option<Bytes>, RepoError> {
        Ok(self.store.get(&self.space, &receipt_key(id)).await?.map(|r| r.value))
    }

    /// Takes an erasure off the list of those that are not done.
    ///
    /// # Errors
    /// The store's.
    pub async fn unlist(&self, id: &ErasureId) -> Result<(), RepoError> {
        self.store.commit(&Space::system(), Commit::new().delete(self.open_key(id))).await?;
        Ok(())
    }

    /// The same for one that has no record: whoever was about to write it died.
    ///
    /// # Errors
    /// The store's.
    pub async fn unlist_lost(&self, id: &ErasureId, now: Timestamp) -> Result<(), RepoError> {
        let key = self.open_key(id);
        let Some(listed) = self.store.get(&Space::system(), &key).await? else { return Ok(()) };
        let since = std::str::from_utf8(&listed.value).ok().and_then(|text| text.parse().ok());
        if since.is_none_or(|since: Timestamp| now.since(since) > NEW) {
            self.drop_work(id).await?;
            self.unlist(id).await?;
        }
        Ok(())
    }

    fn open_key(&self, id: &ErasureId) -> String {
        format!("{OPEN}{}/{id}", self.tenant)
    }
}

fn record_key(id: &ErasureId) -> String {
    format!("{RECORD}{id}")
}

fn work_prefix(id: &ErasureId) -> String {
    format!("erasurework/{id}/")
}

fn work_key(id: &ErasureId, n: usize) -> String {
    format!("{}{n:06}", work_prefix(id))
}

fn receipt_key(id: &ErasureId) -> String {
    format!("erasurereceipt/{id}")
}

fn lease_key(id: &ErasureId) -> String {
    format!("erasurelease/{id}")
}
