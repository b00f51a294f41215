//! Who may be learnt from at this moment: subjects with retained crops, whose consent in force that was given last allows
//! training, and who agreed to the purpose with a consent that allows it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use crops::{Crops, In};
use domain::{CollectionId, Consent, FaceId, Purpose, TenantId, Timestamp};
use store::{Collections, Revision, Space, Store, SubjectHandle, Templates};

use super::manifest::{Crop, DOCUMENT, Manifest, Part, Permission, SCHEMA, Subject};
use crate::Halt;

/// Consents read at once.
const PAGE: usize = 500;

/// Looks for permissions in the collections of a run.
pub struct Gate {
    store: Arc<dyn Store>,
    crops: Crops,
    tenant: TenantId,
    collections: Vec<CollectionId>,
    purpose: Option<Purpose>,
    /// Where the collections stood when permissions were last looked at.
    seen: parking_lot::Mutex<Option<Seen>>,
}

/// A look at permissions.
#[derive(Clone, PartialEq)]
struct Seen {
    revisions: Vec<Revision>,
    /// The first moment at which one of them ends by itself.
    until: Option<Timestamp>,
}

impl Gate {
    /// For a run.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        crops: Crops,
        tenant: TenantId,
        (collections, purpose): (Vec<CollectionId>, Option<Purpose>),
    ) -> Self {
        Self { store, crops, tenant, collections, purpose, seen: parking_lot::Mutex::default() }
    }

    /// Everybody who may be learnt from now, all as if to be learnt from.
    ///
    /// # Errors
    /// Store and objects that are away.
    pub async fn allowed(&self) -> Result<Manifest, Halt> {
        let now = Timestamp::now();
        let revisions = self.revisions().await?;
        let mut subjects = Vec::new();
        for collection in &self.collections {
            subjects.extend(self.of(collection, now).await?);
        }
        let ends = subjects.iter().flat_map(|s| s.consents.iter().filter_map(|c| c.expires_at));
        *self.seen.lock() = Some(Seen { revisions, until: ends.min() });
        Ok(Manifest {
            schema: SCHEMA.to_owned(),
            consents_at: now,
            purpose: self.purpose.clone(),
            collections: self.collections.clone(),
            subjects,
            unreadable: 0,
            sha256: String::new(),
        })
    }

    /// Whether everything in a manifest may still be learnt from. Cheap while nothing has changed.
    ///
    /// # Errors
    /// [`Halt::Changed`]; a store that is away.
    pub async fn still_allowed(&self, manifest: &Manifest) -> Result<(), Halt> {
        let revisions = self.revisions().await?;
        let unchanged =
            self.seen.lock().as_ref().is_some_and(|seen| {
                seen.revisions == revisions && seen.until.is_none_or(|until| Timestamp::now() < until)
            });
        if unchanged {
            return Ok(());
        }
        let now = self.allowed().await?;
        let crops = |m: &Manifest| -> HashSet<(CollectionId, String, FaceId)> {
            let of = |s: &Subject| {
                let (collection, handle) = (s.collection.clone(), s.handle.clone());
                s.crops.iter().map(move |c| (collection.clone(), handle.clone(), c.face.clone())).collect::<Vec<_>>()
            };
            m.subjects.iter().flat_map(of).collect()
        };
        if crops(manifest).is_subset(&crops(&now)) {
            return Ok(());
        }
        tracing::info!(document = DOCUMENT, "somebody in the dataset was erased or does not agree any more");
        *self.seen.lock() = None;
        Err(Halt::Changed)
    }

    async fn revisions(&self) -> Result<Vec<Revision>, Halt> {
        let mut revisions = Vec::with_capacity(self.collections.len());
        for collection in &self.collections {
            revisions.push(self.store.revision(&Space::collection(&self.tenant, collection)).await?);
        }
        Ok(revisions)
    }

    async fn of(&self, collection: &CollectionId, now: Timestamp) -> Result<Vec<Subject>, Halt> {
        let found = Collections::new(Arc::clone(&self.store)).get(&self.tenant, collection).await?;
        // One that is gone has nobody any more.
        let Some(found) = found.map(|c| c.value) else { return Ok(Vec::new()) };
        let purposes = self.purpose.as_ref().map_or(&found.purposes[..], std::slice::from_ref);
        let consents = self.consents(collection).await?;
        let mut crops: BTreeMap<String, Vec<Crop>> = BTreeMap::new();
        for (handle, face) in self.crops.listed(In { tenant: &self.tenant, collection }).await? {
            crops.entry(handle.to_string()).or_default().push(Crop { face, sha256: String::new() });
        }
        let mut subjects = Vec::new();
        for (handle, crops) in crops {
            let held: &[Consent] = consents.get(&handle).map_or(&[], Vec::as_slice);
            let consents = permissions(held, purposes, now);
            if !consents.is_empty() {
                let (collection, part) = (collection.clone(), Part::Train);
                subjects.push(Subject { collection, handle, part, consents, crops });
            }
        }
        Ok(subjects)
    }

    async fn consents(&self, collection: &CollectionId) -> Result<BTreeMap<String, Vec<Consent>>, Halt> {
        let templates = Templates::new(Arc::clone(&self.store), &self.tenant, collection);
        let (mut all, mut after) = (BTreeMap::<String, Vec<Consent>>::new(), None::<String>);
        loop {
            let (held, next) = templates.scan_consents(after.as_deref(), PAGE).await?;
            for one in held {
                let handle: SubjectHandle = one.handle;
                all.entry(handle.to_string()).or_default().push(one.consent);
            }
            after = next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }
}

