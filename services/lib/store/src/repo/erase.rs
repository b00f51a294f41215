//! Erasing many subjects with few commits, and looking for what is left of them. Used by erasures; a single subject is
//! deleted in `subjects.rs` with the same list of what belongs to one.

use bytes::Bytes;
use domain::{ConsentId, SubjectId, Timestamp};
use evidence::SubjectOutcome;

use super::{
    ATTEMPTS, RepoError, SubjectHandle, Subjects, all_keys, as_seen, consents, encode,
    subjects::{Tombstone, guard_key, seen_key, subject_key, tombstone_key},
    versioned,
};
use crate::{Commit, Precondition, Revision, StoreError};

/// Prefixes of everything below a subject's handle.
const BELOW: [&str; 4] = ["f", "v", "n", "d"];

/// Everything recorded below a subject's handle.
#[derive(Debug, Default)]
pub(super) struct Belongings {
    /// Every key.
    pub keys: Vec<String>,
    /// Ids of the faces, as keys name them.
    pub faces: Vec<String>,
    /// Its consents.
    pub consents: Vec<ConsentId>,
}

/// How the erasure of one subject went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// Its handle.
    pub handle: SubjectHandle,
    /// How it was found.
    pub outcome: SubjectOutcome,
    /// What its tombstone says.
    pub erased_at: Timestamp,
    /// Faces removed, each with its template.
    pub faces: u32,
    /// Consents removed.
    pub consents: u32,
}

/// Something to be kept in the commit of an erasure, so that a repetition finds what was done.
pub struct Note<'a> {
    /// Where in the collection's space; what is there already ends the repetition.
    pub key: &'a str,
    /// What of the outcome, encoded.
    pub write: &'a (dyn Fn(&[Erased]) -> Result<Bytes, StoreError> + Sync),
}

/// What one attempt has found.
struct Attempt {
    commit: Commit,
    erased: Vec<Erased>,
    consents: Vec<ConsentId>,
}

