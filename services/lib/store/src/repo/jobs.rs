//! Jobs a caller may follow, with their results beside them; both end with the job's `expires_at`. The gateway
//! makes and reads them, whoever finishes the work ends them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{ErrorCode, JobId, JobRecord, JobState, Problem, TenantId, Timestamp};

use super::{Mention, RepoError, Versioned, encode, mentions, read, versioned};
use crate::{Commit, Precondition, Revision, Space, Store, StoreError};

const PREFIX: &str = "job/";

/// How often a change of a job that lost a race is tried again: every worker on a job of many items changes its record.
pub(super) const RACES: usize = 100;

/// Longest pause between two such attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The jobs of one tenant.
#[derive(Clone)]
pub struct Jobs {
    pub(super) store: Arc<dyn Store>,
    pub(super) space: Space,
}

impl Jobs {
    /// Of `tenant`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tenant: &TenantId) -> Self {
        Self { store, space: Space::tenant(tenant) }
    }

    /// Adds a job.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`].
    pub async fn create(&self, job: &JobRecord) -> Result<Revision, RepoError> {
        let key = key(&job.id);
        let absent = Precondition::Absent(key.clone());
        let commit = Commit::new().when(absent).put_until(&key, encode(&key, job)?, job.expires_at);
        match self.store.commit(&self.space, commit).await {
            Err(StoreError::Precondition { .. }) => Err(RepoError::AlreadyExists("job")),
            done => Ok(done?),
        }
    }

    /// The job of this id, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, id: &JobId) -> Result<Option<Versioned<JobRecord>>, RepoError> {
        Ok(read(&*self.store, &self.space, &key(id)).await?)
    }

    /// The raw reply of a job that succeeded.
    ///
    /// # Errors
    /// The store's.
    pub async fn result(&self, id: &JobId) -> Result<Option<Bytes>, RepoError> {
        Ok(self.store.get(&self.space, &result_key(id)).await?.map(|r| r.value))
    }

    /// Up to `limit` jobs by id (which sort by time), after the id `after`; with the cursor of the next page if
    /// there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Versioned<JobRecord>>, Option<String>), RepoError> {
        let after = after.map(|a| format!("{PREFIX}{a}"));
        let page = self.store.scan(&self.space, PREFIX, after.as_deref(), limit).await?;
        let next = page.records.last().filter(|_| page.more).map(|(k, _)| k[PREFIX.len()..].to_owned());
        let jobs = page.records.iter().map(|(k, r)| versioned(k, r)).collect::<Result<_, _>>()?;
        Ok((jobs, next))
    }

    /// Marks a queued job as begun.
    ///
    /// # Errors
    /// Job not found.
    pub async fn start(&self, id: &JobId, now: Timestamp) -> Result<JobRecord, RepoError> {
        let begin = |job: &mut JobRecord| {
            let queued = job.state == JobState::Queued;
            job.state = JobState::Running;
            Ok(queued)
        };
        self.change(id, now, (None, &[]), begin).await
    }

    /// Ends a job: with its reply, or with a problem. A job that has ended already, such as by cancellation,
    /// stays as it is. Returns the job as it is now.
    ///
    /// # Errors
    /// Job not found, also when it has expired.
    pub async fn finish(
        &self,
        id: &JobId,
        result: Result<Bytes, Problem>,
        now: Timestamp,
    ) -> Result<JobRecord, RepoError> {
        self.finish_about(id, result, &[], now).await
    }

    /// The same with the subjects that the result or the problem tells of.
    ///
    /// # Errors
    /// As [`Jobs::finish`].
    pub async fn finish_about(
        &self,
        id: &JobId,
        result: Result<Bytes, Problem>,
        about: &[Mention],
        now: Timestamp,
    ) -> Result<JobRecord, RepoError> {
        let (bytes, problem) = match result {
            Ok(bytes) => (Some(bytes), None),
            Err(problem) => (None, Some(problem)),
        };
        let end = |job: &mut JobRecord| {
            let open = !job.state.is_final();
            job.state = if problem.is_some() { JobState::Failed } else { JobState::Succeeded };
            job.problem.clone_from(&problem);
            Ok(open)
        };
        self.change(id, now, (bytes, about), end).await
    }

    /// Cancels a job that has not ended. Cancelling twice changes nothing.
    ///
    /// # Errors
    /// Job not found; [`RepoError::JobEnded`].
    pub async fn cancel(&self, id: &JobId, now: Timestamp) -> Result<JobRecord, RepoError> {
        let cancel = |job: &mut JobRecord| match job.state {
            JobState::Cancelled => Ok(false),
            state if state.is_final() => Err(RepoError::JobEnded),
            _ => {
                job.state = JobState::Cancelled;
                Ok(true)
            }
        };
        self.change(id, now, (None, &[]), cancel).await
    }

    /// Opens a job again that has failed, because its work is to be tried once more; the problem is forgotten. A job that
    /// has not failed stays as it is. Whether it was opened.
    ///
    /// # Errors
    /// Job not found, also when it has expired.
    pub async fn reopen(&self, id: &JobId, now: Timestamp) -> Result<bool, RepoError> {
        let opened = std::sync::atomic::AtomicBool::new(false);
        let open = |job: &mut JobRecord| {
            let failed = job.state == JobState::Failed;
            opened.store(failed, std::sync::atomic::Ordering::Relaxed);
            job.state = JobState::Queued;
            job.problem = None;
            Ok(failed)
        };
        self.change(id, now, (None, &[]), open).await?;
        Ok(opened.into_inner())
    }

    /// Applies `edit`, which says whether there is something to write, and stores `result` along with it.
    async fn change(
        &self,
        id: &JobId,
        now: Timestamp,
        (result, about): (Option<Bytes>, &[Mention]),
        edit: impl Fn(&mut JobRecord) -> Result<bool, RepoError> + Send,
    ) -> Result<JobRecord, RepoError> {
        let key = key(id);
        for attempt in 0..RACES {
            let found = self.get(id).await?.ok_or(RepoError::NotFound(ErrorCode::JobNotFound))?;
            let mut job = found.value.clone();
            if !edit(&mut job)? {
                return Ok(found.value);
            }
            job.updated_at = now;
            let unchanged = Precondition::Unchanged(key.clone(), found.version);
            let mut commit = Commit::new().when(unchanged).put_until(&key, encode(&key, &job)?, job.expires_at);
            if let Some(bytes) = &result {
                commit = commit.put_until(result_key(id), bytes.clone(), job.expires_at);
            }
            for mention in about {
                commit = commit.put_until(mentions::of_job(mention, id), "", job.expires_at);
            }
            match self.store.commit(&self.space, commit).await {
                Ok(_) => return Ok(job),
                Err(StoreError::Precondition { .. }) => pause(attempt).await,
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }
}

/// Waits a random moment, longer after more attempts, so that those who race do not meet again.
pub(super) async fn pause(attempt: usize) {
    let longest = LONGEST_PAUSE.min(Duration::from_millis(attempt as u64));
    // Without randomness they go on as they are.
    let part = getrandom::u32().map_or(0.0, |r| f64::from(r) / f64::from(u32::MAX));
    tokio::time::sleep(longest.mul_f64(part)).await;
}

pub(super) fn key(id: &JobId) -> String {
    format!("{PREFIX}{id}")
}

pub(super) fn result_key(id: &JobId) -> String {
    format!("jobresult/{id}")
}
