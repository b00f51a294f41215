//! Brings a gallery up to the store's revision: first by a scan, then by the change feed. Called by `galleries.rs`,
//! one caller at a time per collection.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use domain::{CollectionId, Subject, TenantId};
use sha2::{Digest, Sha256};
use store::{Change, ChangedKey, Changes, Collections, Revision, Store, SubjectHandle, Templates};

use crate::{GalleryError, RowKey, SubjectEntry, live::Live};

/// Records per page of a scan.
const PAGE: usize = 1_000;

/// Commits per reading of the feed.
const COMMITS: usize = 1_000;

/// What is known of every subject of a collection.
pub type Subjects = HashMap<SubjectHandle, Arc<SubjectEntry>>;

/// How far one reading of the feed came.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Changes up to here are applied. `erased` when rows went away: what else holds them must let go of them before
    /// the revision is declared reached.
    Applied { revision: Revision, erased: bool },
    /// The feed does not reach back this far: scan afresh.
    Trimmed,
    /// The collection is no longer there.
    Gone,
}

/// The store's side of one collection.
pub struct Source {
    store: Arc<dyn Store>,
    templates: Templates,
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub collection: CollectionId,
}

impl Source {
    /// Of a collection, whether or not it exists.
    pub fn new(store: &Arc<dyn Store>, tenant: &TenantId, collection: &CollectionId) -> Self {
        Self {
            templates: Templates::new(Arc::clone(store), tenant, collection),
            store: Arc::clone(store),
            tenant: tenant.clone(),
            collection: collection.clone(),
        }
    }

    /// Whether the collection exists.
    pub async fn exists(&self) -> Result<bool, GalleryError> {
        Ok(Collections::new(Arc::clone(&self.store)).get(&self.tenant, &self.collection).await?.is_some())
    }

    /// The collection's revision now.
    pub async fn revision(&self) -> Result<Revision, GalleryError> {
        Ok(self.store.revision(self.templates.space()).await?)
    }

    /// Tells this history's commit of a revision from any other history's; `None` when the feed no longer, or not
    /// yet, has it.
    pub async fn fingerprint(&self, revision: Revision) -> Result<Option<[u8; 32]>, GalleryError> {
        let Some(before) = revision.0.checked_sub(1) else { return Ok(None) };
        let Changes::Since(changes) = self.store.changes(self.templates.space(), Revision(before), 1).await? else {
            return Ok(None);
        };
        let commit = changes.first().filter(|c| c.revision == revision);
        Ok(commit.map(|c| {
            let mut hash = Sha256::new();
            hash.update(c.revision.0.to_le_bytes());
            for key in &c.keys {
                hash.update((key.len() as u64).to_le_bytes());
                hash.update(key);
            }
            hash.finalize().into()
        }))
    }

    /// All subjects.
    pub async fn subjects(&self) -> Result<Subjects, GalleryError> {
        let mut subjects = Subjects::new();
        let mut after = None;
        loop {
            let (rows, more) = self.templates.scan_subjects(after, PAGE).await?;
            after = rows.last().map(|r| r.handle);
            subjects.extend(rows.into_iter().map(|r| (r.handle, entry(r.subject))));
            if !more || after.is_none() {
                return Ok(subjects);
            }
        }
    }

    /// A gallery made by reading all templates. True at the revision the scan began at; what was committed during the
    /// scan is only partly in it, and all of it comes again with the feed.
    pub async fn scan(&self) -> Result<Live, GalleryError> {
        let revision = self.revision().await?;
        let subjects = self.subjects().await?;
        let live = Live::default();
        let mut after: Option<String> = None;
        loop {
            let (rows, more) = self.templates.scan_templates(after.as_deref(), PAGE).await?;
            after = rows.last().map(|r| r.key.clone());
            for row in rows {
                // A subject enrolled after its kind was read comes with the feed.
                if let Some(subject) = subjects.get(&row.handle) {
                    let key = RowKey { handle: row.handle, face_id: row.face_id };
                    live.put(key, &row.template, Arc::clone(subject))?;
                }
            }
            if !more || after.is_none() {
                live.advance(revision);
                return Ok(live);
            }
        }
    }

    /// Applies the next commits of the feed to `live`, without declaring them reached. May be broken off and repeated
    /// at any point.
    pub async fn step(&self, live: &Live) -> Result<Step, GalleryError> {
        let from = live.revision();
        let changes = match self.store.changes(self.templates.space(), from, COMMITS).await? {
            Changes::Since(changes) => changes,
            Changes::Trimmed => return Ok(Step::Trimmed),
        };
        // Called only when the store is ahead: an empty feed contradicts it.
        let Some(revision) = changes.last().map(|c| c.revision) else { return Ok(Step::Trimmed) };
        let mut erased = false;
        for key in distinct(&changes) {
            match ChangedKey::parse(key) {
                ChangedKey::Template { handle, face_id } => {
                    erased |= self.apply_template(live, key, RowKey { handle, face_id }).await?;
                }
                ChangedKey::Subject { handle } => match self.templates.subject_by_handle(handle).await? {
                    Some(subject) => live.update_subject(handle, &entry(subject)),
                    None => {
                        live.delete_subject(handle);
                        erased = true;
                    }
                },
                ChangedKey::Meta if !self.exists().await? => return Ok(Step::Gone),
                ChangedKey::Meta | ChangedKey::Other => {}
            }
        }
        Ok(Step::Applied { revision, erased })
    }

    /// Brings one row to what the store has now. Returns whether a template went away.
    async fn apply_template(&self, live: &Live, key: &str, row: RowKey) -> Result<bool, GalleryError> {
        let Some(found) = self.templates.template(key).await? else {
            live.delete(&row);
            return Ok(true);
        };
        let subject = match live.subject(row.handle) {
            Some(known) => Some(known),
            None => self.templates.subject_by_handle(row.handle).await?.map(entry),
        };
        match subject {
            Some(subject) => live.put(row, &found.template, subject),
            // Erased since: the feed tells of that later on, and then the row goes for good.
            None => Ok(false),
        }
    }

    /// Whether a template was erased after `revision`, or may have been.
    pub async fn erased_since(&self, revision: Revision) -> Result<bool, GalleryError> {
        let mut from = revision;
        loop {
            let Changes::Since(changes) = self.store.changes(self.templates.space(), from, COMMITS).await? else {
                return Ok(true);
            };
            let Some(last) = changes.last() else { return Ok(false) };
            from = last.revision;
            for key in distinct(&changes) {
                let template = matches!(ChangedKey::parse(key), ChangedKey::Template { .. });
                if template && self.templates.template(key).await?.is_none() {
                    return Ok(true);
                }
            }
        }
    }
}

fn distinct(changes: &[Change]) -> BTreeSet<&str> {
    changes.iter().flat_map(|c| &c.keys).map(String::as_str).collect()
}

fn entry(subject: Subject) -> Arc<SubjectEntry> {
    let Subject { id, external_id, metadata, .. } = subject;
    Arc::new(SubjectEntry { id, external_id, metadata })
}
