//! Which kept results and answers mention which subject, so that an erasure reaches exactly those. A mention is a key
//! in the tenant's space without a value, put in the commit that keeps what it points to, with the same end.
//!
//! `m/{collection}/{h}/j/{job}`: the result of a job, or its problem; with `/{n}` an item of a bulk job, open or ended;
//! `m/{collection}/{h}/i/{hash}`: the answer kept for an idempotency key.

mod plan;

pub use plan::erased_result;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use domain::{CollectionId, JobId, TenantId, Timestamp};

use super::{
    RepoError, SubjectHandle,
    collections::META,
    jobs::{RACES, pause},
    subjects::{subject_key, tombstone_key},
};
use crate::{Space, Store, StoreError};

const PREFIX: &str = "m/";

/// Mentions cleared by one commit.
const BATCH: usize = 100;

/// Up to so many subjects are looked for one by one; for more, all mentions of the collection are read once.
const FEW: usize = 64;

/// Keys of one page.
const PAGE: usize = 1_000;

/// A subject that a kept result or answer tells something of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mention {
    /// Its collection.
    pub collection: CollectionId,
    /// Its handle.
    pub handle: SubjectHandle,
}

/// Whose mentions.
#[derive(Clone, Copy, Debug)]
pub enum Whom<'a> {
    /// These subjects'.
    Subjects(&'a [SubjectHandle]),
    /// Everybody's.
    Everybody,
}

/// How far a clearing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What was kept.
    Kept,
    /// Also items of bulk jobs that have no result yet: they hold pictures of whom they are to enrol.
    Everything,
}

/// How much was cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Results of jobs and of items.
    pub results: u64,
    /// Answers of idempotency keys.
    pub answers: u64,
    /// Items that had no result.
    pub items: u64,
}

impl std::ops::AddAssign for Forgotten {
    fn add_assign(&mut self, more: Self) {
        self.results += more.results;
        self.answers += more.answers;
        self.items += more.items;
    }
}

/// What a mention points to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Job(JobId),
    Item(JobId, u32),
    Answer(String),
}

/// The mentions of one tenant.
#[derive(Clone)]
pub struct Mentions {
    store: Arc<dyn Store>,
    tenant: TenantId,
    space: Space,
}

