//! Training runs that collections start by themselves: after an enrolment that retained crops the new ones are counted, and
//! a run is appended where there are enough. Of all workers one appends it: its record and the note of the collection's last
//! run are one commit, made from the note that the count was made from. Woken by `jobs/enrol.rs`.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{BaseModel, Collection, CollectionId, Lane, RetainCrops, RunId, TenantId, Timestamp};
use parking_lot::Mutex;
use queue::{Queue, QueueError};
use store::{Collections, CropRecords, Lease, RepoError, RunOrigin, RunRecord, Runs};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::jobs::Desk;

/// Enrolments that follow each other are counted together.
const GATHER: Duration = Duration::from_secs(1);

/// Time between two looks for what a worker that died left.
const ROUND: Duration = Duration::from_secs(60);
/// How long one worker makes these rounds after its last.
const LEASE: Duration = Duration::from_secs(150);
/// Time between two looks at the policies of all collections.
const ALL: Duration = Duration::from_secs(600);

/// A run is its gateway's to put on the lane for so long.
const UNSENT: Duration = Duration::from_secs(30);

/// Collections read at a time.
const PAGE: usize = 100;

/// Collections whose crops are to be counted.
#[derive(Debug, Default)]
pub struct Due {
    collections: Mutex<HashSet<(TenantId, CollectionId)>>,
    wake: Notify,
}

impl Due {
    /// Crops were retained in a collection.
    pub fn retained(&self, tenant: &TenantId, collection: &Collection) {
        if collection.training.auto {
            self.collections.lock().insert((tenant.clone(), collection.id.clone()));
            self.wake.notify_one();
        }
    }
}

/// Why a count or a round broke off; the next one tries again.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] RepoError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Counts and makes rounds until `stop`.
pub async fn keep(desk: Arc<Desk>, queue: Queue, stop: CancellationToken) {
    let lease = Lease::new(Arc::clone(&desk.store), "training", &desk.word.name, LEASE);
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked_at_all = None::<Instant>;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = desk.due.wake.notified() => {
                tokio::time::sleep(GATHER).await;
                let due = std::mem::take(&mut *desk.due.collections.lock());
                for (tenant, collection) in due {
                    log(count(&desk, &queue, &tenant, &collection).await);
                }
            }
            _ = rounds.tick() => {
                if !lease.take(Timestamp::now()).await.unwrap_or(false) {
                    continue;
                }
                log(send_what_was_not_sent(&desk, &queue).await);
                if looked_at_all.is_none_or(|at| at.elapsed() >= ALL) {
                    looked_at_all = Some(Instant::now());
                    log(count_all(&desk, &queue).await);
                }
            }
        }
    }
}

/// Appends a run if a collection's policy asks for one by now.
async fn count(desk: &Desk, queue: &Queue, tenant: &TenantId, id: &CollectionId) -> Result<(), Broken> {
    let Some(found) = Collections::new(Arc::clone(&desk.store)).get(tenant, id).await? else { return Ok(()) };
    let (policy, crops) = (found.value.training, found.value.retain_crops);
    if !policy.auto || crops == RetainCrops::None {
        return Ok(());
    }
    let runs = Runs::new(Arc::clone(&desk.store), tenant);
    let last = runs.last(id).await?;
    if let Some(last) = &last
        && runs.get(&last.value.run).await?.is_some_and(|run| !run.value.state.is_final())
    {
        return Ok(());
    }
    let since = last.as_ref().map(|last| last.value.at);
    let new = CropRecords::new(Arc::clone(&desk.store), tenant, id).count_since(since).await?;
    if new < u64::from(policy.new_templates) {
        return Ok(());
    }
    let run = RunRecord {
        origin: RunOrigin::Policy,
        ..RunRecord::new(RunId::generate(), vec![id.clone()], policy.recipe, BaseModel::champion())
    };
    match runs.create_after(&run, id, last.map(|last| last.version)).await {
        Ok(_) => {
            tracing::info!(run = %run.id, collection = %id, new, "enough new crops for a training run");
            send(&runs, queue, (tenant, &run)).await
        }
        // Another worker's count was quicker.
        Err(RepoError::AlreadyExists(_)) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

async fn send(runs: &Runs, queue: &Queue, (tenant, run): (&TenantId, &RunRecord)) -> Result<(), Broken> {
    queue.submit(Lane::Train, &wire::train_envelope(tenant, &run.id, run.recipe, run.key.as_ref())).await?;
    runs.change(&run.id, |run| Ok(!std::mem::replace(&mut run.submitted, true))).await?;
    Ok(())
}

/// Runs whose maker died before it put them on the lane, and what is left of those that have ended.
async fn send_what_was_not_sent(desk: &Desk, queue: &Queue) -> Result<(), Broken> {
    let now = Timestamp::now();
    for (tenant, id) in Runs::open(&*desk.store).await? {
        let runs = Runs::new(Arc::clone(&desk.store), &tenant);
        match runs.get(&id).await?.map(|found| found.value) {
            None => runs.unlist_lost(&id, now).await?,
            Some(run) if run.state.is_final() => runs.unlist(&id).await?,
            Some(run) if !run.submitted && now.since(run.created_at) > UNSENT => {
                tracing::info!(run = %id, "a training run that was never put on the lane is put there");
                send(&runs, queue, (&tenant, &run)).await?;
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The policies of all collections: a worker may have died between an enrolment and its count.
async fn count_all(desk: &Desk, queue: &Queue) -> Result<(), Broken> {
    let collections = Collections::new(Arc::clone(&desk.store));
    for tenant in collections.tenants().await? {
        let mut after = None::<String>;
        loop {
            let (found, next) = collections.list(&tenant, after.as_deref(), PAGE).await?;
            for collection in found.iter().filter(|c| c.value.training.auto) {
                count(desk, queue, &tenant, &collection.value.id).await?;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(())
}

fn log(done: Result<(), Broken>) {
    if let Err(error) = done {
        tracing::warn!(%error, "whether a training run is due was not found out; it is looked at again");
    }
}
