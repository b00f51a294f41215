//! Enrolment: one commit holding the subject, its faces, templates, consent and the reply. A job that is delivered
//! twice takes effect once: the second delivery finds the first one's reply. Called by the worker.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    Consent, ConsentId, ConsentStatus, EnrolledFace, FaceId, FaceTemplates, JobId, Subject, SubjectId, Timestamp,
};

use super::{
    ATTEMPTS, CropRecord, RepoError, SubjectHandle, Subjects,
    collections::META,
    consents::{self, consent_key},
    crops::put_crop,
    encode, read,
    subjects::{done_key, face_key, guard_key, subject_key, template_key, tombstone_key},
};
use crate::{Commit, Precondition, Revision, StoreError};

/// How long a job's reply is kept for further deliveries of the same job.
const DONE_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Whom an enrolment is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnrolSubject {
    /// A subject that must not be enrolled yet.
    New(Subject),
    /// A subject that must be enrolled, at this version if one is given.
    Existing(SubjectId, Option<Revision>),
}

impl EnrolSubject {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &SubjectId {
        match self {
            Self::New(s) => &s.id,
            Self::Existing(id, _) => id,
        }
    }
}

/// Everything an enrolment writes.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// Whom it is about.
    pub subject: EnrolSubject,
    /// Faces to add, each with its templates.
    pub faces: Vec<(EnrolledFace, FaceTemplates)>,
    /// Records of the crops retained of them.
    pub crops: Vec<(FaceId, CropRecord)>,
    /// A consent to record along with it.
    pub consent: Option<Consent>,
    /// A consent on record that must be in force at the moment of the commit.
    pub required_consent: Option<ConsentId>,
    /// The version of the collection's record that says which models' templates are to be written; without it, whichever.
    pub collection: Option<Revision>,
    /// The job that asked for it.
    pub job_id: JobId,
    /// The job's reply, kept for a day.
    pub reply: Bytes,
    /// When the request was accepted, where nobody waited for it since: a subject erased after that is not enrolled.
    pub accepted_at: Option<Timestamp>,
    /// The present moment.
    pub now: Timestamp,
}

/// How an enrolment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is written.
    Committed(Revision),
    /// An earlier delivery of the job was; this is its reply.
    AlreadyDone(Bytes),
    /// The subject that should be new is there already.
    SubjectExists,
    /// The subject that should be there is not.
    SubjectGone,
    /// The collection is not there.
    CollectionGone,
    /// The collection's record has changed since it was read.
    CollectionChanged,
    /// The required consent is not on record or no longer in force.
    ConsentChanged,
    /// The subject was erased after the request had been accepted.
    Erased(Timestamp),
}

impl Subjects {
    /// Writes all of `e` or nothing. A subject that was erased may be enrolled anew.
    ///
    /// # Errors
    /// The store's; [`RepoError::VersionMismatch`] when an existing subject is not at the given version.
    pub async fn enrol(&self, e: &Enrolment) -> Result<Outcome, RepoError> {
        let h = self.handle(e.subject.id());
        if let Some(consent) = &e.consent {
            consents::index(&*self.store, &self.tenant, consent, h).await?;
        }
        let outcome = self.try_enrol(e, h).await;
        let refused =
            !matches!(outcome, Ok(Outcome::Committed(_) | Outcome::AlreadyDone(_)) | Err(RepoError::Store(_)));
        if let Some(consent) = e.consent.as_ref().filter(|_| refused)
            && self.store.get(&self.space, &consent_key(h, &consent.id)).await?.is_none()
        {
            consents::unindex(&*self.store, &self.tenant, std::slice::from_ref(&consent.id)).await?;
        }
        outcome
    }

    async fn try_enrol(&self, e: &Enrolment, h: SubjectHandle) -> Result<Outcome, RepoError> {
        let (done, subject) = (done_key(h, &e.job_id), subject_key(h));
        for _ in 0..ATTEMPTS {
            let mut commit = self.writes(e, h)?;
            if let Some(id) = &e.required_consent {
                let key = consent_key(h, id);
                match read::<Consent>(&*self.store, &self.space, &key).await? {
                    Some(c) if c.value.status(e.now) == ConsentStatus::Active => {
                        commit = commit.when(Precondition::Unchanged(key, c.version));
                    }
                    // Not before the other conditions are looked at: the job may be done, the collection gone.
                    _ => commit = commit.when(Precondition::Present(CONSENT_GONE.into())),
                }
            }
            if let Some(accepted) = e.accepted_at {
                let key = tombstone_key(h);
                match self.tombstone(h).await? {
                    Some((erased_at, _)) if erased_at > accepted => return Ok(Outcome::Erased(erased_at)),
                    stone => commit = commit.when(super::as_seen(&key, stone.map(|(_, version)| version))),
                }
            }
            let failed = match self.store.commit(&self.space, commit).await {
                Ok(revision) => return Ok(Outcome::Committed(revision)),
                Err(StoreError::Precondition { key }) => key,
                Err(e) => return Err(e.into()),
            };
            return Ok(match &e.subject {
                _ if failed == META => match self.store.get(&self.space, META).await? {
                    Some(_) if e.collection.is_some() => Outcome::CollectionChanged,
                    _ => Outcome::CollectionGone,
                },
                _ if failed == tombstone_key(h) => continue,
                _ if failed == done => match self.store.get(&self.space, &done).await? {
                    Some(record) => Outcome::AlreadyDone(record.value),
                    None => continue,
                },
                EnrolSubject::New(_) if failed == subject => Outcome::SubjectExists,
                EnrolSubject::Existing(..) if failed == subject => match self.store.get(&self.space, &subject).await? {
                    Some(_) => return Err(RepoError::VersionMismatch),
                    None => Outcome::SubjectGone,
                },
                _ => Outcome::ConsentChanged,
            });
        }
        Err(RepoError::Contended)
    }

    /// The commit without the condition on a required consent.
    fn writes(&self, e: &Enrolment, h: SubjectHandle) -> Result<Commit, RepoError> {
        let (done, subject) = (done_key(h, &e.job_id), subject_key(h));
        let collection = match e.collection {
            Some(version) => Precondition::Unchanged(META.into(), version),
            None => Precondition::Present(META.into()),
        };
        let mut commit = Commit::new().when(Precondition::Absent(done.clone())).when(collection);
        commit = match &e.subject {
            EnrolSubject::New(s) => commit
                .when(Precondition::Absent(subject.clone()))
                .put(&subject, encode(&subject, s)?)
                .delete(tombstone_key(h)),
            EnrolSubject::Existing(_, Some(version)) => commit.when(Precondition::Unchanged(subject, *version)),
            EnrolSubject::Existing(_, None) => commit.when(Precondition::Present(subject)),
        };
        for (face, templates) in &e.faces {
            let key = face_key(h, &face.id);
            commit = commit.put(&key, encode(&key, face)?).put(template_key(h, &face.id), templates.to_bytes());
        }
        for (face, crop) in &e.crops {
            commit = put_crop(commit, h, (face, crop))?;
        }
        if let Some(consent) = &e.consent {
            let key = consent_key(h, &consent.id);
            commit = commit.put(&key, encode(&key, consent)?);
        }
        Ok(commit.put(guard_key(h), "").put_until(done, e.reply.clone(), e.now.plus(DONE_KEPT)))
    }
}

/// A key that never exists.
const CONSENT_GONE: &str = "none";