/// The consents that allow training for one of these purposes; none where the subject does not agree.
fn permissions(held: &[Consent], purposes: &[Purpose], now: Timestamp) -> Vec<Permission> {
    if !Consent::allow_training(held, now) {
        return Vec::new();
    }
    let allows = |c: &&Consent| c.training_allowed && c.serves(purposes, now);
    let told = |c: &Consent| Permission { id: c.id.clone(), obtained_at: c.obtained_at, expires_at: c.expires_at };
    held.iter().filter(allows).map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn consent(id: &str, training: bool, purpose: &str, (obtained, end): (i64, Option<i64>)) -> Consent {
        let at = Timestamp::from_millis;
        let mut record = json!({
            "id": id, "collection_id": "c", "subject_id": "s", "purposes": [purpose], "method": "form",
            "training_allowed": training, "obtained_at": at(obtained), "recorded_at": at(obtained)
        });
        if let Some(end) = end {
            record["expires_at"] = json!(at(end));
        }
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn only_who_agrees_to_training_for_the_purpose_at_this_moment_is_in() {
        let now = Timestamp::from_millis(1_000);
        let purposes = ["doors".parse::<Purpose>().unwrap()];
        let ids = |held: &[Consent]| -> Vec<String> {
            permissions(held, &purposes, now).iter().map(|p| p.id.to_string()).collect()
        };
        let yes = consent("yes", true, "doors", (10, None));
        assert_eq!(ids(std::slice::from_ref(&yes)), ["yes"]);
        assert!(ids(&[]).is_empty());
        assert!(ids(&[consent("no", false, "doors", (10, None))]).is_empty());
        assert!(ids(&[consent("other", true, "payroll", (10, None))]).is_empty(), "agreed to something else");
        assert!(ids(&[consent("over", true, "doors", (10, Some(1_000)))]).is_empty(), "expired this moment");
        let later = consent("later", false, "doors", (20, None));
        assert!(ids(&[yes.clone(), later]).is_empty(), "the later word counts");
        let withdrawn = Consent { withdrawn_at: Some(now), ..yes };
        assert!(ids(&[withdrawn]).is_empty());
    }
}
