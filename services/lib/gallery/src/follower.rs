//! Brings a gallery up to the store's revision: first by a scan, then by the change feed. Called by `galleries.rs`,
//! one caller at a time per collection.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

use domain::{CollectionId, TenantId};
use sha2::{Digest, Sha256};
use store::{
    Change, ChangedKey, Changes, Collections, Mark, Present, Revision, Store, SubjectHandle, Templates, Wanted,
};

use crate::{GalleryError, RowKey, SubjectEntry, live::Live};

/// Records per page of a scan.
const PAGE: usize = 2_000;

/// Commits per reading of the feed.
const COMMITS: usize = 1_000;

/// Changed keys read together.
const KEYS: usize = 1_000;

/// What is known of every subject of a collection.
pub type Subjects = HashMap<SubjectHandle, Arc<SubjectEntry>>;

/// How far one reading of the feed came.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Changes up to here are applied. `erased` when rows went away: what else holds them must let go of them before
    /// the revision is declared reached.
    Applied { mark: Mark, erased: bool },
    /// The feed does not reach back this far, or tells of another history: scan afresh.
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

    /// Where the collection stands now.
    pub async fn mark(&self) -> Result<Mark, GalleryError> {
        Ok(self.store.mark(self.templates.space()).await?)
    }

    /// Tells this history's commit of a revision from any other history's, also in another store; with its token.
    /// `None` when the feed no longer, or not yet, has it.
    pub async fn fingerprint(&self, revision: Revision) -> Result<Option<([u8; 32], u64)>, GalleryError> {
        let Some(before) = revision.0.checked_sub(1) else { return Ok(None) };
        let Changes::Since(changes) = self.store.changes(self.templates.space(), Revision(before), 1).await? else {
            return Ok(None);
        };
        let commit = changes.first().filter(|c| c.revision == revision);
        Ok(commit.map(|c| {
            let mut hash = Sha256::new();
            hash.update(c.revision.0.to_le_bytes());
            hash.update(c.token.to_le_bytes());
            for key in &c.keys {
                hash.update((key.len() as u64).to_le_bytes());
                hash.update(key);
            }
            (hash.finalize().into(), c.token)
        }))
    }

    /// All subjects, with what their consents permit; `live` learns of every consent.
    pub async fn subjects(&self, live: &Live) -> Result<Subjects, GalleryError> {
        let mut after: Option<String> = None;
        loop {
            let (held, more) = self.templates.scan_consents(after.as_deref(), PAGE).await?;
            held.iter().for_each(|c| live.set_consent(c.handle, &c.consent.id, Some(&c.consent)));
            after = more;
            if after.is_none() {
                break;
            }
        }
        let mut subjects = Subjects::new();
        let mut after = None;
        loop {
            let (rows, more) = self.templates.scan_subjects(after, PAGE).await?;
            after = rows.last().map(|r| r.handle);
            subjects.extend(rows.into_iter().map(|r| (r.handle, live.entry(r.handle, r.subject))));
            if !more || after.is_none() {
                return Ok(subjects);
            }
        }
    }

    /// Fills an empty gallery by reading all templates. True at the revision the scan began at; what was committed during the
    /// scan is only partly in it, and all of it comes again with the feed.
    pub async fn scan(&self, live: Live) -> Result<Live, GalleryError> {
        let mark = self.mark().await?;
        let subjects = self.subjects(&live).await?;
        let mut after: Option<String> = None;
        loop {
            let (rows, more) = self.templates.scan_templates(after.as_deref(), PAGE).await?;
            after = rows.last().map(|r| r.key.clone());
            for row in rows {
                // A subject enrolled after its kind was read comes with the feed.
                if let Some(subject) = subjects.get(&row.handle) {
                    let key = RowKey { handle: row.handle, face_id: row.face_id };
                    live.put(&key, &row.templates, subject)?;
                }
            }
            if !more || after.is_none() {
                live.advance(mark);
                return Ok(live);
            }
        }
    }

    /// Applies the next commits of the feed to `live`, without declaring them reached. May be broken off and repeated
    /// at any point.
    pub async fn step(&self, live: &Live) -> Result<Step, GalleryError> {
        let from = live.mark();
        // The last commit applied comes again: it tells whether the store has gone another way since.
        let before = Revision(from.revision.0.saturating_sub(1));
        let mut changes = match self.store.changes(self.templates.space(), before, COMMITS + 1).await? {
            Changes::Since(changes) => changes,
            Changes::Trimmed => return Ok(Step::Trimmed),
        };
        if from.revision > before {
            let known = changes.first().map(|c| Mark { revision: c.revision, token: c.token });
            if !known.is_some_and(|k| k.is(from)) {
                return Ok(Step::Trimmed);
            }
            changes.remove(0);
        }
        // Called only when the store is ahead: an empty feed contradicts it.
        let Some(last) = changes.last() else { return Ok(Step::Trimmed) };
        let mark = Mark { revision: last.revision, token: last.token };
        let keys = Vec::from_iter(distinct(&changes));
        if keys.iter().any(|k| ChangedKey::parse(k) == ChangedKey::Meta) && !self.exists().await? {
            return Ok(Step::Gone);
        }
        let mut erased = false;
        for keys in keys.chunks(KEYS) {
            erased |= self.apply(live, keys).await?;
        }
        Ok(Step::Applied { mark, erased })
    }

    /// Brings what these keys are about to what the store has now. Returns whether a template went away.
    async fn apply(&self, live: &Live, keys: &[&str]) -> Result<bool, GalleryError> {
        let (mut rows, mut consents, mut wanted) = (Vec::new(), Vec::new(), Wanted::default());
        for key in keys {
            match ChangedKey::parse(key) {
                ChangedKey::Template { handle, face_id } => {
                    rows.push(RowKey { handle, face_id });
                    wanted.templates.push(*key);
                }
                ChangedKey::Subject { handle } => wanted.subjects.push(handle),
                ChangedKey::Consent { handle, consent_id } => {
                    consents.push((handle, consent_id));
                    wanted.consents.push(*key);
                }
                ChangedKey::Meta | ChangedKey::Other => {}
            }
        }
        let found = self.templates.read(&wanted).await?;
        // Before the subjects, which are made with what their consents permit.
        for ((handle, id), consent) in consents.iter().zip(&found.consents) {
            live.set_consent(*handle, id, consent.as_ref());
        }
        let Present { templates, subjects, .. } = found;
        let known = wanted.subjects.into_iter().zip(subjects);
        let mut subjects: HashMap<SubjectHandle, Option<Arc<SubjectEntry>>> =
            known.map(|(handle, s)| (handle, s.map(|s| live.entry(handle, s)))).collect();
        let mut erased = false;
        for (handle, subject) in &subjects {
            match subject {
                Some(subject) => live.update_subject(*handle, subject),
                None => {
                    live.delete_subject(*handle);
                    erased = true;
                }
            }
        }
        self.add_others(live, &mut subjects, &rows).await?;
        for (row, template) in rows.into_iter().zip(templates) {
            let known = subjects.get(&row.handle).cloned().flatten();
            erased |= match (template, known) {
                (Some(found), Some(subject)) => live.put(&row, &found.templates, &subject)?,
                // The subject was erased since: the feed tells of that later on, and then the row goes for good.
                (Some(_), None) => false,
                (None, _) => {
                    live.delete(&row);
                    true
                }
            };
        }
        Ok(erased)
    }

    /// Adds the subjects of `rows` that the feed does not name: as the gallery knows them, or else from the store. Before
    /// any row goes away, because a subject goes with its last row.
    async fn add_others(
        &self,
        live: &Live,
        subjects: &mut HashMap<SubjectHandle, Option<Arc<SubjectEntry>>>,
        rows: &[RowKey],
    ) -> Result<(), GalleryError> {
        let mut unknown = Vec::new();
        for handle in rows.iter().map(|r| r.handle).collect::<BTreeSet<_>>() {
            if let Entry::Vacant(place) = subjects.entry(handle) {
                match live.subject(handle) {
                    Some(known) => drop(place.insert(Some(known))),
                    None => unknown.push(handle),
                }
            }
        }
        if !unknown.is_empty() {
            let wanted = Wanted { subjects: unknown, ..Wanted::default() };
            let found = self.templates.read(&wanted).await?.subjects;
            let found = wanted.subjects.into_iter().zip(found);
            subjects.extend(found.map(|(handle, s)| (handle, s.map(|s| live.entry(handle, s)))));
        }
        Ok(())
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
            let template = |key: &&str| matches!(ChangedKey::parse(key), ChangedKey::Template { .. });
            let keys: Vec<&str> = distinct(&changes).into_iter().filter(template).collect();
            for keys in keys.chunks(KEYS) {
                let wanted = Wanted { templates: keys.to_vec(), ..Wanted::default() };
                if self.templates.read(&wanted).await?.templates.contains(&None) {
                    return Ok(true);
                }
            }
        }
    }
}

fn distinct(changes: &[Change]) -> BTreeSet<&str> {
    changes.iter().flat_map(|c| &c.keys).map(String::as_str).collect()
}
