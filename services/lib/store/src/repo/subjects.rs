//! Subjects of one collection with their faces, as the gateway reads, changes and deletes them.
//! Enrolment is in `enrol.rs`, consents are in `consents.rs`.
//!
//! Keys, `{h}` being the subject's handle: `s/{h}` the subject, `f/{h}/{face}` a face, `v/{h}/{face}` its template,
//! `n/{h}/{consent}` a consent, `d/{h}/{job}` the reply of a finished enrolment, `x/{h}` when it was erased,
//! `l/{h}` when it was last seen, and `g/{h}` a guard that every addition below `{h}` rewrites, so that a deletion notices what it has not seen.

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    CollectionId, Consent, ConsentId, EnrolledFace, ErrorCode, FaceId, JobId, Subject, SubjectId, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    ATTEMPTS, BATCH, Consents, Pepper, RepoError, SubjectHandle, Versioned, all_records, as_seen, consents, encode,
    read, versioned,
};
use crate::{Commit, Precondition, Revision, Space, Store, StoreError};

/// Where a subject stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Enrolled.
    Found(Versioned<Subject>),
    /// Was enrolled and has been erased.
    Erased(Timestamp),
    /// Never seen.
    Absent,
}

/// What a deletion removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The subject as it was.
    pub subject: Subject,
    /// Its faces, each with its template.
    pub faces: Vec<FaceId>,
    /// Its consents.
    pub consents: Vec<ConsentId>,
    /// Revision of the collection from which on nothing of it is found.
    pub revision: Revision,
}

/// How much a collection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Subjects.
    pub subjects: usize,
    /// Faces of all of them.
    pub faces: usize,
}

/// What is left of an erased subject.
#[derive(Serialize, Deserialize)]
pub(super) struct Tombstone {
    pub erased_at: Timestamp,
}

/// The subjects of one collection.
#[derive(Clone)]
pub struct Subjects {
    pub(super) store: Arc<dyn Store>,
    pub(super) pepper: Pepper,
    pub(super) tenant: TenantId,
    pub(super) collection: CollectionId,
    pub(super) space: Space,
}

