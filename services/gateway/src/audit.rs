//! The audit trail as the gateway writes it: what is put down of a request, and one task that appends what waits in one
//! commit per tenant. The answer to a change is sent after its event is on record, a recognition's right before: a search
//! does not wait for a disk. See the decision record on the audit chain.

mod entry;
mod upkeep;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{ErrorCode, TenantId};
use evidence::AuditDraft;
use futures::future::join_all;
use store::{Audit, KnownHead, PAGE_EVENTS, Store};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

pub(crate) use entry::{Entry, service};
pub(crate) use upkeep::upkeep;

use crate::problem::{ApiProblem, Result};

/// Events that may wait to be written; whoever has one more waits for room.
const WAITING: usize = 4096;
/// Events of one commit.
const BATCH: usize = 256;
/// How often a batch that could not be written is tried again, and the pause before.
const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// How long an event for which nobody waits is kept back for others: a commit flushes a disk, whatever it holds.
const GATHER: Duration = Duration::from_millis(20);
/// Tenants whose heads are remembered.
const HEADS: usize = 4096;
/// Tenants whose events may wait to be packed; the next ones are told of again.
const FULL: usize = 256;

/// An event on its way.
struct Waiting {
    tenant: TenantId,
    /// None of somebody who only wants to know that all before is on record.
    draft: Option<AuditDraft>,
    /// Whether somebody waits until it is written.
    attended: bool,
    done: oneshot::Sender<Result<(), String>>,
}

impl Waiting {
    /// An event whose writing nobody waits for.
    fn unattended(tenant: &TenantId, draft: AuditDraft) -> Self {
        Self { tenant: tenant.clone(), draft: Some(draft), attended: false, done: oneshot::channel().0 }
    }
}

/// Tenants with enough events for another page.
pub(crate) type FullPages = mpsc::Receiver<TenantId>;

/// Where events are handed in.
pub(crate) struct AuditLog {
    sender: mpsc::Sender<Waiting>,
    /// Whether the last events could not be written.
    broken: Arc<AtomicBool>,
}

/// Takes events and writes them.
pub(crate) struct AuditWriter {
    store: Arc<dyn Store>,
    inbox: mpsc::Receiver<Waiting>,
    heads: HashMap<TenantId, KnownHead>,
    broken: Arc<AtomicBool>,
    /// Told of a tenant of whose events there are enough for another page.
    full: mpsc::Sender<TenantId>,
}

impl AuditLog {
    /// Both ends, and where the writer tells of tenants with enough events for another page.
    pub fn new(store: Arc<dyn Store>) -> (Self, AuditWriter, FullPages) {
        let (sender, inbox) = mpsc::channel(WAITING);
        let (full, pages) = mpsc::channel(FULL);
        let broken = Arc::new(AtomicBool::new(false));
        let log = Self { sender, broken: Arc::clone(&broken) };
        (log, AuditWriter { store, inbox, heads: HashMap::new(), broken, full }, pages)
    }

    /// Returns when the event is on record.
    ///
    /// # Errors
    /// `store_unavailable`: it is not.
    pub async fn record(&self, tenant: &TenantId, draft: AuditDraft) -> Result<()> {
        self.hand_in(tenant, Some(draft)).await
    }

    /// Hands an event in and does not wait for the disk, unless the trail could not be written just now: then as
    /// [`Self::record`]. What is lost with this process is what it had not written yet.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn record_behind(&self, tenant: &TenantId, draft: AuditDraft) -> Result<()> {
        if self.broken.load(Ordering::Acquire) {
            return self.record(tenant, draft).await;
        }
        self.sender.send(Waiting::unattended(tenant, draft)).await.map_err(|_| unwritten())
    }

    /// Hands in the event of a refusal, if there is room, and waits for nothing.
    pub fn record_later(&self, tenant: &TenantId, draft: AuditDraft) {
        if self.sender.try_send(Waiting::unattended(tenant, draft)).is_err() {
            tracing::warn!("so many events wait for the audit trail that a refusal was not put down");
        }
    }

    /// Returns when everything that was handed in here before is on record.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn settled(&self, tenant: &TenantId) -> Result<()> {
        self.hand_in(tenant, None).await
    }

    async fn hand_in(&self, tenant: &TenantId, draft: Option<AuditDraft>) -> Result<()> {
        let (done, written) = oneshot::channel();
        let waiting = Waiting { tenant: tenant.clone(), draft, attended: true, done };
        let sent = self.sender.send(waiting).await.is_ok();
        match written.await {
            Ok(Ok(())) if sent => Ok(()),
            _ => Err(unwritten()),
        }
    }
}

