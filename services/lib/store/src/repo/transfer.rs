//! Whole subjects, out of one store and into another: with consents, faces and templates, as an export carries them.
//! The gateway reads pages of them for an export and writes them one by one for an import.

mod place;

use std::collections::HashMap;

use domain::{
    Collection, Consent, ConsentId, ContractId, EnrolledFace, FaceId, FaceTemplates, Subject, Template, Timestamp,
};

use self::place::Place;
use super::{
    ATTEMPTS, CropRecord, RepoError, SubjectHandle, Subjects,
    collections::META,
    consents::{self, consent_key},
    damaged, decode, read,
    retention::Seen,
    subjects::{Tombstone, seen_key, subject_key, tombstone_key},
    versioned,
};
use crate::{Record, StoreError};

/// Fewest records read at once.
const LEAST: usize = 64;

/// A subject with everything that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeSubject {
    /// The subject.
    pub subject: Subject,
    /// All its consents.
    pub consents: Vec<Consent>,
    /// All its faces, each with its template of the model that answers for the collection.
    pub faces: Vec<(EnrolledFace, Template)>,
    /// Retained crops of these faces, with the keys of their objects.
    pub crops: Vec<(FaceId, CropRecord)>,
    /// When it was last seen, if it ever was.
    pub seen_at: Option<Timestamp>,
}

/// How the import of a subject ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It is enrolled.
    Created {
        /// Its faces.
        faces: usize,
        /// Faces that the collection's quality gate does not admit; they were left out.
        left_out: usize,
        /// The crops that are on record now: the collection retains them, and a consent allows it. Their objects are to
        /// be written.
        crops: Vec<FaceId>,
    },
    /// A subject of this id is there already; it is as it was.
    Exists,
    /// A subject of this id was erased here, after the one in hand was made: it stays erased.
    Erased(Timestamp),
    /// The collection is not there.
    CollectionGone,
    /// A template is of another contract than the collection's, which is this one.
    OtherContract(ContractId),
    /// None of its consents is in force, serves one of the collection's purposes and states what the collection asks for.
    ConsentRequired,
    /// It has faces, and none passes the collection's quality gate.
    LowQuality,
}

type Records = Vec<(String, Record)>;

impl Subjects {
    /// Up to `limit` subjects, whole, after the cursor `after` in the order of their handles; with the cursor of the
    /// next page if there is one. What is being changed at this moment is given as before or after the change; of a
    /// face being removed, nothing.
    ///
    /// # Errors
    /// The store's.
    pub async fn whole(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<WholeSubject>, Option<String>), RepoError> {
        let (found, next) = self.list(after, limit).await?;
        let active = read::<Collection>(&*self.store, &self.space, META).await?.map(|c| c.value.contract);
        let handles: Vec<SubjectHandle> = found.iter().map(|s| self.handle(&s.value.id)).collect();
        let (Some(first), Some(last)) = (handles.first(), handles.last()) else { return Ok((Vec::new(), next)) };
        let faces = self.below("f", *first, *last, handles.len()).await?;
        let templates = self.below("v", *first, *last, handles.len()).await?;
        let crops = self.below("o", *first, *last, handles.len()).await?;
        // Last, so that a withdrawal which took faces away is not missing from what is told of those that are left.
        let consents = self.below("n", *first, *last, handles.len()).await?;
        let seen_keys: Vec<String> = handles.iter().map(|h| seen_key(*h)).collect();
        let seen = self.store.get_many(&self.space, &seen_keys).await?;
        let mut whole: Vec<WholeSubject> = found
            .into_iter()
            .map(|s| WholeSubject {
                subject: s.value,
                consents: Vec::new(),
                faces: Vec::new(),
                crops: Vec::new(),
                seen_at: None,
            })
            .collect();
        for ((whole, key), seen) in whole.iter_mut().zip(&seen_keys).zip(&seen) {
            whole.seen_at = seen.as_ref().map(|r| decode::<Seen>(key, &r.value)).transpose()?.map(|s| s.at);
        }
        let at: HashMap<String, usize> = handles.iter().enumerate().map(|(i, h)| (h.to_string(), i)).collect();
        let owner = |key: &str| at.get(key.split('/').nth(1).unwrap_or_default()).copied();
        let mut values: HashMap<&str, &Record> =
            templates.iter().filter_map(|(k, r)| Some((k.strip_prefix("v/")?, r))).collect();
        for (key, record) in &faces {
            let template = key.strip_prefix("f/").and_then(|k| values.remove(k));
            let (Some(i), Some(template)) = (owner(key), template) else { continue };
            let templates = FaceTemplates::from_bytes(&template.value).map_err(|e| damaged(key, &e))?;
            // Whoever was left behind by a promotion goes with the template there is.
            let chosen = templates.iter().next().map(Template::contract);
            let template = active.or(chosen).and_then(|c| templates.of_or_first(c)).cloned();
            let Some(template) = template else { continue };
            whole[i].faces.push((decode(key, &record.value)?, template));
        }
        for (key, record) in &crops {
            let face = key.rsplit('/').next().and_then(|id| FaceId::new(id).ok());
            let (Some(i), Some(face)) = (owner(key), face) else { continue };
            if whole[i].faces.iter().any(|(f, _)| f.id == face) {
                whole[i].crops.push((face, decode(key, &record.value)?));
            }
        }
        for (key, record) in &consents {
            if let Some(i) = owner(key) {
                whole[i].consents.push(decode(key, &record.value)?);
            }
        }
        Ok((whole, next))
    }

