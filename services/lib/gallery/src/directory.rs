//! Who is in the index: subjects by handle and by id, their rows by face, and where those lie. Used by `flat.rs`.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{FaceId, SubjectId};
use parking_lot::{Mutex, RwLock};
use store::SubjectHandle;

use crate::{
    Permit, Query, RowKey, SubjectEntry,
    tally::{LeftOut, Tally, mark},
};

/// A subject as its rows refer to it.
pub struct SubjectSlot {
    /// Its name in the store's keys.
    pub handle: SubjectHandle,
    entry: RwLock<Arc<SubjectEntry>>,
    /// A bit for each purpose searched for, set while a consent covers it: what searches look at, since the consents
    /// themselves lie further away in memory than a row.
    open: AtomicU64,
}

impl SubjectSlot {
    /// What is known of the subject now.
    pub fn entry(&self) -> Arc<SubjectEntry> {
        Arc::clone(&self.entry.read())
    }

    /// Whether a consent covers the purpose with this mark, as of the latest search for it.
    pub fn is_open(&self, mark: u64) -> bool {
        self.open.load(Ordering::Relaxed) & mark != 0
    }

    fn set_open(&self, mark: Option<u64>, open: bool) {
        match mark {
            Some(mark) if open => drop(self.open.fetch_or(mark, Ordering::Relaxed)),
            Some(mark) => drop(self.open.fetch_and(!mark, Ordering::Relaxed)),
            None => {}
        }
    }
}

/// A row as blocks and candidate lists refer to it.
pub struct RowRef {
    /// Which face.
    pub face_id: FaceId,
    /// Whose.
    pub subject: Arc<SubjectSlot>,
}

#[cfg(test)]
impl RowRef {
    /// Anybody's.
    pub fn for_tests() -> Arc<Self> {
        let key = RowKey { handle: SubjectHandle([1; 16]), face_id: FaceId::new("f").unwrap() };
        let id = SubjectId::new("s").unwrap();
        let entry = Arc::new(SubjectEntry {
            id,
            external_id: None,
            metadata: domain::Metadata::default(),
            terms: Arc::default(),
        });
        Directory::default().add(&key, &entry, 0)
    }
}

struct Subject {
    slot: Arc<SubjectSlot>,
    /// In order of face id, each with its place in the index.
    rows: Vec<(Arc<RowRef>, u32)>,
}

/// Finds subjects by id without keeping the id twice.
struct ById(Arc<SubjectEntry>);

impl Borrow<SubjectId> for ById {
    fn borrow(&self) -> &SubjectId {
        &self.0.id
    }
}
impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}
impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}
impl Eq for ById {}

/// Subjects, their rows, and the places that are free.
#[derive(Default)]
pub struct Directory {
    subjects: HashMap<SubjectHandle, Subject>,
    by_id: HashMap<ById, SubjectHandle>,
    /// For every purpose searched for so far: what its searches leave out.
    tallies: Mutex<Vec<Tally>>,
    free: Vec<u32>,
    touched: usize,
    len: usize,
}

impl Directory {
    /// Bytes of bookkeeping per row and per subject, allocator's rounding included, roughly.
    pub const ROW_BYTES: usize = 120;
    /// See [`Self::ROW_BYTES`].
    pub const SUBJECT_BYTES: usize = 400;

    /// Rows.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Subjects with at least one row.
    pub fn subjects(&self) -> usize {
        self.subjects.len()
    }

    /// Places that have a row or once had one: those from here on were never used.
    pub const fn touched(&self) -> usize {
        self.touched
    }

    /// Whether there is such a row.
    pub fn contains(&self, handle: SubjectHandle, face_id: &FaceId) -> bool {
        self.subjects.get(&handle).is_some_and(|s| position(&s.rows, face_id).is_ok())
    }

    /// Where a row lies, if there is such a row.
    pub fn place_of(&self, handle: SubjectHandle, face_id: &FaceId) -> Option<u32> {
        let rows = &self.subjects.get(&handle)?.rows;
        position(rows, face_id).ok().map(|i| rows[i].1)
    }

