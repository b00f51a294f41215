//! Idempotency keys: the first request under a key does the work, later ones get its answer for a day.
//! Used by the gateway around every write that carries an `Idempotency-Key`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{JobId, KeyId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ATTEMPTS, Mention, RepoError, as_seen, damaged, decode, encode, mentions};
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
        Self { space: Space::tenant(tenant), key: slot_key(&hex::encode(hash.finalize())) }
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
    /// The request was carried out; its answer told of a subject that was erased since.
    Erased,
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
    /// There was an answer, and it was erased.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    erased: bool,
}

/// A slot as it is to be written, and until when.
pub(super) struct Kept {
    pub value: Bytes,
    pub until: Timestamp,
}

impl Entry {
    /// Whether nothing is to become of it any more.
    const fn ended(&self) -> bool {
        self.reply.is_some() || self.erased
    }

    fn written(&self, key: &str, body: &[u8]) -> Result<Kept, StoreError> {
        let head = encode(key, self)?;
        let len = u32::try_from(head.len()).map_err(|e| damaged(key, &e))?;
        let value = [&len.to_le_bytes(), &head[..], body].concat().into();
        Ok(Kept { value, until: self.since.plus(KEPT) })
    }
}

fn parse(key: &str, Record { value, .. }: &Record) -> Result<(Entry, Bytes), StoreError> {
    let split = value.split_first_chunk::<4>().and_then(|(len, _)| {
        let end = 4usize.checked_add(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        (end <= value.len()).then(|| (value.slice(4..end), value.slice(end..)))
    });
    let (head, body) = split.ok_or_else(|| damaged(key, &"cut short"))?;
    Ok((decode(key, &head)?, body))
}

/// The key of the slot with this hash.
pub(super) fn slot_key(hash: &str) -> String {
    format!("idem/{hash}")
}

/// The slot as it is to be once its answer is erased; none where there is no answer.
pub(super) fn without_answer(key: &str, record: &Record) -> Result<Option<Kept>, StoreError> {
    let (entry, _) = parse(key, record)?;
    if entry.reply.is_none() {
        return Ok(None);
    }
    Entry { reply: None, erased: true, ..entry }.written(key, &[]).map(Some)
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
        let job_id = attempt.job_id.clone();
        let fresh = Entry { fingerprint, job_id, since: attempt.now, reply: None, erased: false };
        if self.write(slot, None, &fresh, (&[], &[])).await? {
            return Ok(Begun::Begun);
        }
        for _ in 0..ATTEMPTS {
            let found = self.read(slot).await?;
            let (begun, version, job_id) = match found {
                None => (Begun::Begun, None, attempt.job_id.clone()),
                Some((entry, _, _)) if entry.fingerprint != attempt.fingerprint => return Ok(Begun::Reused),
                Some((entry, _, _)) if entry.erased => return Ok(Begun::Erased),
                Some((Entry { reply: Some((status, headers)), .. }, body, _)) => {
                    return Ok(Begun::Replay(StoredReply { status, headers, body }));
                }
                Some((entry, ..)) if attempt.now.since(entry.since) < attempt.takeover_after => {
                    return Ok(Begun::InProgress);
                }
                Some((entry, _, version)) => (Begun::TakenOver(entry.job_id.clone()), Some(version), entry.job_id),
            };
            let fingerprint = attempt.fingerprint.to_owned();
            let entry = Entry { fingerprint, job_id, since: attempt.now, reply: None, erased: false };
            if self.write(slot, version, &entry, (&[], &[])).await? {
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
        if entry.job_id != *job_id || entry.ended() {
            return Ok(false);
        }
        entry.since = now;
        // Whoever was quicker has either renewed it or ended it.
        self.write(slot, Some(version), &entry, (&[], &[])).await?;
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
        self.complete_about(slot, job_id, (reply, &[]), now).await
    }

    /// The same with the subjects that the answer tells of.
    ///
    /// # Errors
    /// The store's.
    pub async fn complete_about(
        &self,
        slot: &IdempotencySlot,
        job_id: &JobId,
        (reply, about): (&StoredReply, &[Mention]),
        now: Timestamp,
    ) -> Result<(), RepoError> {
        for _ in 0..ATTEMPTS {
            let Some((mut entry, _, version)) = self.read(slot).await? else { return Ok(()) };
            if entry.job_id != *job_id || entry.ended() {
                return Ok(());
            }
            entry.reply = Some((reply.status, reply.headers.clone()));
            entry.since = now;
            if self.write(slot, Some(version), &entry, (&reply.body, about)).await? {
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
            if entry.job_id != *job_id || entry.ended() {
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
        let Some(record) = self.store.get(&slot.space, &slot.key).await? else { return Ok(None) };
        let (entry, body) = parse(&slot.key, &record)?;
        Ok(Some((entry, body, record.version)))
    }

    /// Writes the entry if the slot is as it was; whether it was.
    async fn write(
        &self,
        slot: &IdempotencySlot,
        version: Option<Revision>,
        entry: &Entry,
        (body, about): (&[u8], &[Mention]),
    ) -> Result<bool, RepoError> {
        let Kept { value, until } = entry.written(&slot.key, body)?;
        let commit = Commit::new().when(as_seen(&slot.key, version)).put_until(&slot.key, value, until);
        let mentions = about.iter().map(|mention| mentions::of_answer(mention, &slot.key));
        let commit = mentions.fold(commit, |commit, key| commit.put_until(key, "", until));
        match self.store.commit(&slot.space, commit).await {
            Ok(_) => Ok(true),
            Err(StoreError::Precondition { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}
