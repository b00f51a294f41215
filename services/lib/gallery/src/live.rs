//! The gallery of one collection in memory: an index per embedding contract, and up to which revision of the store it
//! is true. Changed by the follower, filled by snapshots, searched by the worker.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use domain::{Consent, ConsentId, ContractId, FaceTemplates, Subject, Template};
use parking_lot::RwLock;
use store::{Mark, Revision, SubjectHandle};

use crate::{FlatIndex, GalleryError, Index, Row, RowKey, SubjectEntry, pool::Pool, terms::Register};

/// Indexes of one collection.
pub struct Live {
    pool: Arc<Pool>,
    mark: RwLock<Mark>,
    closed: AtomicBool,
    indexes: RwLock<HashMap<ContractId, Arc<FlatIndex>>>,
    register: RwLock<Register>,
}

impl Live {
    /// No rows, true at no revision; its scans are shared by the threads of `pool`.
    pub fn new(pool: &Arc<Pool>) -> Self {
        Self {
            pool: Arc::clone(pool),
            mark: RwLock::default(),
            closed: AtomicBool::new(false),
            indexes: RwLock::default(),
            register: RwLock::default(),
        }
    }

    /// Up to which commit this is true; later ones may show already.
    pub fn revision(&self) -> Revision {
        self.mark().revision
    }

    /// The same, with the history of the store it belongs to.
    pub fn mark(&self) -> Mark {
        *self.mark.read()
    }

    /// Declares the changes up to `mark` applied.
    pub fn advance(&self, mark: Mark) {
        let mut reached = self.mark.write();
        if mark.revision > reached.revision {
            *reached = mark;
        }
    }

    /// Overwrites every row, for good: searches that have not ended fail, and nothing can be put any more. Blocks until
    /// no search reads rows.
    pub fn close(&self) {
        {
            let indexes = self.indexes.write();
            self.closed.store(true, Ordering::Release);
            indexes.values().for_each(|i| i.close());
        }
        self.register.write().clear();
        self.erase_barrier();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The index of one contract, empty if no row of it came yet.
    pub fn index(&self, contract: ContractId) -> Arc<FlatIndex> {
        if let Some(index) = self.indexes.read().get(&contract) {
            return Arc::clone(index);
        }
        let mut indexes = self.indexes.write();
        let index = indexes.entry(contract).or_insert_with(|| Arc::new(FlatIndex::with_pool(contract, &self.pool)));
        if self.is_closed() {
            index.close();
        }
        Arc::clone(index)
    }

    /// All indexes that have or had rows.
    pub fn indexes(&self) -> Vec<Arc<FlatIndex>> {
        self.indexes.read().values().map(Arc::clone).collect()
    }

    /// Puts a face's templates into their contracts' indexes and out of all others. Returns whether a row went away or
    /// was replaced.
    pub fn put(
        &self,
        key: &RowKey,
        templates: &FaceTemplates,
        subject: &Arc<SubjectEntry>,
    ) -> Result<bool, GalleryError> {
        let mut replaced = false;
        for template in templates.iter() {
            let index = self.index(template.contract());
            let row = Row { key: key.clone(), template, subject: Arc::clone(subject) };
            // A face that gets a template of a further model has the others rewritten as they were.
            replaced |= index.contains(key) && !index.holds(&row);
            index.upsert(&[row])?;
        }
        for other in self.indexes().iter().filter(|i| templates.of(i.contract()).is_none()) {
            replaced |= other.delete(std::slice::from_ref(key)) > 0;
        }
        Ok(replaced)
    }

    /// Puts one template into its contract's index, whatever else there is of its face: rows of a snapshot come one by
    /// one.
    pub fn add(&self, key: RowKey, template: &Template, subject: Arc<SubjectEntry>) -> Result<(), GalleryError> {
        self.index(template.contract()).upsert(&[Row { key, template, subject }])
    }

    /// Removes a row wherever it is.
    pub fn delete(&self, key: &RowKey) {
        for index in self.indexes() {
            index.delete(std::slice::from_ref(key));
        }
    }

    /// Removes a subject's rows wherever they are.
    pub fn delete_subject(&self, handle: SubjectHandle) {
        for index in self.indexes() {
            index.delete_subject(handle);
        }
    }

    /// Removes every row, and who consented to what.
    pub fn clear(&self) {
        for index in self.indexes() {
            index.clear();
        }
        self.register.write().clear();
    }

    /// What is to be known of a subject with this record.
    pub fn entry(&self, handle: SubjectHandle, subject: Subject) -> Arc<SubjectEntry> {
        let Subject { id, external_id, metadata, .. } = subject;
        Arc::new(SubjectEntry { id, external_id, metadata, terms: self.register.read().terms(handle) })
    }

    /// Takes in what a consent is now; `None` when it is gone.
    pub fn set_consent(&self, handle: SubjectHandle, id: &ConsentId, consent: Option<&Consent>) {
        let terms = self.register.write().set(handle, id, consent);
        if let Some(known) = self.subject(handle) {
            self.update_subject(handle, &Arc::new(SubjectEntry { terms, ..(*known).clone() }));
        }
    }

    /// Replaces what is known of a subject.
    pub fn update_subject(&self, handle: SubjectHandle, subject: &Arc<SubjectEntry>) {
        for index in self.indexes() {
            index.update_subject(handle, Arc::clone(subject));
        }
    }

    /// What is known of a subject that has rows.
    pub fn subject(&self, handle: SubjectHandle) -> Option<Arc<SubjectEntry>> {
        self.indexes.read().values().find_map(|i| i.subject(handle))
    }

    /// Returns when no search still reads a row deleted before. Blocks.
    pub fn erase_barrier(&self) {
        for index in self.indexes() {
            index.erase_barrier();
        }
    }

    /// Rows of all contracts.
    pub fn len(&self) -> usize {
        self.indexes.read().values().map(|i| i.len()).sum()
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.indexes.read().values().map(|i| i.bytes()).sum::<usize>() + self.register.read().bytes()
    }
}
