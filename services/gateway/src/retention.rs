//! Retention: erases who is kept too long, or has no consent in force any more. A task of the server does it for every
//! collection now and then, on one gateway at a time; `routes/retention.rs` does it when asked, or only tells.

mod rounds;

use domain::{Collection, CollectionId, Due, DueReason, SubjectId, TenantId, Timestamp};
use futures::stream::{FuturesUnordered, StreamExt};
use serde::Serialize;
use store::Reach;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{
    audit,
    context::Call,
    erasure::{Of, confirmed, forget},
    notes::Noted,
    problem::Result,
    state::AppState,
};

pub(crate) use rounds::keep;

/// Subjects looked at together.
const PAGE: usize = 500;

/// Erasures under way at once, so that they share what the engine does to erase.
const AT_ONCE: usize = 16;

/// Most subjects that an answer lists.
const LISTED: usize = 1_000;

/// Erased subjects that one event of the audit trail names.
const NAMED: usize = 32;

/// How a collection is swept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    /// Only tell.
    pub dry_run: bool,
    /// By which moment; not the present one for a preview alone.
    pub at: Timestamp,
    /// Begin nothing more after this.
    pub until: Instant,
}

/// What a sweep found and did.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Swept {
    /// Subjects looked at.
    pub looked_at: usize,
    /// Subjects that are due.
    pub due: usize,
    /// The same by reason; one may have several.
    pub reasons: ByReason,
    /// Subjects erased; those that were due no more when their turn came are not among them.
    pub erased: usize,
    /// Who is due and why, the first thousand.
    pub subjects: Vec<Due>,
    /// Consents of people who are not enrolled that have ended, or were recorded longer ago than `max_age_days`: erased,
    /// unless it is a dry run.
    pub consents: usize,
    /// Whether every subject was looked at; if not, repeat the request.
    pub complete: bool,
}

/// Subjects by the reason for which they are due.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct ByReason {
    /// Enrolled longer ago than `max_age_days`.
    pub max_age: usize,
    /// Neither matched nor enrolled for `idle_days`.
    pub idle: usize,
    /// Without a consent in force for any of the collection's purposes.
    pub consent_expired: usize,
}

impl Swept {
    fn take_in(&mut self, due: Vec<Due>) {
        self.due += due.len();
        for reason in due.iter().flat_map(|d| &d.reasons) {
            *match reason {
                DueReason::MaxAge => &mut self.reasons.max_age,
                DueReason::Idle => &mut self.reasons.idle,
                DueReason::ConsentExpired => &mut self.reasons.consent_expired,
            } += 1;
        }
        let room = LISTED.saturating_sub(self.subjects.len());
        self.subjects.extend(due.into_iter().take(room));
    }
}

/// Looks at every subject of a collection, and erases those that are due unless it is a dry run. Like every erasure it is
/// done when all workers have confirmed it.
pub(crate) async fn sweep(app: &AppState, call: &Call, id: &CollectionId, how: Sweep) -> Result<Swept> {
    let mut swept = Swept::default();
    let mut outcome = pages(app, call, (id, how), &mut swept).await;
    if outcome.is_ok() && swept.complete {
        outcome = unenrolled(app, call, (id, how), &mut swept).await;
    }
    // Also when it broke off or nobody was due any more: an earlier request may not have seen its erasures confirmed.
    if !how.dry_run {
        confirmed(app, call, (id, Of::Nobody), Ok(())).await?;
    }
    outcome.map(|()| swept)
}

async fn pages(app: &AppState, call: &Call, (id, how): (&CollectionId, Sweep), swept: &mut Swept) -> Result<()> {
    let subjects = app.subjects(&call.principal, id);
    let mut after = None;
    loop {
        // Anew for every page: the policy may be changed meanwhile.
        let collection = app.collection(&call.principal, id).await?.value;
        let page = subjects.due(&collection, how.at, after, PAGE).await?;
        swept.looked_at += page.looked_at;
        if !how.dry_run {
            let (erased, outcome) = erase(app, call, &collection, (&page.due, how.at)).await;
            swept.erased += erased.len();
            put_down(app, &call.principal.tenant, id, &erased).await?;
            outcome?;
        }
        swept.take_in(page.due);
        after = page.next;
        swept.complete = after.is_none();
        if swept.complete || Instant::now() >= how.until {
            return Ok(());
        }
    }
}

/// The consents of people who are not enrolled: nobody else would ever take them away.
async fn unenrolled(app: &AppState, call: &Call, (id, how): (&CollectionId, Sweep), swept: &mut Swept) -> Result<()> {
    let subjects = app.subjects(&call.principal, id);
    let mut after = None::<String>;
    loop {
        let collection = app.collection(&call.principal, id).await?.value;
        let page = subjects.unenrolled_due(&collection, how.at, after.as_deref(), PAGE).await?;
        let mut erased = Vec::new();
        for found in page.due {
            if how.dry_run {
                swept.consents += found.consents;
                continue;
            }
            let gone = subjects.erase_unenrolled(&collection, &found.subject_id, how.at).await?;
            swept.consents += gone;
            erased.extend(Some(found.subject_id).filter(|_| gone > 0));
        }
        put_down(app, &call.principal.tenant, id, &erased).await?;
        after = page.next;
        swept.complete = after.is_none();
        if swept.complete || Instant::now() >= how.until {
            return Ok(());
        }
    }
}

/// Puts down in the audit trail who was erased.
async fn put_down(app: &AppState, tenant: &TenantId, id: &CollectionId, erased: &[SubjectId]) -> Result<()> {
    for subjects in erased.chunks(NAMED) {
        let noted = Noted { collection: Some(id.clone()), subjects: subjects.to_vec(), ..Noted::default() };
        app.audit.record(tenant, audit::service(app, tenant, "retention.erase", noted)).await?;
    }
    Ok(())
}

/// Erases those that are still due: who that was, also where it broke off.
async fn erase(
    app: &AppState,
    call: &Call,
    collection: &Collection,
    (due, at): (&[Due], Timestamp),
) -> (Vec<SubjectId>, Result<()>) {
    let (mut left, mut under_way) = (due.iter(), FuturesUnordered::new());
    let (mut erased, mut outcome) = (Vec::new(), Ok(()));
    loop {
        for d in left.by_ref().take(AT_ONCE - under_way.len()) {
            under_way.push(erase_one(app, call, collection, (&d.subject_id, at)));
        }
        match under_way.next().await {
            Some(Ok(gone)) => erased.extend(gone.cloned()),
            Some(Err(e)) => outcome = Err(e),
            None => break,
        }
    }
    (erased, outcome)
}

/// Erases one subject, as `DELETE` of it does, if it is still due; gives it back then.
async fn erase_one<'a>(
    app: &AppState,
    call: &Call,
    collection: &Collection,
    (id, at): (&'a SubjectId, Timestamp),
) -> Result<Option<&'a SubjectId>> {
    let subjects = app.subjects(&call.principal, &collection.id);
    let whom = || Of::Subject(id, Reach::Everything);
    // Before as well: if this process dies in between, nobody repeats it for somebody who is gone.
    forget(app, call, &collection.id, whom()).await?;
    let Some(due) = subjects.delete_due(collection, id, at).await? else { return Ok(None) };
    forget(app, call, &collection.id, whom()).await?;
    for reason in due.reasons {
        app.metrics.retention_erased.with_label_values(&[reason.as_str()]).inc();
    }
    Ok(Some(id))
}
