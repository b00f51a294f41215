//! Templates as the gallery reads them: a scan to begin with, then single records by the keys the feed names.

use std::sync::Arc;

use domain::{CollectionId, Consent, ConsentId, FaceId, FaceTemplates, Subject, TenantId};

use super::{RepoError, SubjectHandle, collections::META, damaged, decode, read, subjects::subject_key};
use crate::{Commit, Precondition, Record, Revision, Space, Store, StoreError};

/// The templates of one enrolled face.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateRow {
    /// Its key in the collection's space, as the feed names it.
    pub key: String,
    /// Whose it is.
    pub handle: SubjectHandle,
    /// Of which face.
    pub face_id: FaceId,
    /// One for each contract.
    pub templates: FaceTemplates,
    /// Revision that wrote them.
    pub version: Revision,
}

/// One subject by its handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectRow {
    /// Its handle.
    pub handle: SubjectHandle,
    /// The subject.
    pub subject: Subject,
}

/// One consent on record, whether or not its subject is enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldConsent {
    /// Whose.
    pub handle: SubjectHandle,
    /// The consent.
    pub consent: Consent,
}

/// What keys of the feed are read for.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// Keys of templates.
    pub templates: Vec<&'a str>,
    /// Subjects.
    pub subjects: Vec<SubjectHandle>,
    /// Keys of consents.
    pub consents: Vec<&'a str>,
}

/// What is now there, in the order asked for; nothing where it is gone.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// Templates.
    pub templates: Vec<Option<TemplateRow>>,
    /// Subjects.
    pub subjects: Vec<Option<Subject>>,
    /// Consents.
    pub consents: Vec<Option<Consent>>,
}

/// What a key of the change feed is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedKey {
    /// A template was put or is gone.
    Template {
        /// Whose.
        handle: SubjectHandle,
        /// Of which face.
        face_id: FaceId,
    },
    /// A subject was put or is gone.
    Subject {
        /// Which.
        handle: SubjectHandle,
    },
    /// A consent was put or is gone.
    Consent {
        /// Whose.
        handle: SubjectHandle,
        /// Which.
        consent_id: ConsentId,
    },
    /// The collection's record was put or is gone.
    Meta,
    /// Nothing a gallery holds.
    Other,
}

impl ChangedKey {
    /// Reads a key of a collection's space.
    #[must_use]
    pub fn parse(key: &str) -> Self {
        if key == META {
            return Self::Meta;
        }
        if let Some(handle) = key.strip_prefix("s/").and_then(|h| h.parse().ok()) {
            return Self::Subject { handle };
        }
        if let Some((handle, consent_id)) = parse_consent_key(key) {
            return Self::Consent { handle, consent_id };
        }
        parse_template_key(key).map_or(Self::Other, |(handle, face_id)| Self::Template { handle, face_id })
    }
}

/// The templates of one collection.
#[derive(Clone)]
pub struct Templates {
    store: Arc<dyn Store>,
    space: Space,
}

