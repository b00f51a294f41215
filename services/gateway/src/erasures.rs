//! Erasures as jobs: accepted with everything they need, carried out step by step by whichever gateway is alive, ended
//! with a signed receipt. A step that was broken off is done again and finds what was done; a gateway that dies leaves
//! its erasures to another when its lease has ended. See the decision record on erasure jobs and receipts.

mod receipt;
mod steps;

use std::{collections::HashSet, time::Duration};

use domain::{Collection, CollectionId, ErasureId, ErrorCode, KeyId, SubjectId, TenantId, Timestamp};
use evidence::{Extent, Removed};
use store::{ErasureLease, ErasureRecord, ErasureState, ErasureStep, Erasures, RepoError};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use self::steps::Step;
use crate::{
    problem::{ApiProblem, Result},
    state::{App, AppState},
};

/// Most subjects that one erasure may name.
pub(crate) const MOST_SUBJECTS: usize = 10_000;

/// How long an erasure is its gateway's after its last word, and how often that is renewed.
const LEASE: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(3);

/// Time between two looks for erasures that another gateway left, or that had to be put off.
const LOOK: Duration = Duration::from_secs(5);

/// Erasures that one gateway works on at once.
const AT_ONCE: usize = 2;

/// What is to be erased, and who says so.
pub(crate) struct Order {
    /// Its id; the same again when a request is repeated.
    pub id: ErasureId,
    /// Where.
    pub collection: Collection,
    /// Whom; nobody in particular where the whole collection goes.
    pub subjects: Vec<SubjectId>,
    /// What.
    pub extent: Extent,
    /// Why, for the receipt.
    pub reason: Option<String>,
    /// Who; nobody where the service does so by itself.
    pub key: Option<KeyId>,
}

/// Accepts an erasure; it is carried out from now on, whatever happens to this gateway. The one function for whoever
/// wants subjects erased with a receipt: the route, and what the service erases by itself.
pub(crate) async fn begin(app: &AppState, tenant: &TenantId, order: Order) -> Result<ErasureRecord> {
    let erasures = app.erasures_of(tenant);
    let Order { id, collection, mut subjects, extent, reason, key } = order;
    if let Some(found) = erasures.get(&id).await? {
        return Ok(found.value);
    }
    let mut seen = HashSet::new();
    subjects.retain(|id| seen.insert(id.clone()));
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)
        .map_err(|_| ApiProblem::new(ErrorCode::Internal, "the system gives no random numbers"))?;
    let now = Timestamp::now();
    let record = ErasureRecord {
        id,
        collection: collection.id,
        extent,
        reason,
        key,
        requested_at: now,
        updated_at: now,
        state: ErasureState::Queued,
        subjects: u32::try_from(subjects.len()).unwrap_or(u32::MAX),
        collection_made_at: collection.created_at,
        closed: false,
        salt: hex::encode(salt),
        steps: Step::ALL.iter().map(|s| ErasureStep { name: s.name().to_owned(), done_at: None }).collect(),
        removed: Removed::default(),
        verification: None,
        trouble: None,
    };
    match erasures.create(&record, &subjects).await {
        // A repetition at another gateway was quicker.
        Ok(()) | Err(RepoError::AlreadyExists(_)) => {}
        Err(e) => return Err(e.into()),
    }
    app.erasures.notify_one();
    Ok(record)
}

/// Carries out erasures; runs until it is dropped.
pub(crate) async fn run(app: App) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut under_way, mut busy) = (JoinSet::<(ErasureId, bool)>::new(), HashSet::new());
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = app.erasures.notified() => {}
            Some(done) = under_way.join_next(), if !under_way.is_empty() => {
                match done {
                    Ok((id, ended)) => {
                        busy.remove(&id);
                        if !ended {
                            // Not before the next look.
                            continue;
                        }
                    }
                    // Which one is not known: all are looked at again, and a lease keeps them from being done twice.
                    Err(error) => {
                        tracing::error!(%error, "an erasure was broken off by a defect");
                        busy.clear();
                    }
                }
            }
        }
        let open = match Erasures::open(&*app.store).await {
            Ok(open) => open,
            Err(error) => {
                tracing::debug!(%error, "open erasures cannot be looked for at present");
                continue;
            }
        };
        for (tenant, id) in open {
            if app.draining() || under_way.len() >= AT_ONCE || !busy.insert(id.clone()) {
                continue;
            }
            let app = app.clone();
            under_way.spawn(async move {
                let ended = see_to(&app, &tenant, &id).await;
                (id, ended)
            });
        }
    }
}

/// One erasure, if no other gateway has it; whether it is done. What goes wrong is noted with it; it is taken up again at
/// the next look.
async fn see_to(app: &App, tenant: &TenantId, id: &ErasureId) -> bool {
    let erasures = app.erasures_of(tenant);
    let lease = match erasures.claim(id, Timestamp::now().plus(LEASE)).await {
        Ok(Some(lease)) => lease,
        Ok(None) => return false,
        Err(error) => {
            tracing::debug!(erasure = %id, %error, "an erasure cannot be taken up at present");
            return false;
        }
    };
    let mut renewed = lease.clone();
    let outcome = tokio::select! {
        outcome = steps::all(app, tenant, id) => Some(outcome),
        () = keep(&erasures, &mut renewed) => None,
    };
    let ended = matches!(outcome, Some(Ok(())));
    let released = match outcome {
        Some(Ok(())) => erasures.release(&renewed).await,
        Some(Err(problem)) => {
            let code = problem.problem.code;
            tracing::warn!(erasure = %id, %code, detail = problem.problem.detail, "an erasure is put off");
            let trouble = Some(code.slug().to_owned());
            let noted = erasures.change(id, move |record| record.trouble.clone_from(&trouble)).await;
            noted.and(erasures.release(&renewed).await)
        }
        // Another gateway thinks this one dead: it goes on there.
        None => Ok(()),
    };
    if let Err(error) = released {
        tracing::debug!(erasure = %id, %error, "the lease of an erasure runs out by itself");
    }
    ended
}

/// Renews the lease; returns when it is lost.
async fn keep(erasures: &Erasures, lease: &mut ErasureLease) {
    loop {
        tokio::time::sleep(RENEW).await;
        match erasures.renew(lease, Timestamp::now().plus(LEASE)).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::debug!(%error, "the lease of an erasure was not renewed"),
        }
    }
}

/// The collection whose subjects are to be erased, of a tenant.
pub(crate) async fn target(app: &AppState, tenant: &TenantId, id: &CollectionId) -> Result<Collection> {
    let found = app.collections.get(tenant, id).await?.map(|c| c.value);
    found.ok_or_else(|| ApiProblem::new(ErrorCode::CollectionNotFound, format!("there is no collection {id}")))
}