fn unwritten() -> ApiProblem {
    let detail = "whatever the request did was not put down in the audit trail, which cannot be written at present; \
                  repeat the request";
    ApiProblem::new(ErrorCode::StoreUnavailable, detail)
}

impl AuditWriter {
    /// Waits for a moment for more events, unless somebody waits for one of those that there are.
    async fn gather(&mut self, waiting: &mut Vec<Waiting>) {
        let until = Instant::now() + GATHER;
        while waiting.len() < BATCH && !waiting.iter().any(|one| one.attended) {
            let room = BATCH - waiting.len();
            match timeout_at(until, self.inbox.recv_many(waiting, room)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Writes until every sender is gone or it is dropped.
    pub async fn run(mut self) {
        let mut waiting = Vec::with_capacity(BATCH);
        while self.inbox.recv_many(&mut waiting, BATCH).await > 0 {
            self.gather(&mut waiting).await;
            let mut tenants: HashMap<TenantId, Vec<Waiting>> = HashMap::new();
            for one in waiting.drain(..) {
                tenants.entry(one.tenant.clone()).or_default().push(one);
            }
            if self.heads.len() > HEADS {
                self.heads.clear();
            }
            let writes = tenants.into_iter().map(|(tenant, events)| {
                let known = self.heads.remove(&tenant).flatten();
                write((self.store.clone(), &self.broken), tenant, events, known)
            });
            let (mut tried, mut failed) = (false, false);
            for Written { tenant, known, events, done } in join_all(writes).await {
                tried |= events > 0;
                failed |= events > 0 && !done;
                if done && known.as_ref().is_some_and(|head| fills_a_page(head.value.seq, events)) {
                    // One that finds no room comes again with the next page.
                    drop(self.full.try_send(tenant.clone()));
                }
                self.heads.insert(tenant, known);
            }
            // Who only asked whether all is on record tells nothing of whether more can be written.
            if tried {
                self.broken.store(failed, Ordering::Release);
            }
        }
    }
}

/// What came of the events of one tenant.
struct Written {
    tenant: TenantId,
    /// The head as it is known afterwards.
    known: KnownHead,
    /// How many there were.
    events: usize,
    /// Whether they are on record.
    done: bool,
}

/// Whether a trail that ends with event `last`, of which the last `added` are new, has come to the end of a page.
const fn fills_a_page(last: u64, added: usize) -> bool {
    let page = PAGE_EVENTS as u64;
    last / page > last.saturating_sub(added as u64) / page
}

/// Appends the events of one tenant and tells whoever waits.
async fn write(
    (store, broken): (Arc<dyn Store>, &AtomicBool),
    tenant: TenantId,
    events: Vec<Waiting>,
    mut known: KnownHead,
) -> Written {
    let audit = Audit::new(store, &tenant);
    let (drafts, done): (Vec<_>, Vec<_>) = events.into_iter().map(|w| (w.draft, w.done)).unzip();
    let drafts: Vec<AuditDraft> = drafts.into_iter().flatten().collect();
    let mut outcome = if drafts.is_empty() { Ok(()) } else { audit.append(&drafts, &mut known).await };
    for _ in 1..ATTEMPTS {
        if outcome.is_ok() {
            break;
        }
        // Said at the first failure, not after the last: recognitions wait from now on.
        broken.store(true, Ordering::Release);
        // What the store knows now is not known here.
        known = None;
        tokio::time::sleep(PAUSE).await;
        outcome = audit.append(&drafts, &mut known).await;
    }
    let outcome = outcome.map_err(|e| e.to_string());
    if let Err(error) = &outcome {
        tracing::error!(error, events = drafts.len(), "events of the audit trail were not written");
        known = None;
    }
    let written = Written { tenant, known, events: drafts.len(), done: outcome.is_ok() };
    // A request that was given up waits no more.
    done.into_iter().for_each(|waiting| drop(waiting.send(outcome.clone())));
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_told_of_by_the_event_that_fills_it() {
        assert!(!fills_a_page(0, 0) && !fills_a_page(255, 255) && !fills_a_page(257, 1) && !fills_a_page(511, 255));
        assert!(fills_a_page(256, 1) && fills_a_page(300, 45) && fills_a_page(512, 256) && fills_a_page(1024, 600));
    }
}