    /// What is known of a subject that has rows.
    pub fn entry(&self, handle: SubjectHandle) -> Option<Arc<SubjectEntry>> {
        self.subjects.get(&handle).map(|s| s.slot.entry())
    }

    /// The row's reference and place: where it was, or a free place, or the one that `fresh` makes.
    pub fn place<E>(
        &mut self,
        key: &RowKey,
        entry: &Arc<SubjectEntry>,
        fresh: impl FnOnce(&mut Vec<u32>) -> Result<u32, E>,
    ) -> Result<(Arc<RowRef>, u32), E> {
        let known = self.subjects.get(&key.handle);
        let known = known.and_then(|s| position(&s.rows, &key.face_id).ok().map(|i| s.rows[i].clone()));
        let found = match known {
            Some(row) => row,
            None => {
                let place = match self.free.pop() {
                    Some(place) => place,
                    None => fresh(&mut self.free)?,
                };
                self.touched = self.touched.max(place as usize + 1);
                (self.add(key, entry, place), place)
            }
        };
        self.update(key.handle, Arc::clone(entry));
        Ok(found)
    }

    fn add(&mut self, key: &RowKey, entry: &Arc<SubjectEntry>, place: u32) -> Arc<RowRef> {
        let RowKey { handle, face_id } = key;
        let subject = self.subjects.entry(*handle).or_insert_with(|| Subject {
            slot: Arc::new(SubjectSlot {
                handle: *handle,
                entry: RwLock::new(Arc::clone(entry)),
                open: AtomicU64::new(0),
            }),
            rows: Vec::new(),
        });
        let row = Arc::new(RowRef { face_id: face_id.clone(), subject: Arc::clone(&subject.slot) });
        let at = position(&subject.rows, face_id).unwrap_or_else(|at| at);
        let (had, entry) = (subject.rows.len(), subject.slot.entry());
        subject.rows.insert(at, (Arc::clone(&row), place));
        self.len += 1;
        self.account(*handle, Some((&entry, had)), Some((&entry, had + 1)));
        row
    }

    /// Replaces what is known of a subject. Returns whether it has rows.
    pub fn update(&mut self, handle: SubjectHandle, entry: Arc<SubjectEntry>) -> bool {
        let Some(subject) = self.subjects.get(&handle) else { return false };
        let (rows, old) = (subject.rows.len(), std::mem::replace(&mut *subject.slot.entry.write(), Arc::clone(&entry)));
        if old.terms != entry.terms {
            self.account(handle, Some((&old, rows)), Some((&entry, rows)));
        }
        if self.by_id.get(&old.id).is_some_and(|h| *h == handle) {
            self.by_id.remove(&old.id);
        }
        self.by_id.insert(ById(entry), handle);
        true
    }

    /// Forgets a row. Returns its place, which is not free before [`Self::release`].
    pub fn remove(&mut self, handle: SubjectHandle, face_id: &FaceId) -> Option<u32> {
        let subject = self.subjects.get_mut(&handle)?;
        let at = position(&subject.rows, face_id).ok()?;
        let (_, place) = subject.rows.remove(at);
        self.len -= 1;
        let (left, entry) = (subject.rows.len(), subject.slot.entry());
        self.account(handle, Some((&entry, left + 1)), Some((&entry, left)));
        if left == 0 {
            self.forget(handle);
        }
        Some(place)
    }

    /// Forgets a subject. Returns the places of its rows, which are not free before [`Self::release`].
    pub fn remove_subject(&mut self, handle: SubjectHandle) -> Vec<u32> {
        let Some(subject) = self.forget(handle) else { return Vec::new() };
        self.len -= subject.rows.len();
        self.account(handle, Some((&subject.slot.entry(), subject.rows.len())), None);
        subject.rows.into_iter().map(|(_, place)| place).collect()
    }

    /// Forgets all subjects, like [`Self::remove_subject`].
    pub fn remove_all(&mut self) -> Vec<u32> {
        let places = self.subjects.values().flat_map(|s| s.rows.iter().map(|&(_, place)| place)).collect();
        self.subjects.clear();
        self.by_id.clear();
        self.tallies.get_mut().clear();
        self.len = 0;
        places
    }

