//! Items and results of jobs that consist of many: kept beside the job's record, worked off in any order, each result
//! written once. The gateway puts the items in, workers trade them for results, the gateway reads those out.

use bytes::Bytes;
use domain::{ErrorCode, JobId, JobRecord, JobState, Timestamp};

use super::{
    ATTEMPTS, Jobs, RepoError, encode,
    jobs::{key, result_key},
};
use crate::{Commit, Precondition, Revision, StoreError};

/// Bytes of items in one commit, roughly.
const COMMIT_BYTES: usize = 4 << 20;
/// Items in one commit.
const COMMIT_ITEMS: usize = 256;

/// An item's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemResult {
    /// Which item, from 0.
    pub index: u32,
    /// The reply, encoded.
    pub reply: Bytes,
    /// Whether it ended well.
    pub succeeded: bool,
}

impl Jobs {
    /// Puts all items and then the job's record. A crash in between leaves items that nobody works on and that expire.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`].
    pub async fn create_bulk(&self, job: &JobRecord, items: Vec<Bytes>) -> Result<Revision, RepoError> {
        // Once the record is there items are being worked off: a repetition must not bring them back.
        let begin = || Commit::new().when(Precondition::Absent(key(&job.id)));
        let put = async |commit: Commit| match self.store.commit(&self.space, commit).await {
            Err(StoreError::Precondition { .. }) => Err(RepoError::AlreadyExists("job")),
            done => Ok(done?),
        };
        let (mut commit, mut bytes) = (begin(), 0);
        for (index, item) in (0u32..).zip(items) {
            bytes += item.len();
            commit = commit.put_until(item_key(&job.id, index), item, job.expires_at);
            if bytes >= COMMIT_BYTES || commit.ops.len() >= COMMIT_ITEMS {
                put(std::mem::replace(&mut commit, begin())).await?;
                bytes = 0;
            }
        }
        if !commit.ops.is_empty() {
            put(commit).await?;
        }
        self.create(job).await
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
        for _ in 0..ATTEMPTS {
            let found = self.get(id).await?.ok_or(RepoError::NotFound(ErrorCode::JobNotFound))?;
            if found.value.state.is_final() {
                return Ok(found.value);
            }
            let mut job = found.value;
            let mut commit = Commit::new().when(Precondition::Unchanged(key(id), found.version));
            let mut progress = job.progress.unwrap_or_default();
            for result in results {
                let item = item_key(id, result.index);
                if self.store.get(&self.space, &item).await?.is_none() {
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
            }
            job.state = if progress.is_complete() { JobState::Succeeded } else { JobState::Running };
            job.progress = Some(progress);
            job.updated_at = now;
            let commit = commit.put_until(key(id), encode(&key(id), &job)?, job.expires_at);
            match self.store.commit(&self.space, commit).await {
                Ok(_) => return Ok(job),
                Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

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
fn item_key(id: &JobId, index: u32) -> String {
    format!("{}{index:010}", item_prefix(id))
}

fn item_result_key(id: &JobId, index: u32) -> String {
    format!("{}/{index:010}", result_key(id))
}

fn index_of(prefix: &str, key: &str) -> Option<u32> {
    key.strip_prefix(prefix)?.parse().ok()
}
