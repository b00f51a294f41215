//! The audit trail of a tenant: events in a space of their own, in the order of their chain. Several gateways append at
//! the same time, each with the condition that the head is the one it knows. Used by the gateway.
//!
//! `head`: number and hash of the last event; `event/{seq}`: an event as one line; `page/{last}`: older ones, many in one
//! value; `packed`: number of the last of those; `anchor`: the signed end of what was trimmed. The system's space lists the
//! tenants that have a trail.

mod pages;

use std::sync::Arc;

use bytes::Bytes;
use domain::TenantId;
use evidence::{AuditDraft, AuditEvent, ChainHead};

pub use pages::PAGE_EVENTS;

use super::{
    RepoError, Versioned, as_seen, damaged, decode, encode,
    jobs::{RACES, pause},
    read,
};
use crate::{Commit, Space, Store, StoreError};

const HEAD: &str = "head";
const ANCHOR: &str = "anchor";
const EVENTS: &str = "event/";
const TENANTS: &str = "audit/";

/// Where a trail stands, as somebody knows it.
pub type KnownHead = Option<Versioned<ChainHead>>;

/// The audit trail of one tenant.
#[derive(Clone)]
pub struct Audit {
    store: Arc<dyn Store>,
    tenant: TenantId,
    space: Space,
}

impl Audit {
    /// Of `tenant`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tenant: &TenantId) -> Self {
        Self { store, tenant: tenant.clone(), space: Space::audit(tenant) }
    }

    /// Tenants that have a trail.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenants(store: &dyn Store) -> Result<Vec<TenantId>, RepoError> {
        let keys = super::all_keys(store, &Space::system(), TENANTS).await?;
        Ok(keys.iter().filter_map(|k| TenantId::new(&k[TENANTS.len()..]).ok()).collect())
    }

    /// Appends events in one commit, in this order. `known` is the head as the caller knows it, which saves a look; it is
    /// the new one afterwards.
    ///
    /// # Errors
    /// The store's; [`RepoError::Contended`] when others were quicker again and again.
    pub async fn append(&self, drafts: &[AuditDraft], known: &mut KnownHead) -> Result<(), RepoError> {
        if known.is_none() {
            *known = read(&*self.store, &self.space, HEAD).await?;
        }
        for attempt in 0..RACES {
            let mut head = known.as_ref().map(|h| h.value.clone()).unwrap_or_default();
            let mut commit = Commit::new().when(as_seen(HEAD, known.as_ref().map(|h| h.version)));
            for draft in drafts {
                let event = AuditEvent::after(&head, &self.tenant, draft.clone()).map_err(|e| damaged(EVENTS, &e))?;
                head = event.head();
                commit = commit.put(event_key(head.seq), event.line().map_err(|e| damaged(EVENTS, &e))?);
            }
            if known.is_none() {
                let listed = Commit::new().put(format!("{TENANTS}{}", self.tenant), "");
                self.store.commit(&Space::system(), listed).await?;
            }
            let commit = commit.put(HEAD, encode(HEAD, &head)?);
            match self.store.commit(&self.space, commit).await {
                Ok(version) => {
                    *known = Some(Versioned { value: head, version });
                    return Ok(());
                }
                Err(StoreError::Precondition { .. }) => {
                    if attempt > 0 {
                        pause(attempt).await;
                    }
                    *known = read(&*self.store, &self.space, HEAD).await?;
                }
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

    /// Where the chain ends now.
    ///
    /// # Errors
    /// The store's.
    pub async fn head(&self) -> Result<ChainHead, RepoError> {
        Ok(read::<ChainHead>(&*self.store, &self.space, HEAD).await?.map(|h| h.value).unwrap_or_default())
    }

    /// The signed end of what was trimmed, if something was.
    ///
    /// # Errors
    /// The store's.
    pub async fn anchor(&self) -> Result<Option<String>, RepoError> {
        let record = self.store.get(&self.space, ANCHOR).await?;
        record.map(|r| String::from_utf8(r.value.to_vec()).map_err(|e| damaged(ANCHOR, &e).into())).transpose()
    }

    /// Up to `limit` events after number `after`, as lines, and whether more follow.
    ///
    /// # Errors
    /// The store's.
    pub async fn lines(&self, after: u64, limit: usize) -> Result<(Vec<(u64, Bytes)>, bool), RepoError> {
        match self.next(after, limit).await? {
            Next::Page(events) => {
                let line = |e: &AuditEvent| Ok((e.seq, e.line().map_err(|e| damaged(EVENTS, &e))?.into()));
                Ok((events.iter().map(line).collect::<Result<_, StoreError>>()?, true))
            }
            Next::Single(lines, more) => Ok((lines, more)),
        }
    }

    /// The same, read.
    ///
    /// # Errors
    /// The store's.
    pub async fn events(&self, after: u64, limit: usize) -> Result<(Vec<AuditEvent>, bool), RepoError> {
        match self.next(after, limit).await? {
            Next::Page(events) => Ok((events, true)),
            Next::Single(lines, more) => Ok((read_lines(&lines)?, more)),
        }
    }

    async fn next(&self, after: u64, limit: usize) -> Result<Next, RepoError> {
        let page = |mut events: Vec<AuditEvent>| {
            events.truncate(limit);
            Next::Page(events)
        };
        if let Some(events) = self.page(after).await? {
            return Ok(page(events));
        }
        let (lines, more) = self.single(after, limit).await?;
        // A gap: what is missing was trimmed, or put into a page between the two looks.
        if lines.first().is_some_and(|(seq, _)| *seq != after + 1)
            && let Some(events) = self.page(after).await?
        {
            return Ok(page(events));
        }
        Ok(Next::Single(lines, more))
    }
}

/// Events that follow, as they lie in the store. Behind a page there is always more: the last event is in none.
enum Next {
    Page(Vec<AuditEvent>),
    Single(Vec<(u64, Bytes)>, bool),
}

fn read_lines(lines: &[(u64, Bytes)]) -> Result<Vec<AuditEvent>, StoreError> {
    lines.iter().map(|(seq, line)| decode(&event_key(*seq), line)).collect()
}

/// Padded, so that keys sort as numbers do.
fn event_key(seq: u64) -> String {
    format!("{EVENTS}{seq:020}")
}