    /// The records of one kind of all subjects from `first` to `last`; `subjects` says how many those are.
    async fn below(
        &self,
        kind: &str,
        first: SubjectHandle,
        last: SubjectHandle,
        subjects: usize,
    ) -> Result<Records, StoreError> {
        let (prefix, end) = (format!("{kind}/"), format!("{kind}/{last}/"));
        let (mut records, mut after) = (Records::new(), format!("{kind}/{first}/"));
        loop {
            let page = self.store.scan(&self.space, &prefix, Some(&after), LEAST.max(subjects + 1)).await?;
            let more = page.more;
            for (key, record) in page.records {
                if key > end && !key.starts_with(&end) {
                    return Ok(records);
                }
                after.clone_from(&key);
                records.push((key, record));
            }
            if !more {
                return Ok(records);
            }
        }
    }

    /// Enrols a subject that comes whole, in one commit: under the conditions of an enrolment, as they are at that
    /// moment. A consent that is on record here stays as it is here; one whose id names another consent of this tenant
    /// gets an id of its own.
    ///
    /// # Errors
    /// The store's.
    pub async fn import(&self, whole: &WholeSubject, now: Timestamp) -> Result<ImportOutcome, RepoError> {
        let h = self.handle(&whole.subject.id);
        let mut consents: Vec<Consent> = whole.consents.iter().map(|c| self.own(whole, c)).collect();
        let mut claimed = false;
        for _ in 0..ATTEMPTS {
            let Some(place) = self.place_for(h, &consents).await? else { return Ok(ImportOutcome::CollectionGone) };
            let faces = match place.admits(whole, now) {
                Ok(faces) => faces,
                Err(refused) => {
                    if claimed {
                        self.release(h, &consents).await?;
                    }
                    return Ok(refused);
                }
            };
            if !claimed {
                claimed = true;
                if self.claim(&mut consents, h).await? {
                    continue;
                }
            }
            let crops = place.crops(whole, &faces, now);
            match self.store.commit(&self.space, place.writes(whole, h, &faces, &crops)?).await {
                Ok(_) => {
                    let left_out = whole.faces.len() - faces.len();
                    let crops = crops.into_iter().map(|(face, _)| face).collect();
                    return Ok(ImportOutcome::Created { faces: faces.len(), left_out, crops });
                }
                // Somebody was quicker, with this subject or with the collection: look again.
                Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

    /// The consent as one of this collection's.
    fn own(&self, whole: &WholeSubject, consent: &Consent) -> Consent {
        let (collection_id, subject_id) = (self.collection.clone(), whole.subject.id.clone());
        Consent { collection_id, subject_id, ..consent.clone() }
    }

    /// What is here now; `None` if the collection is not.
    async fn place_for(&self, h: SubjectHandle, consents: &[Consent]) -> Result<Option<Place>, RepoError> {
        let mut keys = vec![META.to_owned(), subject_key(h), tombstone_key(h)];
        keys.extend(consents.iter().map(|c| consent_key(h, &c.id)));
        let mut found = keys.iter().zip(self.store.get_many(&self.space, &keys).await?);
        let mut next = || found.next().and_then(|(key, record)| Some((key, record?)));
        let Some((_, meta)) = next() else { return Ok(None) };
        let collection = versioned(META, &meta)?;
        let there = next().is_some();
        let stone = next().map(|(key, stone)| versioned::<Tombstone>(key, &stone)).transpose()?;
        let mut known = Vec::with_capacity(consents.len());
        for consent in consents {
            known.push(match next() {
                Some((key, record)) => {
                    let here = versioned::<Consent>(key, &record)?;
                    (here.value, Some(here.version))
                }
                None => (consent.clone(), None),
            });
        }
        Ok(Some(Place { collection, there, stone, consents: known }))
    }

    /// Makes the consents findable by their ids; whether one had to get another id.
    async fn claim(&self, consents: &mut [Consent], h: SubjectHandle) -> Result<bool, RepoError> {
        let mut renamed = false;
        for consent in consents {
            while !consents::claim(&*self.store, &self.tenant, consent, h).await? {
                consent.id = ConsentId::generate();
                renamed = true;
            }
        }
        Ok(renamed)
    }

    /// Takes back what [`Self::claim`] made findable, where no record came of it.
    async fn release(&self, h: SubjectHandle, consents: &[Consent]) -> Result<(), RepoError> {
        let mut unused = Vec::new();
        for consent in consents {
            if self.store.get(&self.space, &consent_key(h, &consent.id)).await?.is_none() {
                unused.push(consent.id.clone());
            }
        }
        consents::unindex(&*self.store, &self.tenant, &unused).await
    }
}
