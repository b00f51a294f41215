//! Items and results of jobs that consist of many: kept beside the job's record, worked off in any order, each result
//! written once. The gateway puts the items in, workers trade them for results, the gateway reads those out.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use domain::{ErrorCode, JobId, JobRecord, JobState, Timestamp};

use super::{
    Jobs, Mention, RepoError, encode,
    jobs::{RACES, key, pause, result_key},
    mentions,
};
use crate::{Commit, Precondition, Revision, StoreError};

/// Bytes of items in one commit, roughly.
const COMMIT_BYTES: usize = 4 << 20;
/// Items in one commit.
const COMMIT_ITEMS: usize = 256;

/// How long attempts are remembered: longer than any job may take.
const TRIES_KEPT: Duration = Duration::from_secs(24 * 3600);

/// An item's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemResult {
    /// Which item, from 0.
    pub index: u32,
    /// The reply, encoded.
    pub reply: Bytes,
    /// Whether it ended well.
    pub succeeded: bool,
    /// The subjects it tells of.
    pub about: Vec<Mention>,
}

/// An item of a new job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewItem {
    /// The item, encoded.
    pub bytes: Bytes,
    /// Whose pictures it holds, where that is known.
    pub about: Option<Mention>,
}

impl From<Bytes> for NewItem {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, about: None }
    }
}

impl Jobs {
    /// Puts all items and then the job's record. A crash in between leaves items that nobody works on and that expire.
    /// A job that is there already keeps its items as they are.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`].
    pub async fn create_bulk<I: Into<NewItem> + Send>(
        &self,
        job: &JobRecord,
        items: Vec<I>,
    ) -> Result<Revision, RepoError> {
        let (mut commit, mut bytes) = (Commit::new(), 0);
        for (index, item) in (0u32..).zip(items) {
            let NewItem { bytes: item, about } = item.into();
            bytes += item.len();
            commit = commit.put_until(item_key(&job.id, index), item, job.expires_at);
            if let Some(mention) = &about {
                commit = commit.put_until(mentions::of_item(mention, &job.id, index), "", job.expires_at);
            }
            if bytes >= COMMIT_BYTES || commit.ops.len() >= COMMIT_ITEMS {
                self.put_items(&job.id, std::mem::take(&mut commit)).await?;
                bytes = 0;
            }
        }
        self.put_items(&job.id, commit).await?;
        self.create(job).await
    }

    /// Not beside a job that exists: its workers may have traded some of these for results already.
    async fn put_items(&self, id: &JobId, commit: Commit) -> Result<(), RepoError> {
        match self.store.commit(&self.space, commit.when(Precondition::Absent(key(id)))).await {
            Err(StoreError::Precondition { .. }) => Err(RepoError::AlreadyExists("job")),
            done => Ok(done.map(drop)?),
        }
    }

