//! What to write so that a few mentions and what they point to are gone: read as it is now, written on the condition
//! that it still is.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{ErrorCode, JobId, JobRecord, JobState, Problem, Timestamp};

use super::{Forgotten, Mentions, Reach, Target, target};
use crate::{
    Commit, Precondition, Record, StoreError,
    repo::{
        Versioned, bulk, encode,
        idempotency::{self, Kept},
        jobs, versioned,
    },
};

/// A commit and what it clears.
#[derive(Default)]
pub(super) struct Plan {
    pub commit: Commit,
    pub forgotten: Forgotten,
}

/// What the mentions point to, as it is now.
struct Found {
    /// By key.
    records: BTreeMap<String, Record>,
    /// Jobs that change, each put once.
    jobs: BTreeMap<JobId, (Versioned<JobRecord>, bool)>,
}

impl Mentions {
    pub(super) async fn plan(&self, mentions: &[String], reach: Reach, now: Timestamp) -> Result<Plan, StoreError> {
        let targets: Vec<(&String, Target)> = mentions.iter().filter_map(|key| Some((key, target(key)?))).collect();
        let mut found = self.read(&targets).await?;
        let mut plan = Plan::default();
        for (mention, target) in &targets {
            let gone = match target {
                Target::Job(job) => found.job(job, &mut plan),
                Target::Item(job, index) => found.item((job, *index), reach, &mut plan),
                Target::Answer(hash) => found.answer(hash, &mut plan)?,
            };
            if gone {
                plan.commit.ops.push(crate::Op::Erase { key: (*mention).clone() });
            }
        }
        for (id, (mut job, _)) in found.jobs.into_iter().filter(|(_, (_, changed))| *changed) {
            let key = jobs::key(&id);
            job.value.updated_at = now;
            let commit = std::mem::take(&mut plan.commit);
            let value = encode(&key, &job.value)?;
            plan.commit = commit.when(Precondition::Unchanged(key.clone(), job.version)).put_until(
                key,
                value,
                job.value.expires_at,
            );
        }
        Ok(plan)
    }

    async fn read(&self, targets: &[(&String, Target)]) -> Result<Found, StoreError> {
        let mut keys = std::collections::BTreeSet::new();
        for (_, target) in targets {
            match target {
                Target::Job(job) => keys.extend([jobs::key(job), jobs::result_key(job)]),
                Target::Item(job, n) => {
                    keys.extend([jobs::key(job), bulk::item_key(job, *n), bulk::item_result_key(job, *n)]);
                }
                Target::Answer(hash) => keys.extend([idempotency::slot_key(hash)]),
            }
        }
        let keys: Vec<String> = keys.into_iter().collect();
        let values = self.store.get_many(&self.space, &keys).await?;
        let records: BTreeMap<String, Record> =
            keys.into_iter().zip(values).filter_map(|(k, r)| Some((k, r?))).collect();
        let mut jobs = BTreeMap::new();
        for (_, target) in targets {
            let (Target::Job(id) | Target::Item(id, _)) = target else { continue };
            let key = jobs::key(id);
            if let Some(record) = records.get(&key) {
                jobs.insert(id.clone(), (versioned(&key, record)?, false));
            }
        }
        Ok(Found { records, jobs })
    }
}

impl Found {
    /// The job's result goes; of its problem the code stays.
    fn job(&mut self, id: &JobId, plan: &mut Plan) -> bool {
        let key = jobs::result_key(id);
        if self.records.contains_key(&key) {
            plan.forgotten.results += 1;
            plan.commit.ops.push(crate::Op::Erase { key });
        }
        if let Some((job, changed)) = self.jobs.get_mut(id)
            && let Some(problem) = &mut job.value.problem
        {
            *problem = Problem::new(problem.code, "what there was to say of it was erased");
            *changed = true;
        }
        true
    }

    /// A result becomes an empty one, which says that it was erased. An open item gets such a result at once.
    fn item(&mut self, (id, index): (&JobId, u32), reach: Reach, plan: &mut Plan) -> bool {
        let (item, result) = (bulk::item_key(id, index), bulk::item_result_key(id, index));
        let open = self.records.contains_key(&item);
        if open && reach == Reach::Kept {
            return false;
        }
        let ended = self.records.get(&result).is_some_and(|r| !r.value.is_empty());
        if !open && !ended {
            return true;
        }
        let commit = std::mem::take(&mut plan.commit);
        let Some((job, changed)) = self.jobs.get_mut(id) else {
            // Its job has expired, and it with it.
            plan.commit = commit.erase(item).erase(result);
            return true;
        };
        plan.commit = if open { commit.when(Precondition::Present(item.clone())).erase(item) } else { commit };
        plan.commit.ops.push(crate::Op::Put {
            key: result,
            value: Bytes::new(),
            expires_at: Some(job.value.expires_at),
        });
        if open {
            plan.forgotten.items += 1;
            if let Some(progress) = &mut job.value.progress {
                progress.failed += 1;
                if progress.is_complete() && !job.value.state.is_final() {
                    job.value.state = JobState::Succeeded;
                }
                *changed = true;
            }
        } else {
            plan.forgotten.results += 1;
        }
        true
    }

    /// The slot stays taken, so that a repetition does not do the work again.
    fn answer(&self, hash: &str, plan: &mut Plan) -> Result<bool, StoreError> {
        let key = idempotency::slot_key(hash);
        let Some(record) = self.records.get(&key) else { return Ok(true) };
        let Some(Kept { value, until }) = idempotency::without_answer(&key, record)? else { return Ok(true) };
        plan.forgotten.answers += 1;
        let commit = std::mem::take(&mut plan.commit);
        plan.commit = commit.when(Precondition::Unchanged(key.clone(), record.version)).put_until(key, value, until);
        Ok(true)
    }
}

/// The problem that stands where a result was erased.
#[must_use]
pub fn erased_result() -> Problem {
    Problem::new(ErrorCode::Erased, "the result was erased with a subject it told of")
}
