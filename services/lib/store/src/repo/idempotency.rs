//! Idempotency keys: the first request under a key does the work, later ones get its answer for a day.
//! Used by the gateway around every write that carries an `Idempotency-Key`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{JobId, KeyId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ATTEMPTS, RepoError, as_seen, damaged, decode, encode};
use crate::{Commit, Record, Revision, Space, Store, StoreError};

const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Where one idempotency key of one API key is kept.
#[derive(Clone, Debug)]
pub struct IdempotencySlot {
    space: Space,
    key: String,
}

impl IdempotencySlot {
    /// The slot of the caller's `idempotency_key` under its API key.
    #[must_use]
    pub fn new(tenant: &TenantId, api_key: &KeyId, idempotency_key: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update((api_key.as_str().len() as u64).to_le_bytes());
        hash.update(api_key.as_str());
        hash.update(idempotency_key);
        Self { space: Space::tenant(tenant), key: format!("idem/{}", hex::encode(hash.finalize())) }
    }
}

/// A request that would like to do the work.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// Digest of method, path and body: tells a repetition from another request under the same key.
    pub fingerprint: &'a str,
    /// Id of the job if this request does the work.
    pub job_id: &'a JobId,
    /// The present moment.
    pub now: Timestamp,
    /// How long an unfinished attempt may go without [`Idempotency::renew`] before it counts as given up.
    pub takeover_after: Duration,
}

/// An answer as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReply {
    /// HTTP status.
    pub status: u16,
    /// Headers to repeat.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

/// What the request is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The work; then complete or abandon.
    Begun,
    /// Give this answer again.
    Replay(StoredReply),
    /// Tell the caller that the first request is still under way.
    InProgress,
    /// Refuse: the key was used for another request.
    Reused,
    /// The work, under this job id: an earlier attempt was given up, and if its job has taken effect after all,
    /// the same id finds that.
    TakenOver(JobId),
}

#[derive(Serialize, Deserialize)]
struct Entry {
    fingerprint: String,
    job_id: JobId,
    /// When it began or was last renewed; when it ended, once it has.
    since: Timestamp,
    /// Status and headers once there is an answer; the body follows the JSON.
    reply: Option<(u16, Vec<(String, String)>)>,
}

/// The idempotency records of every tenant.
#[derive(Clone)]
pub struct Idempotency {
    store: Arc<dyn Store>,
}

impl Idempotency {
    /// Over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Claims the slot, or tells who has it.
    ///
    /// # Errors
    /// The store's.
    pub async fn begin(&self, slot: &IdempotencySlot, attempt: &Attempt<'_>) -> Result<Begun, RepoError> {
        // Most keys are new: not looked at first, which would cost another round trip.
        let fingerprint = attempt.fingerprint.to_owned();
        let fresh = Entry { fingerprint, job_id: attempt.job_id.clone(), since: attempt.now, reply: None };
        if self.write(slot, None, &fresh, &[]).await? {
            return Ok(Begun::Begun);
        }
        for _ in 0..ATTEMPTS {
            let found = self.read(slot).await?;
            let (begun, version, job_id) = match found {
                None => (Begun::Begun, None, attempt.job_id.clone()),
                Some((entry, _, _)) if entry.fingerprint != attempt.fingerprint => return Ok(Begun::Reused),
                Some((Entry { reply: Some((status, headers)), .. }, body, _)) => {
                    return Ok(Begun::Replay(StoredReply { status, headers, body }));
                }
                Some((entry, ..)) if attempt.now.since(entry.since) < attempt.takeover_after => {
                    return Ok(Begun::InProgress);
                }
                Some((entry, _, version)) => (Begun::TakenOver(entry.job_id.clone()), Some(version), entry.job_id),
            };
            let fingerprint = attempt.fingerprint.to_owned();
            let entry = Entry { fingerprint, job_id, since: attempt.now, reply: None };
            if self.write(slot, version, &entry, &[]).await? {
                return Ok(begun);
            }
        }
        Err(RepoError::Contended)
    }

    /// Says that the attempt is still at work. Whether there is anything left to renew.
    ///
    /// # Errors
    /// The store's.
    pub async fn renew(&self, slot: &IdempotencySlot, job_id: &JobId, now: Timestamp) -> Result<bool, RepoError> {
        let Some((mut entry, _, version)) = self.read(slot).await? else { return Ok(false) };
        if entry.job_id != *job_id || entry.reply.is_some() {
            return Ok(false);
        }
        entry.since = now;
        // Whoever was quicker has either renewed it or ended it.
        self.write(slot, Some(version), &entry, &[]).await?;
        Ok(true)
    }

    /// Keeps the answer for later requests under the key, unless another attempt has taken the slot over.
    ///
    /// # Errors
    /// The store's.
    pub async fn complete(
        &self,
        slot: &IdempotencySlot,
        job_id: &JobId,
        reply: &StoredReply,
        now: Timestamp,
    ) -> Result<(), RepoError> {
        for _ in 0..ATTEMPTS {
            let Some((mut entry, _, version)) = self.read(slot).await? else { return Ok(()) };
            if entry.job_id != *job_id || entry.reply.is_some() {
                return Ok(());
            }
            entry.reply = Some((reply.status, reply.headers.clone()));
            entry.since = now;
            if self.write(slot, Some(version), &entry, &reply.body).await? {
                return Ok(());
            }
        }
        Err(RepoError::Contended)
    }

    /// Frees the slot after an attempt without effect, so that the caller may try again.
    ///
    /// # Errors
    /// The store's.
    pub async fn abandon(&self, slot: &IdempotencySlot, job_id: &JobId) -> Result<(), RepoError> {
        for _ in 0..ATTEMPTS {
            let Some((entry, _, version)) = self.read(slot).await? else { return Ok(()) };
            if entry.job_id != *job_id || entry.reply.is_some() {
                return Ok(());
            }
            let commit = Commit::new().when(as_seen(&slot.key, Some(version))).delete(&slot.key);
            match self.store.commit(&slot.space, commit).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

    async fn read(&self, slot: &IdempotencySlot) -> Result<Option<(Entry, Bytes, Revision)>, RepoError> {
        let Some(Record { value, version }) = self.store.get(&slot.space, &slot.key).await? else { return Ok(None) };
        let split = value.split_first_chunk::<4>().and_then(|(len, _)| {
            let end = 4usize.checked_add(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
            (end <= value.len()).then(|| (value.slice(4..end), value.slice(end..)))
        });
        let (head, body) = split.ok_or_else(|| damaged(&slot.key, &"cut short"))?;
        Ok(Some((decode(&slot.key, &head)?, body, version)))
    }

    /// Writes the entry if the slot is as it was; whether it was.
    async fn write(
        &self,
        slot: &IdempotencySlot,
        version: Option<Revision>,
        entry: &Entry,
        body: &[u8],
    ) -> Result<bool, RepoError> {
        let head = encode(&slot.key, entry)?;
        let len = u32::try_from(head.len()).map_err(|e| damaged(&slot.key, &e))?;
        let value = [&len.to_le_bytes(), &head[..], body].concat();
        let until = entry.since.plus(KEPT);
        let commit = Commit::new().when(as_seen(&slot.key, version)).put_until(&slot.key, value, until);
        match self.store.commit(&slot.space, commit).await {
            Ok(_) => Ok(true),
            Err(StoreError::Precondition { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}
