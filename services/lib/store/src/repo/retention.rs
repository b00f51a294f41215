//! What retention and training need to know of everybody in a collection, page by page: who is due to be erased, whose
//! samples may be trained on, when a subject was last seen, how many there are. Used by the gateway's sweep, by the
//! worker (who notes whom it matched) and by training.

use std::collections::BTreeMap;

use domain::{Collection, Consent, Due, DueReason, Kept, SEEN_EVERY, Subject, SubjectId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    ATTEMPTS, BATCH, Removed, RepoError, SubjectHandle, Subjects, TemplateRow, all_records, damaged, decode, encode,
    read,
    subjects::{guard_key, seen_key, subject_key},
    templates,
    unenrolled::handle_in,
};
use crate::{Commit, Precondition, Space, Store, StoreError};

/// Where a tenant's number of subjects is written down.
const ENROLLED: &str = "enrolled";

/// When a subject was last seen.
#[derive(Serialize, Deserialize)]
pub(super) struct Seen {
    pub at: Timestamp,
}

/// Some subjects that were looked at, and who of them is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DuePage {
    /// How many were looked at.
    pub looked_at: usize,
    /// Who is to be erased, and why.
    pub due: Vec<Due>,
    /// Where to go on, if more follow.
    pub next: Option<SubjectHandle>,
}

/// A subject that was due and is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRemoved {
    /// What went.
    pub removed: Removed,
    /// Why.
    pub reasons: Vec<DueReason>,
}

/// A tenant's subjects, all collections together, as last counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// How many.
    pub subjects: u64,
    /// When they were counted.
    pub counted_at: Timestamp,
}

impl Enrolled {
    /// Of `tenant`, if they were ever counted.
    ///
    /// # Errors
    /// The store's.
    pub async fn of(store: &dyn Store, tenant: &TenantId) -> Result<Option<Self>, RepoError> {
        Ok(read(store, &Space::tenant(tenant), ENROLLED).await?.map(|e| e.value))
    }

    /// Writes it down for `tenant`.
    ///
    /// # Errors
    /// The store's.
    pub async fn note(self, store: &dyn Store, tenant: &TenantId) -> Result<(), RepoError> {
        let commit = Commit::new().put(ENROLLED, encode(ENROLLED, &self)?);
        store.commit(&Space::tenant(tenant), commit).await?;
        Ok(())
    }
}

/// Subjects of a page, in the order of their handles.
struct People {
    subjects: Vec<(SubjectHandle, Subject)>,
    more: bool,
}

impl People {
    /// Where to go on, if more follow.
    fn next(&self) -> Option<SubjectHandle> {
        self.subjects.last().filter(|_| self.more).map(|(h, _)| *h)
    }
}

impl Subjects {
    /// Who of the next `limit` subjects after `after` is due at `now` by the policy of `collection`.
    ///
    /// # Errors
    /// The store's.
    pub async fn due(
        &self,
        collection: &Collection,
        now: Timestamp,
        after: Option<SubjectHandle>,
        limit: usize,
    ) -> Result<DuePage, RepoError> {
        let people = self.people(after, limit).await?;
        let seen_keys: Vec<String> = people.subjects.iter().map(|(h, _)| seen_key(*h)).collect();
        let seen = self.store.get_many(&self.space, &seen_keys).await?;
        let consents = self.consents_of(&people).await?;
        let mut due = Vec::new();
        for (((handle, subject), seen), key) in people.subjects.iter().zip(&seen).zip(&seen_keys) {
            let seen_at = seen.as_ref().map(|r| decode::<Seen>(key, &r.value)).transpose()?.map(|s| s.at);
            let consents = consents.get(handle).map_or(&[][..], Vec::as_slice);
            let reasons = collection.due(Kept { enrolled_at: subject.created_at, seen_at, consents }, now);
            if !reasons.is_empty() {
                due.push(Due { subject_id: subject.id.clone(), reasons });
            }
        }
        Ok(DuePage { looked_at: people.subjects.len(), due, next: people.next() })
    }

