//! The index trait: what exact search needs of an engine. [`crate::FlatIndex`] is the one in memory; the worker's
//! search stage calls it through [`crate::CollectionGallery::index`].

use std::sync::Arc;

use domain::{FaceId, Metadata, Purpose, SubjectId, Template, Timestamp};
use store::SubjectHandle;

use crate::{GalleryError, Terms};

/// Which row: a subject's handle and one of its faces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// Whose row.
    pub handle: SubjectHandle,
    /// Which of the subject's faces.
    pub face_id: FaceId,
}

/// What an answer needs to know of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectEntry {
    /// Its id.
    pub id: SubjectId,
    /// The caller's own reference.
    pub external_id: Option<String>,
    /// Labels, for filters.
    pub metadata: Metadata,
    /// What its consents permit.
    pub terms: Arc<Terms>,
}

/// A template to be searched.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// Where it belongs.
    pub key: RowKey,
    /// Its values; unit length.
    pub template: &'a Template,
    /// Whose it is. Replaces what the index knew of the subject.
    pub subject: Arc<SubjectEntry>,
}

/// What a search is for, and when: only subjects whose consents permit that are compared.
#[derive(Clone, Copy, Debug)]
pub struct Permit<'a> {
    /// The purpose.
    pub purpose: &'a Purpose,
    /// The moment. One earlier than that of a search before counts as that one.
    pub at: Timestamp,
}

/// A search for the rows most like one probe.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The probe, unit length, in as many dimensions as the rows.
    pub values: &'a [f32],
    /// At most this many hits.
    pub limit: usize,
    /// Only rows that score at least this much.
    pub min_score: Option<f32>,
    /// One hit per subject, by its best row.
    pub unique_subjects: bool,
    /// Only subjects that carry all these labels.
    pub filter: Option<&'a Metadata>,
    /// Only these subjects; an empty list admits nobody.
    pub subjects: Option<&'a [SubjectId]>,
    /// Only subjects whose consents permit this; everybody without, which is for measurements alone.
    pub permit: Option<Permit<'a>>,
}

impl<'a> Query<'a> {
    /// The best `limit` subjects of the whole gallery.
    #[must_use]
    pub const fn new(values: &'a [f32], limit: usize) -> Self {
        Self { values, limit, min_score: None, unique_subjects: true, filter: None, subjects: None, permit: None }
    }
}

/// A row that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Whose row.
    pub subject: Arc<SubjectEntry>,
    /// Which face.
    pub face_id: FaceId,
    /// Cosine of probe and row: higher is more alike.
    pub score: f32,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hits {
    /// Best first; equal scores by face id, then by handle.
    pub hits: Vec<Hit>,
    /// Rows that were compared with the probe: those the filters and the permit admit.
    pub compared_rows: usize,
    /// Subjects that they admit: the size of the gallery this search had, for its false positive rate.
    pub compared_subjects: usize,
    /// Whether the best rows are certain to be among the hits.
    pub exact: bool,
}

/// Rows of one embedding contract, searched by cosine. All methods may be called from any thread at any time; a search
/// sees every row whose upsert returned before it began and none whose delete returned before it began.
pub trait Index: Send + Sync {
    /// Adds rows, replacing those with the same key.
    ///
    /// # Errors
    /// [`GalleryError::Dimension`], [`GalleryError::Contract`] or [`GalleryError::NotUnit`] for a row that does not
    /// belong, [`GalleryError::Full`] beyond 2³² rows. A row that does not belong leaves the index unchanged.
    fn upsert(&self, rows: &[Row<'_>]) -> Result<(), GalleryError>;

    /// Removes rows and overwrites their bytes. Returns how many there were.
    fn delete(&self, keys: &[RowKey]) -> usize;

    /// Removes all rows of a subject and overwrites their bytes. Returns how many there were.
    fn delete_subject(&self, handle: SubjectHandle) -> usize;

    /// Replaces what hits and filters know of a subject. Returns whether it has rows here.
    fn update_subject(&self, handle: SubjectHandle, subject: Arc<SubjectEntry>) -> bool;

    /// Finds the rows most like the probe.
    ///
    /// # Errors
    /// [`GalleryError::Dimension`] or [`GalleryError::NotUnit`] for a probe that cannot be compared.
    fn search(&self, query: &Query<'_>) -> Result<Hits, GalleryError>;

    /// Several searches in one pass over the rows; answers in the order of the queries, each the same as
    /// [`Index::search`] gives.
    ///
    /// # Errors
    /// As [`Index::search`], when any of the queries is refused.
    fn search_many(&self, queries: &[Query<'_>]) -> Result<Vec<Hits>, GalleryError>;

    /// Returns when the bytes of every row deleted before are overwritten and no search still reads them.
    fn erase_barrier(&self);

    /// Whether hits are certain to be the best rows.
    fn exact(&self) -> bool;

    /// Rows.
    fn len(&self) -> usize;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Subjects with at least one row.
    fn subjects(&self) -> usize;

    /// Memory held, in bytes, roughly.
    fn bytes(&self) -> usize;
}