impl Mentions {
    /// Of `tenant`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tenant: &TenantId) -> Self {
        Self { store, tenant: tenant.clone(), space: Space::tenant(tenant) }
    }

    /// How many there are.
    ///
    /// # Errors
    /// The store's.
    pub async fn count(&self, collection: &CollectionId, whom: Whom<'_>) -> Result<u64, RepoError> {
        Ok(self.find(collection, whom).await?.len() as u64)
    }

    /// Erases what mentions them. What stays says only that something was erased: a job its state, an item that it
    /// failed, an idempotency key that its request was carried out.
    ///
    /// # Errors
    /// The store's.
    pub async fn erase(
        &self,
        collection: &CollectionId,
        whom: Whom<'_>,
        reach: Reach,
        now: Timestamp,
    ) -> Result<Forgotten, RepoError> {
        let found = self.find(collection, whom).await?;
        let mut forgotten = Forgotten::default();
        for batch in found.chunks(BATCH) {
            forgotten += self.clear(batch, reach, now).await?;
        }
        Ok(forgotten)
    }

    /// To be called after something was kept that mentions these subjects: whoever of them has been erased meanwhile is
    /// cleared from it. Together with the order of an erasure, tombstone first and mentions after, nothing slips through.
    ///
    /// # Errors
    /// The store's.
    pub async fn settle(&self, mentions: &[Mention], now: Timestamp) -> Result<Forgotten, RepoError> {
        let mut forgotten = Forgotten::default();
        for mention in mentions.iter().collect::<BTreeSet<_>>() {
            let space = Space::collection(&self.tenant, &mention.collection);
            let keys = [META.to_owned(), subject_key(mention.handle), tombstone_key(mention.handle)];
            let [meta, subject, tombstone] = &self.store.get_many(&space, &keys).await?[..] else { continue };
            if meta.is_none() || (subject.is_none() && tombstone.is_some()) {
                let whom = Whom::Subjects(std::slice::from_ref(&mention.handle));
                forgotten += self.erase(&mention.collection, whom, Reach::Kept, now).await?;
            }
        }
        Ok(forgotten)
    }

    /// Keys of the mentions.
    async fn find(&self, collection: &CollectionId, whom: Whom<'_>) -> Result<Vec<String>, RepoError> {
        let all = format!("{PREFIX}{collection}/");
        match whom {
            Whom::Everybody => self.keys(&all, |_| true).await,
            Whom::Subjects(few) if few.len() <= FEW => {
                let mut found = Vec::new();
                for handle in few {
                    found.extend(self.keys(&format!("{all}{handle}/"), |_| true).await?);
                }
                Ok(found)
            }
            Whom::Subjects(many) => {
                let wanted: HashSet<String> = many.iter().map(ToString::to_string).collect();
                let begin = all.len();
                let theirs = |key: &str| key[begin..].split('/').next().is_some_and(|h| wanted.contains(h));
                self.keys(&all, theirs).await
            }
        }
    }

    async fn keys(&self, prefix: &str, wanted: impl Fn(&str) -> bool + Send) -> Result<Vec<String>, RepoError> {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self.store.keys(&self.space, prefix, after.as_deref(), PAGE).await?;
            after = page.keys.last().cloned();
            found.extend(page.keys.into_iter().filter(|key| wanted(key)));
            if !page.more {
                return Ok(found);
            }
        }
    }

    async fn clear(&self, mentions: &[String], reach: Reach, now: Timestamp) -> Result<Forgotten, RepoError> {
        for attempt in 0..RACES {
            let plan = self.plan(mentions, reach, now).await?;
            if plan.commit.ops.is_empty() {
                return Ok(plan.forgotten);
            }
            match self.store.commit(&self.space, plan.commit).await {
                Ok(_) => return Ok(plan.forgotten),
                Err(StoreError::Precondition { .. }) => pause(attempt).await,
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }
}

/// The mention of a subject by a job's result.
pub(super) fn of_job(mention: &Mention, job: &JobId) -> String {
    format!("{PREFIX}{}/{}/j/{job}", mention.collection, mention.handle)
}

/// The mention of a subject by an item of a bulk job.
pub(super) fn of_item(mention: &Mention, job: &JobId, index: u32) -> String {
    format!("{}/{index:010}", of_job(mention, job))
}

/// The mention of a subject by an answer kept under `slot`, a key of [`super::idempotency`].
pub(super) fn of_answer(mention: &Mention, slot: &str) -> String {
    let hash = slot.rsplit('/').next().unwrap_or(slot);
    format!("{PREFIX}{}/{}/i/{hash}", mention.collection, mention.handle)
}

fn target(key: &str) -> Option<Target> {
    let mut parts = key.split('/').skip(3);
    match (parts.next()?, parts.next()?, parts.next()) {
        ("j", job, None) => Some(Target::Job(JobId::new(job).ok()?)),
        ("j", job, Some(index)) => Some(Target::Item(JobId::new(job).ok()?, index.parse().ok()?)),
        ("i", hash, None) => Some(Target::Answer(hash.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_reads_back_as_what_it_points_to() {
        let mention = Mention { collection: "staff".parse().unwrap(), handle: SubjectHandle([7; 16]) };
        let job = JobId::generate();
        assert_eq!(target(&of_job(&mention, &job)), Some(Target::Job(job.clone())));
        assert_eq!(target(&of_item(&mention, &job, 12)), Some(Target::Item(job, 12)));
        assert_eq!(target(&of_answer(&mention, "idem/ab12")), Some(Target::Answer("ab12".into())));
        assert_eq!(target("m/staff/07/x/1"), None);
    }
}