    fn forget(&mut self, handle: SubjectHandle) -> Option<Subject> {
        let subject = self.subjects.remove(&handle)?;
        let id = &subject.slot.entry().id;
        if self.by_id.get(id).is_some_and(|h| *h == handle) {
            self.by_id.remove(id);
        }
        Some(subject)
    }

    /// Tells every tally of a subject whose terms or number of rows change. One without rows is not here.
    fn account(
        &mut self,
        handle: SubjectHandle,
        before: Option<(&SubjectEntry, usize)>,
        after: Option<(&SubjectEntry, usize)>,
    ) {
        let slot = self.subjects.get(&handle).map(|s| &s.slot);
        for (place, tally) in self.tallies.get_mut().iter_mut().enumerate() {
            if let Some((entry, rows)) = before.filter(|(_, rows)| *rows > 0) {
                tally.leave(handle, &entry.terms, rows);
            }
            if let Some((entry, rows)) = after.filter(|(_, rows)| *rows > 0) {
                tally.enter(handle, &entry.terms, rows);
                if let Some(slot) = slot {
                    slot.set_open(mark(place), tally.admits(&entry.terms));
                }
            }
        }
    }

    /// What a search under `permit` leaves out of the whole. The first one for a purpose looks at every subject.
    pub fn left_out(&self, permit: &Permit<'_>) -> LeftOut {
        let mut tallies = self.tallies.lock();
        let known = tallies.iter().position(|t| t.purpose == *permit.purpose);
        let at = known.unwrap_or_else(|| {
            let mut new = Tally::new(permit.purpose.clone());
            for (handle, subject) in &self.subjects {
                let entry = subject.slot.entry.read();
                new.enter(*handle, &entry.terms, subject.rows.len());
                subject.slot.set_open(mark(tallies.len()), new.admits(&entry.terms));
            }
            tallies.push(new);
            tallies.len() - 1
        });
        let end = |handle| {
            self.subjects.get(&handle).map_or(0, |s| {
                s.slot.set_open(mark(at), false);
                s.rows.len()
            })
        };
        match tallies.get_mut(at) {
            Some(tally) => LeftOut { mark: mark(at), ..tally.left_out(permit.at, end) },
            None => LeftOut { rows: 0, subjects: 0, at: permit.at, mark: None },
        }
    }

    /// Gives places back once their bytes are overwritten.
    pub fn release(&mut self, places: impl IntoIterator<Item = u32>) {
        self.free.extend(places);
    }

    /// Forgets which places are free, when all places are dropped.
    pub fn reset_places(&mut self) {
        self.free = Vec::new();
        self.touched = 0;
    }

    /// Places of the rows that `query`'s filters and its permit admit, in order, and the number of their subjects; `None`
    /// when the query has no filter.
    pub fn admitted(&self, query: &Query<'_>) -> Option<(Vec<u32>, usize)> {
        let mut subjects = 0;
        let mut places = Vec::new();
        let mut add = |subject: &Subject| {
            let entry = subject.slot.entry.read();
            let permitted = query.permit.is_none_or(|p| entry.terms.permit(p.purpose, p.at));
            if permitted && query.filter.is_none_or(|f| entry.metadata.satisfies(f)) {
                subjects += 1;
                places.extend(subject.rows.iter().map(|&(_, place)| place));
            }
        };
        match (query.subjects, query.filter) {
            (None, None) => return None,
            (Some(ids), _) => {
                let mut ids: Vec<&SubjectId> = ids.iter().collect();
                ids.sort_unstable();
                ids.dedup();
                let listed = ids.into_iter().filter_map(|id| self.by_id.get(id)).filter_map(|h| self.subjects.get(h));
                listed.for_each(&mut add);
            }
            (None, Some(_)) => self.subjects.values().for_each(&mut add),
        }
        places.sort_unstable();
        Some((places, subjects))
    }
}

fn position(rows: &[(Arc<RowRef>, u32)], face_id: &FaceId) -> Result<usize, usize> {
    rows.binary_search_by(|(row, _)| row.face_id.cmp(face_id))
}
