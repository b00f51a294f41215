//! Templates as the gallery reads them: a scan to begin with, then single records by the keys the feed names.

use std::sync::Arc;

use domain::{CollectionId, FaceId, Subject, Template, TenantId};

use super::{RepoError, SubjectHandle, collections::META, damaged, decode, read, subjects::subject_key};
use crate::{Record, Space, Store};

/// One enrolled template.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateRow {
    /// Its key in the collection's space, as the feed names it.
    pub key: String,
    /// Whose it is.
    pub handle: SubjectHandle,
    /// Of which face.
    pub face_id: FaceId,
    /// The template.
    pub template: Template,
}

/// One subject by its handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectRow {
    /// Its handle.
    pub handle: SubjectHandle,
    /// The subject.
    pub subject: Subject,
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

    /// What is now under these keys of templates and handles of subjects, in their order; nothing where it is gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(
        &self,
        templates: &[&str],
        subjects: &[SubjectHandle],
    ) -> Result<(Vec<Option<TemplateRow>>, Vec<Option<Subject>>), RepoError> {
        let keys: Vec<String> =
            templates.iter().map(|&k| k.to_owned()).chain(subjects.iter().map(|&h| subject_key(h))).collect();
        let mut found = self.store.get_many(&self.space, &keys).await?.into_iter().zip(keys);
        let rows = found.by_ref().take(templates.len()).map(|(r, key)| r.map(|r| row(key, &r)).transpose());
        let rows = rows.collect::<Result<_, _>>()?;
        let subjects = found.map(|(r, key)| r.map(|r| decode(&key, &r.value)).transpose());
        Ok((rows, subjects.collect::<Result<_, _>>()?))
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

fn row(key: String, record: &Record) -> Result<TemplateRow, RepoError> {
    let (handle, face_id) = parse_template_key(&key).ok_or_else(|| damaged(&key, &"not a template's key"))?;
    let template = Template::from_bytes(&record.value).map_err(|e| damaged(&key, &e))?;
    Ok(TemplateRow { key, handle, face_id, template })
}
