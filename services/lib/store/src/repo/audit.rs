//! The audit trail of a tenant: events in a space of their own, in the order of their chain. Several gateways append at
//! the same time, each with the condition that the head is the one it knows. Used by the gateway.
//!
//! `head`: number and hash of the last event; `event/{seq}`: an event as one line; `anchor`: the signed end of what was
//! trimmed. The system's space lists the tenants that have a trail.

use std::sync::Arc;

use bytes::Bytes;
use domain::{TenantId, Timestamp};
use evidence::{AuditDraft, AuditEvent, ChainHead};

use super::{
    RepoError, Versioned, as_seen, damaged, decode, encode,
    jobs::{RACES, pause},
    read,
};
use crate::{Commit, Precondition, Space, Store, StoreError};

const HEAD: &str = "head";
const ANCHOR: &str = "anchor";
const EVENTS: &str = "event/";
const TENANTS: &str = "audit/";

/// Events removed by one commit.
const TRIMMED_AT_ONCE: usize = 500;

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
        let page = self.store.scan(&self.space, EVENTS, Some(&event_key(after)), limit).await?;
        let lines = page.records.into_iter().filter_map(|(k, r)| Some((k[EVENTS.len()..].parse().ok()?, r.value)));
        Ok((lines.collect(), page.more))
    }

    /// The same, read.
    ///
    /// # Errors
    /// The store's.
    pub async fn events(&self, after: u64, limit: usize) -> Result<(Vec<AuditEvent>, bool), RepoError> {
        let (lines, more) = self.lines(after, limit).await?;
        let events = lines.iter().map(|(seq, line)| decode(&event_key(*seq), line)).collect::<Result<_, _>>()?;
        Ok((events, more))
    }

    /// Removes events from before `until`, oldest first, some at a time: `anchor` signs the last of them. Their number;
    /// fewer than there are when called once.
    ///
    /// # Errors
    /// The store's.
    pub async fn trim(
        &self,
        until: Timestamp,
        anchor: impl Fn(&ChainHead) -> Result<String, StoreError> + Send,
    ) -> Result<usize, RepoError> {
        let seen = self.store.get(&self.space, ANCHOR).await?.map(|r| r.version);
        let (events, _) = self.events(0, TRIMMED_AT_ONCE).await?;
        let old: Vec<&AuditEvent> = events.iter().take_while(|e| e.time < until).collect();
        let Some(last) = old.last() else { return Ok(0) };
        let signed = anchor(&last.head())?;
        let commit = Commit::new().when(as_seen(ANCHOR, seen)).when(Precondition::Present(HEAD.into()));
        let commit = old.iter().fold(commit.put(ANCHOR, signed), |c, e| c.delete(event_key(e.seq)));
        match self.store.commit(&self.space, commit).await {
            Ok(_) => Ok(old.len()),
            // Another gateway trims.
            Err(StoreError::Precondition { .. }) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }
}

/// Padded, so that keys sort as numbers do.
fn event_key(seq: u64) -> String {
    format!("{EVENTS}{seq:020}")
}