impl Subjects {
    /// Erases these subjects in one commit, with all that is recorded of them, whether enrolled or not, and leaves a
    /// tombstone for each: what was accepted of them before cannot enrol them any more. A few hundred at most. With a
    /// `note` that is there already nothing happens, and nothing is told.
    ///
    /// # Errors
    /// The store's.
    pub async fn erase_many(
        &self,
        ids: &[SubjectId],
        note: Option<&Note<'_>>,
        now: Timestamp,
    ) -> Result<Vec<Erased>, RepoError> {
        for _ in 0..ATTEMPTS {
            if let Some(note) = note
                && self.store.get(&self.space, note.key).await?.is_some()
            {
                return Ok(Vec::new());
            }
            let Attempt { mut commit, erased, consents } = self.attempt(ids, now).await?;
            if let Some(note) = note {
                commit = commit.when(Precondition::Absent(note.key.to_owned())).put(note.key, (note.write)(&erased)?);
            }
            match self.store.commit(&self.space, commit).await {
                Ok(_) => {
                    consents::unindex(&*self.store, &self.tenant, &consents).await?;
                    return Ok(erased);
                }
                Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

    async fn attempt(&self, ids: &[SubjectId], now: Timestamp) -> Result<Attempt, RepoError> {
        let mut attempt = Attempt { commit: Commit::new(), erased: Vec::new(), consents: Vec::new() };
        for id in ids {
            let h = self.handle(id);
            let keys = [guard_key(h), subject_key(h), tombstone_key(h)];
            // The guard first: what is added after this makes the commit fail.
            let found = self.store.get_many(&self.space, &keys).await?;
            let [guard, subject, tombstone] = &found[..] else { continue };
            let before = tombstone.as_ref().map(|t| versioned::<Tombstone>(&keys[2], t)).transpose()?;
            let belongings = self.belongings(h).await?;
            let version = |record: &Option<crate::Record>| record.as_ref().map(|r| r.version);
            let mut commit = std::mem::take(&mut attempt.commit)
                .when(as_seen(&keys[0], version(guard)))
                .when(as_seen(&keys[1], version(subject)));
            commit = belongings.keys.iter().fold(commit, Commit::erase);
            commit = commit.erase(&keys[0]).erase(&keys[1]).erase(seen_key(h));
            let erased_at = before.filter(|_| subject.is_none()).map_or(now, |t| t.value.erased_at);
            let stone = Tombstone { erased_at: now };
            attempt.commit = commit.put(&keys[2], encode(&keys[2], &stone)?);
            attempt.erased.push(Erased {
                handle: h,
                outcome: match (subject, tombstone) {
                    (Some(_), _) => SubjectOutcome::Erased,
                    (None, Some(_)) => SubjectOutcome::AlreadyErased,
                    (None, None) => SubjectOutcome::NotEnrolled,
                },
                erased_at,
                faces: u32::try_from(belongings.faces.len()).unwrap_or(u32::MAX),
                consents: u32::try_from(belongings.consents.len()).unwrap_or(u32::MAX),
            });
            attempt.consents.extend(belongings.consents);
        }
        Ok(attempt)
    }

    /// Everything below a subject's handle.
    pub(super) async fn belongings(&self, h: SubjectHandle) -> Result<Belongings, StoreError> {
        let mut all = Belongings::default();
        for prefix in BELOW {
            for key in all_keys(&*self.store, &self.space, &format!("{prefix}/{h}/")).await? {
                let name = key.rsplit('/').next().unwrap_or_default();
                match prefix {
                    "f" => all.faces.push(name.to_owned()),
                    "n" => all.consents.extend(ConsentId::new(name)),
                    _ => {}
                }
                all.keys.push(key);
            }
        }
        Ok(all)
    }

    /// Of these handles those that are erased and stayed so, and how many records are left below them: none, unless
    /// something went wrong. Who was enrolled anew since is not counted.
    ///
    /// # Errors
    /// The store's.
    pub async fn left_of(&self, handles: &[SubjectHandle]) -> Result<(Vec<SubjectHandle>, u64), RepoError> {
        let (mut gone, mut left) = (Vec::new(), 0);
        for &h in handles {
            let keys = [tombstone_key(h), subject_key(h), guard_key(h)];
            let found = self.store.get_many(&self.space, &keys).await?;
            let [Some(_), subject, guard] = &found[..] else { continue };
            // A consent recorded since, for an enrolment to come, brings its guard.
            if guard.is_some() && subject.is_none() {
                continue;
            }
            left += u64::from(subject.is_some()) + self.belongings(h).await?.keys.len() as u64;
            gone.push(h);
        }
        Ok((gone, left))
    }

    /// When this subject was erased, if it is.
    pub(super) async fn tombstone(&self, h: SubjectHandle) -> Result<Option<(Timestamp, Revision)>, StoreError> {
        let key = tombstone_key(h);
        let found = self.store.get(&self.space, &key).await?;
        let stone = found.map(|r| versioned::<Tombstone>(&key, &r)).transpose()?;
        Ok(stone.map(|t| (t.value.erased_at, t.version)))
    }

    /// What erasures noted in this collection's space under `prefix`, in the order of the keys.
    ///
    /// # Errors
    /// The store's.
    pub async fn notes(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, RepoError> {
        let records = super::all_records(&*self.store, &self.space, prefix).await?;
        Ok(records.into_iter().map(|(key, record)| (key, record.value)).collect())
    }

    /// Removes what erasures noted under `prefix`.
    ///
    /// # Errors
    /// The store's.
    pub async fn drop_notes(&self, prefix: &str) -> Result<(), RepoError> {
        let keys = all_keys(&*self.store, &self.space, prefix).await?;
        for keys in keys.chunks(super::BATCH) {
            self.store.commit(&self.space, keys.iter().fold(Commit::new(), Commit::delete)).await?;
        }
        Ok(())
    }
}