    /// Up to `limit` items without a result among those whose index leaves the remainder `strand` when divided by
    /// `strands`, in order.
    ///
    /// # Errors
    /// The store's.
    pub async fn open_items(
        &self,
        id: &JobId,
        (strand, strands): (u32, u32),
        limit: usize,
    ) -> Result<Vec<u32>, RepoError> {
        let prefix = item_prefix(id);
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self.store.keys(&self.space, &prefix, after.as_deref(), COMMIT_ITEMS).await?;
            let mine = page.keys.iter().filter_map(|k| index_of(&prefix, k)).filter(|i| i % strands.max(1) == strand);
            found.extend(mine.take(limit - found.len()));
            after = page.keys.last().cloned();
            if found.len() >= limit || !page.more {
                return Ok(found);
            }
        }
    }

    /// An item, unless it has a result.
    ///
    /// # Errors
    /// The store's.
    pub async fn item(&self, id: &JobId, index: u32) -> Result<Option<Bytes>, RepoError> {
        Ok(self.store.get(&self.space, &item_key(id, index)).await?.map(|r| r.value))
    }

    /// How often an attempt at an item was written down.
    ///
    /// # Errors
    /// The store's.
    pub async fn tries(&self, id: &JobId, index: u32) -> Result<u32, RepoError> {
        let record = self.store.get(&self.space, &try_key(id, index)).await?;
        Ok(record.and_then(|r| std::str::from_utf8(&r.value).ok()?.parse().ok()).unwrap_or(0))
    }

    /// Writes down one more attempt at an item, before it is made. One caller at a time works on an item.
    ///
    /// # Errors
    /// The store's.
    pub async fn note_try(&self, id: &JobId, index: u32, now: Timestamp) -> Result<(), RepoError> {
        let tries = self.tries(id, index).await? + 1;
        let commit = Commit::new().put_until(try_key(id, index), tries.to_string(), now.plus(TRIES_KEPT));
        self.store.commit(&self.space, commit).await?;
        Ok(())
    }

    /// Trades items for their results and counts them. An item that has a result already keeps that one. The job
    /// succeeds with its last item, whatever the items' outcomes. A job that has ended otherwise takes nothing any more.
    /// Returns the job as it is now.
    ///
    /// # Errors
    /// Job not found, also when it has expired.
    pub async fn finish_items(
        &self,
        id: &JobId,
        results: &[ItemResult],
        now: Timestamp,
    ) -> Result<JobRecord, RepoError> {
        for attempt in 0..RACES {
            let found = self.get(id).await?.ok_or(RepoError::NotFound(ErrorCode::JobNotFound))?;
            if found.value.state.is_final() {
                return Ok(found.value);
            }
            let mut job = found.value;
            let mut commit = Commit::new().when(Precondition::Unchanged(key(id), found.version));
            let mut progress = job.progress.unwrap_or_default();
            let mut seen = HashSet::new();
            for result in results.iter().filter(|r| seen.insert(r.index)) {
                let item = item_key(id, result.index);
                if self.store.keys(&self.space, &item, None, 1).await?.keys.is_empty() {
                    continue;
                }
                if result.succeeded {
                    progress.succeeded += 1;
                } else {
                    progress.failed += 1;
                }
                commit = commit.when(Precondition::Present(item.clone())).delete(item).put_until(
                    item_result_key(id, result.index),
                    result.reply.clone(),
                    job.expires_at,
                );
                for mention in &result.about {
                    commit = commit.put_until(mentions::of_item(mention, id, result.index), "", job.expires_at);
                }
            }
            job.state = if progress.is_complete() { JobState::Succeeded } else { JobState::Running };
            job.progress = Some(progress);
            job.updated_at = now;
            let commit = commit.put_until(key(id), encode(&key(id), &job)?, job.expires_at);
            match self.store.commit(&self.space, commit).await {
                Ok(_) => return Ok(job),
                Err(StoreError::Precondition { .. }) => pause(attempt).await,
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

    /// An empty result is one that was erased.
    /// Up to `limit` results by index, after the index `after`, and whether more follow.
    ///
    /// # Errors
    /// The store's.
    pub async fn item_results(
        &self,
        id: &JobId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<(Vec<(u32, Bytes)>, bool), RepoError> {
        let prefix = format!("{}/", result_key(id));
        let after = after.map(|i| item_result_key(id, i));
        let page = self.store.scan(&self.space, &prefix, after.as_deref(), limit).await?;
        let rows = page.records.into_iter().filter_map(|(k, r)| Some((index_of(&prefix, &k)?, r.value)));
        Ok((rows.collect(), page.more))
    }

    /// Forgets the items without a result: the job was cancelled. Their number.
    ///
    /// # Errors
    /// The store's.
    pub async fn drop_items(&self, id: &JobId) -> Result<usize, RepoError> {
        let mut dropped = 0;
        loop {
            let page = self.store.keys(&self.space, &item_prefix(id), None, COMMIT_ITEMS).await?;
            if page.keys.is_empty() {
                return Ok(dropped);
            }
            dropped += page.keys.len();
            self.store.commit(&self.space, page.keys.into_iter().fold(Commit::new(), Commit::delete)).await?;
        }
    }
}

fn item_prefix(id: &JobId) -> String {
    format!("jobitem/{id}/")
}

/// Padded, so that keys sort as numbers do.
pub(super) fn item_key(id: &JobId, index: u32) -> String {
    format!("{}{index:010}", item_prefix(id))
}

fn try_key(id: &JobId, index: u32) -> String {
    format!("jobtry/{id}/{index:010}")
}

pub(super) fn item_result_key(id: &JobId, index: u32) -> String {
    format!("{}/{index:010}", result_key(id))
}

fn index_of(prefix: &str, key: &str) -> Option<u32> {
    key.strip_prefix(prefix)?.parse().ok()
}
