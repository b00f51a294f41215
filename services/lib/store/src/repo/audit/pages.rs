//! What becomes of old events of a trail: so many at a time are put into a page, which takes a tenth of their room, and
//! what is older than it may be is trimmed. Part of the audit trail's repository; the gateway asks for both.
//!
//! Packing and trimming move the same events, so each has the condition that neither happened since it looked.

use bytes::Bytes;
use domain::Timestamp;
use evidence::{AuditEvent, ChainHead, pack_events, unpack_events};

use super::{ANCHOR, Audit, EVENTS, HEAD, event_key};
use crate::{
    Commit, Precondition, Revision, StoreError,
    repo::{RepoError, as_seen, damaged, encode},
    schema,
};

const PAGES: &str = "page/";
/// Number of the last event that was packed.
const PACKED: &str = "packed";

/// Events of one page.
pub const PAGE_EVENTS: usize = 256;
/// Single events removed by one commit.
const TRIMMED_AT_ONCE: usize = 500;

impl Audit {
    /// Puts the oldest single events into a page, if there are enough of them from before `until`; the last event stays
    /// single. Their number; fewer than there are when called once.
    ///
    /// # Errors
    /// The store's; [`StoreError::Damaged`] for events that do not make a chain, which stay as they are.
    pub async fn pack(&self, until: Timestamp) -> Result<usize, RepoError> {
        let seen = self.seen().await?;
        let mut events = self.singles(PAGE_EVENTS + 1).await?;
        if events.len() <= PAGE_EVENTS {
            return Ok(0);
        }
        events.truncate(PAGE_EVENTS);
        let Some(last) = events.last().filter(|_| events.iter().all(|e| e.time < until)) else { return Ok(0) };
        let page = match pack_events(&events) {
            Ok(page) => page,
            // Some of them were moved while they were read.
            Err(_) if self.seen().await? != seen => return Ok(0),
            Err(e) => return Err(damaged(&event_key(last.seq), &e).into()),
        };
        if seen.packed.is_none() {
            schema::require(&self.store, schema::AUDIT_PAGES).await?;
        }
        let commit = seen.unchanged().put(PACKED, encode(PACKED, &last.seq)?).put(page_key(last.seq), page);
        self.moved(events.iter().fold(commit, |c, e| c.delete(event_key(e.seq))), events.len()).await
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
        let seen = self.seen().await?;
        let (events, packed) = match self.page(0).await? {
            Some(page) => (page, true),
            None => (self.singles(TRIMMED_AT_ONCE).await?, false),
        };
        let old = events.iter().take_while(|e| e.time < until).count();
        let Some((last, kept)) = events.get(..old).and_then(<[_]>::last).zip(events.get(old..)) else { return Ok(0) };
        let commit = seen.unchanged().when(Precondition::Present(HEAD.into())).put(ANCHOR, anchor(&last.head())?);
        let commit = match (packed, kept.last()) {
            (true, None) => commit.delete(page_key(last.seq)),
            // A page bears the number of its last event: what is left of it stays in its place.
            (true, Some(end)) => {
                let rest = pack_events(kept).map_err(|e| damaged(&page_key(end.seq), &e))?;
                commit.put(page_key(end.seq), rest)
            }
            (false, _) => events[..old].iter().fold(commit, |c, e| c.delete(event_key(e.seq))),
        };
        self.moved(commit, old).await
    }

    /// What is left of the page that holds the event after `after`, from that event on; none if it is in no page.
    pub(super) async fn page(&self, after: u64) -> Result<Option<Vec<AuditEvent>>, RepoError> {
        let found = self.store.scan(&self.space, PAGES, Some(&page_key(after)), 1).await?;
        let Some((key, record)) = found.records.into_iter().next() else { return Ok(None) };
        let events = unpack_events(&record.value).map_err(|e| damaged(&key, &e))?;
        Ok(Some(events.into_iter().filter(|e| e.seq > after).collect()))
    }

    /// Up to `limit` single events after number `after`, as lines, and whether more follow. Ends where one is missing between
    /// two of them: it may have been moved while they were read, and then lies in a page.
    pub(super) async fn single(&self, after: u64, limit: usize) -> Result<(Vec<(u64, Bytes)>, bool), RepoError> {
        let page = self.store.scan(&self.space, EVENTS, Some(&event_key(after)), limit).await?;
        let lines = page.records.into_iter().filter_map(|(k, r)| Some((k[EVENTS.len()..].parse().ok()?, r.value)));
        let mut lines: Vec<(u64, Bytes)> = lines.collect();
        let end = lines.windows(2).position(|pair| pair[1].0 != pair[0].0 + 1).map_or(lines.len(), |last| last + 1);
        let more = page.more || end < lines.len();
        lines.truncate(end);
        Ok((lines, more))
    }

    /// The first `limit` single events, or all there are.
    async fn singles(&self, limit: usize) -> Result<Vec<AuditEvent>, RepoError> {
        let mut events: Vec<AuditEvent> = Vec::new();
        loop {
            // One look gives fewer where they are long.
            let after = events.last().map_or(0, |e| e.seq);
            let (lines, more) = self.single(after, limit - events.len()).await?;
            events.extend(super::read_lines(&lines)?);
            if !more || events.len() >= limit {
                return Ok(events);
            }
        }
    }

    async fn seen(&self) -> Result<Seen, RepoError> {
        let records = self.store.get_many(&self.space, &[ANCHOR.to_owned(), PACKED.to_owned()]).await?;
        let mut versions = records.into_iter().map(|r| r.map(|r| r.version));
        Ok(Seen { anchor: versions.next().flatten(), packed: versions.next().flatten() })
    }

    /// Commits what moves so many events; none if another gateway was quicker.
    async fn moved(&self, commit: Commit, events: usize) -> Result<usize, RepoError> {
        match self.store.commit(&self.space, commit).await {
            Ok(_) => Ok(events),
            Err(StoreError::Precondition { .. }) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }
}

/// Versions of what packing and trimming leave behind.
#[derive(PartialEq)]
struct Seen {
    anchor: Option<Revision>,
    packed: Option<Revision>,
}

impl Seen {
    /// A commit that holds if neither happened since.
    fn unchanged(&self) -> Commit {
        Commit::new().when(as_seen(ANCHOR, self.anchor)).when(as_seen(PACKED, self.packed))
    }
}

/// By its last event, padded: the first page behind the key of a number holds the event after it.
fn page_key(last: u64) -> String {
    format!("{PAGES}{last:020}")
}