impl Templates {
    /// Of `collection` of `tenant`, whether or not it exists.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tenant: &TenantId, collection: &CollectionId) -> Self {
        Self { store, space: Space::collection(tenant, collection) }
    }

    /// The collection's space, whose feed tells of changes.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// Up to `limit` templates after the key `after`, and whether more follow.
    ///
    /// # Errors
    /// The store's.
    pub async fn scan_templates(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<TemplateRow>, bool), RepoError> {
        let page = self.store.scan(&self.space, "v/", after, limit).await?;
        let rows = page.records.into_iter().map(|(k, r)| row(k, &r)).collect::<Result<_, _>>()?;
        Ok((rows, page.more))
    }

    /// The template under a key of the feed, unless it is gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn template(&self, key: &str) -> Result<Option<TemplateRow>, RepoError> {
        self.store.get(&self.space, key).await?.map(|r| row(key.to_owned(), &r)).transpose()
    }

    /// Writes other templates of faces that are there, while the collection's record is still at this version. A face that
    /// has changed or gone meanwhile is left as it is; how many were written.
    ///
    /// # Errors
    /// [`RepoError::VersionMismatch`] when the collection's record is another one; the store's.
    pub async fn rewrite(&self, rows: &[TemplateRow], collection: Revision) -> Result<usize, RepoError> {
        let mut left: Vec<&TemplateRow> = rows.iter().collect();
        while !left.is_empty() {
            let mut commit = Commit::new().when(Precondition::Unchanged(META.into(), collection));
            for row in &left {
                let as_seen = Precondition::Unchanged(row.key.clone(), row.version);
                commit = commit.when(as_seen).put(&row.key, row.templates.to_bytes());
            }
            match self.store.commit(&self.space, commit).await {
                Ok(_) => return Ok(left.len()),
                Err(StoreError::Precondition { key }) if key == META => return Err(RepoError::VersionMismatch),
                Err(StoreError::Precondition { key }) => left.retain(|row| row.key != key),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(0)
    }

    /// What is now under these keys, read together.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(&self, wanted: &Wanted<'_>) -> Result<Present, RepoError> {
        let Wanted { templates, subjects, consents } = wanted;
        let owned = |keys: &[&str]| keys.iter().map(|&k| k.to_owned()).collect::<Vec<_>>();
        let subject_keys = subjects.iter().map(|&h| subject_key(h));
        let keys: Vec<String> = owned(templates).into_iter().chain(subject_keys).chain(owned(consents)).collect();
        let mut found = self.store.get_many(&self.space, &keys).await?.into_iter().zip(keys);
        let rows = found.by_ref().take(templates.len()).map(|(r, key)| r.map(|r| row(key, &r)).transpose());
        let templates = rows.collect::<Result<_, _>>()?;
        let people = found.by_ref().take(subjects.len()).map(|(r, key)| r.map(|r| decode(&key, &r.value)).transpose());
        let subjects = people.collect::<Result<_, _>>()?;
        let consents = found.map(|(r, key)| r.map(|r| decode(&key, &r.value)).transpose()).collect::<Result<_, _>>()?;
        Ok(Present { templates, subjects, consents })
    }

    /// Up to `limit` consents after the key `after`, and the key to go on after where more follow.
    ///
    /// # Errors
    /// The store's.
    pub async fn scan_consents(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<HeldConsent>, Option<String>), RepoError> {
        let page = self.store.scan(&self.space, "n/", after, limit).await?;
        let mut held = Vec::with_capacity(page.records.len());
        for (key, record) in &page.records {
            let (handle, _) = parse_consent_key(key).ok_or_else(|| damaged(key, &"not a consent's key"))?;
            held.push(HeldConsent { handle, consent: decode(key, &record.value)? });
        }
        Ok((held, page.records.into_iter().next_back().map(|(key, _)| key).filter(|_| page.more)))
    }

    /// The subject of a handle, unless it is gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn subject_by_handle(&self, handle: SubjectHandle) -> Result<Option<Subject>, RepoError> {
        Ok(read(&*self.store, &self.space, &subject_key(handle)).await?.map(|s| s.value))
    }

    /// Up to `limit` subjects after the handle `after`, and whether more follow.
    ///
    /// # Errors
    /// The store's.
    pub async fn scan_subjects(
        &self,
        after: Option<SubjectHandle>,
        limit: usize,
    ) -> Result<(Vec<SubjectRow>, bool), RepoError> {
        let after = after.map(subject_key);
        let page = self.store.scan(&self.space, "s/", after.as_deref(), limit).await?;
        let mut rows = Vec::with_capacity(page.records.len());
        for (key, record) in &page.records {
            let handle = key["s/".len()..].parse().map_err(|e| damaged(key, &e))?;
            rows.push(SubjectRow { handle, subject: decode(key, &record.value)? });
        }
        Ok((rows, page.more))
    }
}

fn parse_template_key(key: &str) -> Option<(SubjectHandle, FaceId)> {
    let (handle, face) = key.strip_prefix("v/")?.split_once('/')?;
    Some((handle.parse().ok()?, FaceId::new(face).ok()?))
}

fn parse_consent_key(key: &str) -> Option<(SubjectHandle, ConsentId)> {
    let (handle, id) = key.strip_prefix("n/")?.split_once('/')?;
    Some((handle.parse().ok()?, ConsentId::new(id).ok()?))
}

pub(super) fn row(key: String, record: &Record) -> Result<TemplateRow, RepoError> {
    let (handle, face_id) = parse_template_key(&key).ok_or_else(|| damaged(&key, &"not a template's key"))?;
    let templates = FaceTemplates::from_bytes(&record.value).map_err(|e| damaged(&key, &e))?;
    Ok(TemplateRow { key, handle, face_id, templates, version: record.version })
}
