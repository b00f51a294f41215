//! What nobody else deletes: objects whose enrolment died before its commit, whose record went by itself when a consent
//! ended, or whose collection keeps none any more. Run by every worker now and then; several at once do no harm.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use domain::{CollectionId, RetainCrops, TenantId, Timestamp};
use objects::Listed;

use crate::{
    Crops, CropsError, In,
    name::{Name, ROOT},
    some,
};

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects there were.
    pub looked_at: u64,
    /// Of these, deleted.
    pub deleted: u64,
    /// Objects that are no crops. Left alone.
    pub foreign: u64,
}

type Collections = HashMap<(TenantId, CollectionId), bool>;

impl Crops {
    /// Deletes objects that no record knows. Younger ones than `older` are left alone: the commit of their enrolment may
    /// be under way.
    ///
    /// # Errors
    /// The store's and the objects'.
    pub async fn sweep(&self, older: Duration) -> Result<Swept, CropsError> {
        let (mut swept, mut closed) = (Swept::default(), Collections::new());
        let mut listed = self.objects.list(ROOT);
        while let Some(objects) = some(&mut listed).await? {
            swept.looked_at += objects.len() as u64;
            let now = Timestamp::now();
            let mut old: HashMap<(TenantId, CollectionId), Vec<Listed>> = HashMap::new();
            for object in objects {
                match Name::parse(&object.name) {
                    None => swept.foreign += 1,
                    Some(_) if now.since(object.written_at) < older => {}
                    Some(name) => old.entry((name.tenant, name.collection)).or_default().push(object),
                }
            }
            for ((tenant, collection), objects) in &old {
                let at = In { tenant, collection };
                self.close(at, &mut closed).await?;
                let unknown = self.unknown(at, objects).await?;
                self.objects.delete(&unknown).await?;
                swept.deleted += unknown.len() as u64;
            }
        }
        Ok(swept)
    }

    /// Erases the records of a collection that keeps no crops: what an enrolment brought while the policy was changed.
    async fn close(&self, at: In<'_>, closed: &mut Collections) -> Result<(), CropsError> {
        let Entry::Vacant(entry) = closed.entry((at.tenant.clone(), at.collection.clone())) else { return Ok(()) };
        let records = self.records(at);
        let keeps = records.collection().await?.is_none_or(|c| c.retain_crops == RetainCrops::Training);
        if !*entry.insert(keeps) {
            records.erase_all().await?;
        }
        Ok(())
    }
}