impl Subjects {
    /// Of `collection` of `tenant`, whether or not it exists.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, pepper: Pepper, tenant: TenantId, collection: CollectionId) -> Self {
        let space = Space::collection(&tenant, &collection);
        Self { store, pepper, tenant, collection, space }
    }

    /// The name `id` goes by in this collection's keys.
    #[must_use]
    pub fn handle(&self, id: &SubjectId) -> SubjectHandle {
        self.pepper.handle(&self.tenant, &self.collection, id)
    }

    /// The subject, or what is known of it.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, id: &SubjectId) -> Result<Lookup, RepoError> {
        let h = self.handle(id);
        let keys = [subject_key(h), tombstone_key(h)];
        let found = self.store.get_many(&self.space, &keys).await?;
        Ok(match &found[..] {
            [Some(subject), _] => Lookup::Found(versioned(&keys[0], subject)?),
            [_, Some(tombstone)] => Lookup::Erased(versioned::<Tombstone>(&keys[1], tombstone)?.value.erased_at),
            _ => Lookup::Absent,
        })
    }

    /// Up to `limit` subjects after the cursor `after`, in the order of their handles; with the cursor of the
    /// next page if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Versioned<Subject>>, Option<String>), RepoError> {
        let after = after.map(|a| format!("s/{a}"));
        let page = self.store.scan(&self.space, "s/", after.as_deref(), limit).await?;
        let next = page.records.last().filter(|_| page.more).map(|(k, _)| k["s/".len()..].to_owned());
        let subjects = page.records.iter().map(|(k, r)| versioned(k, r)).collect::<Result<_, _>>()?;
        Ok((subjects, next))
    }

    /// Replaces the record of an enrolled subject.
    ///
    /// # Errors
    /// Not found, erased; [`RepoError::VersionMismatch`] when `if_version` is not the present one.
    pub async fn update(&self, subject: &Subject, if_version: Option<Revision>) -> Result<Revision, RepoError> {
        let key = subject_key(self.handle(&subject.id));
        let commit = Commit::new().when(expected(&key, if_version)).put(&key, encode(&key, subject)?);
        match self.store.commit(&self.space, commit).await {
            Err(StoreError::Precondition { .. }) => Err(self.gone_or_changed(&subject.id).await?),
            done => Ok(done?),
        }
    }

    /// The faces of a subject, oldest id first; none if there is no such subject.
    ///
    /// # Errors
    /// The store's.
    pub async fn faces(&self, id: &SubjectId) -> Result<Vec<Versioned<EnrolledFace>>, RepoError> {
        let records = all_records(&*self.store, &self.space, &format!("f/{}/", self.handle(id))).await?;
        Ok(records.iter().map(|(k, r)| versioned(k, r)).collect::<Result<_, _>>()?)
    }

    /// One face of a subject.
    ///
    /// # Errors
    /// The store's.
    pub async fn face(&self, id: &SubjectId, face: &FaceId) -> Result<Option<Versioned<EnrolledFace>>, RepoError> {
        Ok(read(&*self.store, &self.space, &face_key(self.handle(id), face)).await?)
    }

    /// Erases one face and its template.
    ///
    /// # Errors
    /// Not found; [`RepoError::VersionMismatch`] when `if_version` is not the present one.
    pub async fn delete_face(
        &self,
        id: &SubjectId,
        face: &FaceId,
        if_version: Option<Revision>,
    ) -> Result<Revision, RepoError> {
        let h = self.handle(id);
        let key = face_key(h, face);
        let commit = Commit::new().when(expected(&key, if_version)).erase(&key).erase(template_key(h, face));
        match self.store.commit(&self.space, commit).await {
            Err(StoreError::Precondition { .. }) => Err(match self.store.get(&self.space, &key).await? {
                Some(_) => RepoError::VersionMismatch,
                None => RepoError::NotFound(ErrorCode::FaceNotFound),
            }),
            done => Ok(done?),
        }
    }

    /// Erases a subject with faces, templates, consents and stored replies in one commit, leaving only the
    /// moment of erasure under its handle.
    ///
    /// # Errors
    /// Not found, erased; [`RepoError::VersionMismatch`] when `if_version` is not the present one.
    pub async fn delete_subject(
        &self,
        id: &SubjectId,
        if_version: Option<Revision>,
        now: Timestamp,
    ) -> Result<Removed, RepoError> {
        self.delete_as_seen(id, if_version, None, now).await
    }

    /// The same, if `as_of` is given only while the subject's guard is still at that version: nothing was added since.
    pub(super) async fn delete_as_seen(
        &self,
        id: &SubjectId,
        if_version: Option<Revision>,
        as_of: Option<Option<Revision>>,
        now: Timestamp,
    ) -> Result<Removed, RepoError> {
        let h = self.handle(id);
        let (subject_key, guard_key, tombstone) = (subject_key(h), guard_key(h), tombstone_key(h));
        for _ in 0..ATTEMPTS {
            // The guard first: what is added after this makes the commit fail.
            let guard = self.store.get(&self.space, &guard_key).await?.map(|r| r.version);
            if as_of.is_some_and(|as_of| as_of != guard) {
                return Err(RepoError::VersionMismatch);
            }
            let Some(subject) = read::<Subject>(&*self.store, &self.space, &subject_key).await? else {
                return Err(self.gone_or_changed(id).await?);
            };
            if if_version.is_some_and(|v| v != subject.version) {
                return Err(RepoError::VersionMismatch);
            }
            let belongings = self.belongings(h).await?;
            let seen = Precondition::Unchanged(subject_key.clone(), subject.version);
            let commit = Commit::new().when(seen).when(as_seen(&guard_key, guard));
            let commit = belongings.keys.iter().fold(commit, Commit::erase);
            let stone = encode(&tombstone, &Tombstone { erased_at: now })?;
            let commit = commit.erase(&subject_key).erase(&guard_key).erase(seen_key(h)).put(&tombstone, stone);
            match self.store.commit(&self.space, commit).await {
                Ok(revision) => {
                    consents::unindex(&*self.store, &self.tenant, &belongings.consents).await?;
                    let faces = belongings.faces.iter().filter_map(|name| FaceId::new(name).ok()).collect();
                    return Ok(Removed { subject: subject.value, faces, consents: belongings.consents, revision });
                }
                Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

    /// The reply of a finished enrolment job of this subject, kept for a day.
    ///
    /// # Errors
    /// The store's.
    pub async fn done(&self, id: &SubjectId, job: &JobId) -> Result<Option<Bytes>, RepoError> {
        Ok(self.store.get(&self.space, &done_key(self.handle(id), job)).await?.map(|r| r.value))
    }

    /// Records a consent of a subject that is enrolled or will be.
    ///
    /// # Errors
    /// Collection not found.
    pub async fn record_consent(&self, consent: &Consent) -> Result<Revision, RepoError> {
        Consents::new(self.store.clone(), self.pepper, self.tenant.clone()).record(consent).await
    }

    /// The consents of a subject.
    ///
    /// # Errors
    /// The store's.
    pub async fn consents(&self, id: &SubjectId) -> Result<Vec<Versioned<Consent>>, RepoError> {
        let records = all_records(&*self.store, &self.space, &format!("n/{}/", self.handle(id))).await?;
        Ok(records.iter().map(|(k, r)| versioned(k, r)).collect::<Result<_, _>>()?)
    }

    /// How many subjects and faces the collection holds. Walks all keys.
    ///
    /// # Errors
    /// The store's.
    pub async fn count(&self) -> Result<Count, RepoError> {
        Ok(Count { subjects: self.count_keys("s/").await?, faces: self.count_keys("f/").await? })
    }

    /// How many consents the collection holds. Walks their keys.
    ///
    /// # Errors
    /// The store's.
    pub async fn count_consents(&self) -> Result<usize, RepoError> {
        Ok(self.count_keys("n/").await?)
    }

    async fn count_keys(&self, prefix: &str) -> Result<usize, StoreError> {
        let (mut n, mut after) = (0, None::<String>);
        loop {
            let page = self.store.keys(&self.space, prefix, after.as_deref(), 10 * BATCH).await?;
            n += page.keys.len();
            after = page.keys.into_iter().next_back().or(after);
            if !page.more {
                return Ok(n);
            }
        }
    }

    async fn gone_or_changed(&self, id: &SubjectId) -> Result<RepoError, RepoError> {
        Ok(match self.get(id).await? {
            Lookup::Found(_) => RepoError::VersionMismatch,
            Lookup::Erased(at) => RepoError::Erased(at),
            Lookup::Absent => RepoError::NotFound(ErrorCode::SubjectNotFound),
        })
    }
}

fn expected(key: &str, if_version: Option<Revision>) -> Precondition {
    match if_version {
        Some(v) => Precondition::Unchanged(key.to_owned(), v),
        None => Precondition::Present(key.to_owned()),
    }
}

pub(super) fn subject_key(h: SubjectHandle) -> String {
    format!("s/{h}")
}

pub(super) fn guard_key(h: SubjectHandle) -> String {
    format!("g/{h}")
}

pub(super) fn seen_key(h: SubjectHandle) -> String {
    format!("l/{h}")
}

pub(super) fn tombstone_key(h: SubjectHandle) -> String {
    format!("x/{h}")
}

pub(super) fn face_key(h: SubjectHandle, face: &FaceId) -> String {
    format!("f/{h}/{face}")
}

pub(super) fn template_key(h: SubjectHandle, face: &FaceId) -> String {
    format!("v/{h}/{face}")
}

pub(super) fn done_key(h: SubjectHandle, job: &JobId) -> String {
    format!("d/{h}/{job}")
}
