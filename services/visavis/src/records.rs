//! The records of jobs beside the dead letters: a job that is tried again is open again. Used by `visavis queue retry`.

use std::sync::Arc;

use domain::{JobId, JobState, Lane, TenantId, Timestamp};
use queue::{DeadLetter, Description, Queue};
use runtime::Config;
use runtime::config::StoreEngine;
use store::{Jobs, RepoError, Store};

use crate::engines;
use crate::failure::Failure;
use crate::sealing::Keys;

/// Where job records are, if that is in reach: an embedded store belongs to the process that has it open.
pub struct Records(Option<Arc<dyn Store>>);

impl Records {
    /// Those of the configured store.
    ///
    /// # Errors
    /// A server that is away or will not do, keys that are not the store's.
    pub async fn of(config: &Config, keys: &Keys) -> Result<Self, Failure> {
        match config.store.engine {
            StoreEngine::Redb => Ok(Self(None)),
            StoreEngine::Redis => Ok(Self(Some(engines::shared_store(config, keys).await?))),
        }
    }

    /// Puts a dead letter back on its lane, its job's record open again first: a worker ends only an open one. Whether
    /// it is back.
    ///
    /// # Errors
    /// A server that is away; a bulk job that has ended, of which there is nothing left to do.
    pub async fn retry(&self, queue: &Queue, lane: Lane, letter: &DeadLetter) -> Result<bool, Failure> {
        let about = queue::describe(letter);
        let record = about.as_ref().and_then(|about| self.record(about));
        let Some((jobs, id)) = record else { return back(queue, lane, letter).await };
        let found = jobs.get(&id).await.map_err(|e| away(&e))?.map(|found| found.value);
        let Some(job) = found else { return back(queue, lane, letter).await };
        if job.progress.is_some() {
            if job.state.is_final() {
                let detail = format!("bulk job {id} has ended, and its remaining items are gone; send those again");
                return Err(Failure::Usage(detail));
            }
            return back(queue, lane, letter).await;
        }
        let opened = jobs.reopen(&id, Timestamp::now()).await.map_err(|e| away(&e))?;
        let done = back(queue, lane, letter).await;
        if let (true, Ok(false) | Err(_), Some(problem)) =
            (opened, &done, job.problem.filter(|_| job.state == JobState::Failed))
        {
            jobs.finish(&id, Err(problem), Timestamp::now()).await.map_err(|e| away(&e))?;
        }
        done
    }

    /// The repository and id of the job whose record there is.
    fn record(&self, about: &Description) -> Option<(Jobs, JobId)> {
        let store = self.0.as_ref()?;
        let strand = about.kind.is_some_and(|kind| kind.starts_with("bulk_"));
        let id = match about.job_id.rsplit_once('.') {
            Some((job, _)) if strand => job,
            _ if about.keeps_result => &about.job_id,
            _ => return None,
        };
        Some((Jobs::new(Arc::clone(store), &TenantId::new(&about.tenant).ok()?), JobId::new(id).ok()?))
    }
}

async fn back(queue: &Queue, lane: Lane, letter: &DeadLetter) -> Result<bool, Failure> {
    queue.retry_dead_letter(lane, &letter.id).await.map_err(|e| Failure::Unavailable(e.to_string()))
}

fn away(e: &RepoError) -> Failure {
    Failure::Unavailable(e.to_string())
}
