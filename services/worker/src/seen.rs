//! Who was seen: matched, or given further faces. Noted only of collections that let go of subjects nobody sees any more
//! (`retention.idle_days`), by the day, many at a time, so that no search writes. Called by jobs; written by a task of
//! [`crate::Worker::run`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use domain::{Collection, CollectionId, SubjectId, TenantId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::jobs::Desk;

/// How long notes are gathered before they are written.
const GATHER: Duration = Duration::from_secs(20);

/// Most subjects kept in mind; beyond them the sweep thinks a subject idle a little longer than it is, by one note.
const MOST: usize = 200_000;

/// Subjects by collection.
type Notes = BTreeMap<(TenantId, CollectionId), BTreeSet<SubjectId>>;

/// What was seen and is not written yet.
#[derive(Default)]
pub struct Seen {
    notes: Mutex<(usize, Notes)>,
    some: Notify,
}

impl Seen {
    /// A subject was seen just now.
    pub fn note(&self, tenant: &TenantId, collection: &Collection, subject: &SubjectId) {
        if collection.retention.idle_days.is_none() {
            return;
        }
        let mut notes = self.notes.lock();
        if notes.0 >= MOST {
            return;
        }
        let known = notes.1.entry((tenant.clone(), collection.id.clone())).or_default().insert(subject.clone());
        notes.0 += usize::from(known);
        drop(notes);
        self.some.notify_one();
    }

    fn take(&self) -> Notes {
        std::mem::take(&mut *self.notes.lock()).1
    }

    /// Puts back what could not be written.
    fn put_back(&self, place: (TenantId, CollectionId), subjects: BTreeSet<SubjectId>) {
        let mut notes = self.notes.lock();
        let (count, all) = &mut *notes;
        let of = all.entry(place).or_default();
        let before = of.len();
        of.extend(subjects);
        *count += of.len() - before;
    }

    /// Writes what was noted, a while after the first note, until `stop`.
    pub async fn keep(desk: &Desk, stop: CancellationToken) {
        let going_on = stop.run_until_cancelled(async {
            loop {
                desk.seen.some.notified().await;
                tokio::time::sleep(GATHER).await;
                desk.seen.write(desk).await;
            }
        });
        going_on.await;
        desk.seen.write(desk).await;
    }

    async fn write(&self, desk: &Desk) {
        for (place, subjects) in self.take() {
            let ids: Vec<SubjectId> = subjects.iter().cloned().collect();
            let written = desk.subjects(&place.0, &place.1).saw(&ids, Timestamp::now()).await;
            if let Err(error) = written {
                tracing::warn!(%error, "who was seen cannot be noted; it is tried again with the next");
                self.put_back(place, subjects);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(idle_days: Option<u32>) -> Collection {
        let at = Timestamp::from_millis(0);
        let json = serde_json::json!({
            "id": "staff", "purposes": ["a"], "retention": {"idle_days": idle_days},
            "contract": domain::ContractId::from_bytes([1; 16]), "created_at": at, "updated_at": at,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn nobody_is_noted_where_the_policy_does_not_need_it() {
        let (seen, tenant, anna) = (Seen::default(), "t".parse().unwrap(), "anna".parse().unwrap());
        seen.note(&tenant, &collection(None), &anna);
        assert!(seen.take().is_empty());
        seen.note(&tenant, &collection(Some(3)), &anna);
        seen.note(&tenant, &collection(Some(3)), &anna);
        let notes = seen.take();
        assert_eq!(notes.values().map(BTreeSet::len).collect::<Vec<_>>(), [1]);
        for (place, subjects) in notes {
            seen.put_back(place, subjects);
        }
        seen.note(&tenant, &collection(Some(3)), &anna);
        assert_eq!(seen.notes.lock().0, 1);
        assert_eq!(seen.take().len(), 1);
    }
}