    /// Erases a subject as [`Subjects::delete_subject`] does, if it is still due: not when a consent was recorded or a
    /// face added since it was found to be. `None` when it is not, or is gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete_due(
        &self,
        collection: &Collection,
        id: &SubjectId,
        now: Timestamp,
    ) -> Result<Option<DueRemoved>, RepoError> {
        let h = self.handle(id);
        for _ in 0..ATTEMPTS {
            // Read before what the decision rests on: whatever is added after this makes the deletion fail.
            let guard = self.store.get(&self.space, &guard_key(h)).await?.map(|r| r.version);
            let Some(subject) = read::<Subject>(&*self.store, &self.space, &subject_key(h)).await? else {
                return Ok(None);
            };
            let seen = read::<Seen>(&*self.store, &self.space, &seen_key(h)).await?;
            let consents: Vec<Consent> = self.consents(id).await?.into_iter().map(|c| c.value).collect();
            let seen_at = seen.map(|s| s.value.at);
            let kept = Kept { enrolled_at: subject.value.created_at, seen_at, consents: &consents };
            let reasons = collection.due(kept, now);
            if reasons.is_empty() {
                return Ok(None);
            }
            match self.delete_as_seen(id, None, Some(guard), now).await {
                Err(RepoError::VersionMismatch) => {}
                Err(RepoError::NotFound(_) | RepoError::Erased(_)) => return Ok(None),
                done => return Ok(Some(DueRemoved { removed: done?, reasons })),
            }
        }
        Err(RepoError::Contended)
    }

    /// Notes that these subjects were seen at `now`: once a day at most, and none that is not enrolled. How many were
    /// noted.
    ///
    /// # Errors
    /// The store's.
    pub async fn saw(&self, ids: &[SubjectId], now: Timestamp) -> Result<usize, RepoError> {
        let mut noted = 0;
        for ids in ids.chunks(BATCH / 2) {
            let handles: Vec<SubjectHandle> = ids.iter().map(|id| self.handle(id)).collect();
            let keys: Vec<String> = handles.iter().map(|h| seen_key(*h)).collect();
            let before = self.store.get_many(&self.space, &keys).await?;
            let mut due = BTreeMap::new();
            for ((h, key), before) in handles.into_iter().zip(keys).zip(before) {
                let before = before.map(|r| decode::<Seen>(&key, &r.value)).transpose()?;
                if before.is_none_or(|s| now.since(s.at) >= SEEN_EVERY) {
                    due.insert(subject_key(h), key);
                }
            }
            noted += self.note_seen(due, now).await?;
        }
        Ok(noted)
    }

    /// Writes the records of when these were seen, by the key of their subject; leaves out whoever was erased meanwhile.
    async fn note_seen(&self, mut due: BTreeMap<String, String>, now: Timestamp) -> Result<usize, RepoError> {
        while !due.is_empty() {
            let mut commit = Commit::new();
            for (subject, key) in &due {
                commit = commit.when(Precondition::Present(subject.clone())).put(key, encode(key, &Seen { at: now })?);
            }
            match self.store.commit(&self.space, commit).await {
                Ok(_) => break,
                // Every round leaves out one at least.
                Err(StoreError::Precondition { key }) if due.remove(&key).is_some() => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(due.len())
    }

    /// Templates of the next `limit` subjects after `after`, of those whose consent allows training at `now`; with where
    /// to go on, if more follow. To be asked anew for every run: it is true for the moment of the call alone.
    ///
    /// # Errors
    /// The store's.
    pub async fn trainable(
        &self,
        now: Timestamp,
        after: Option<SubjectHandle>,
        limit: usize,
    ) -> Result<(Vec<TemplateRow>, Option<SubjectHandle>), RepoError> {
        let people = self.people(after, limit).await?;
        let consents = self.consents_of(&people).await?;
        let mut rows = Vec::new();
        for (handle, _) in &people.subjects {
            if !Consent::allow_training(consents.get(handle).into_iter().flatten(), now) {
                continue;
            }
            for (key, record) in all_records(&*self.store, &self.space, &format!("v/{handle}/")).await? {
                rows.push(templates::row(key, &record)?);
            }
        }
        Ok((rows, people.next()))
    }

    async fn people(&self, after: Option<SubjectHandle>, limit: usize) -> Result<People, RepoError> {
        let page = self.store.scan(&self.space, "s/", after.map(subject_key).as_deref(), limit).await?;
        let mut subjects = Vec::with_capacity(page.records.len());
        for (key, record) in &page.records {
            let handle = key["s/".len()..].parse().map_err(|e| damaged(key, &e))?;
            subjects.push((handle, decode(key, &record.value)?));
        }
        Ok(People { subjects, more: page.more })
    }

    /// The consents of everybody on a page, read in one walk along the keys.
    async fn consents_of(&self, people: &People) -> Result<BTreeMap<SubjectHandle, Vec<Consent>>, RepoError> {
        let mut found: BTreeMap<SubjectHandle, Vec<Consent>> = BTreeMap::new();
        let (Some((first, _)), Some((last, _))) = (people.subjects.first(), people.subjects.last()) else {
            return Ok(found);
        };
        // Before every consent of the first, and after every one of the last.
        let (mut after, end) = (format!("n/{first}/"), format!("n/{last}0"));
        loop {
            let page = self.store.scan(&self.space, "n/", Some(&after), BATCH).await?;
            for (key, record) in &page.records {
                if *key > end {
                    return Ok(found);
                }
                found.entry(handle_in(key)?).or_default().push(decode(key, &record.value)?);
            }
            match page.records.last() {
                Some((key, _)) if page.more => key.clone_into(&mut after),
                _ => return Ok(found),
            }
        }
    }
}
