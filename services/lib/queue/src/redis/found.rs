//! Entries on their way into a consumer's hands: read, taken over, or found again after an answer was lost on the way.
//! A call that nobody waits for any more gives back what it gets, so that a caller may drop its future at any moment.
//! Part of the engine's inside.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use domain::Lane;
use link::redis;
use tokio::sync::oneshot;

use super::{
    inner::{Inner, Settle, millis},
    reader::{Ask, Raw, Reader, Slot},
    scripts,
};
use crate::{Abandoned, Entry, EntryId, QueueError, Receipt};

/// Bodies fetched by one command: pictures, so not too many at once.
const BODIES: usize = 16;

/// An entry as scripts tell it: id, body's name, when appended, deliveries.
type Taken = (String, String, String, u32);

/// Entries in a consumer's hands that nobody has looked at yet: they go back unless they are taken out.
pub struct Found {
    inner: Arc<Inner>,
    lane: Lane,
    entries: Vec<Entry>,
}

impl Found {
    pub fn take(mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        for entry in self.entries.drain(..) {
            self.inner.give_back(self.lane, entry.receipt, Settle::Forgiven);
        }
    }
}

impl Inner {
    /// One read, to its end: what came is given to whoever waits, or back to the lane.
    pub async fn read(self: &Arc<Self>, ask: Ask, answer: oneshot::Sender<Result<Found, QueueError>>) {
        let reader = self.readers.of(ask.lane, &ask.consumer);
        let mut slot = reader.slot.lock().await;
        let found = self.wait_for(&ask, &reader, &mut slot, &answer).await;
        // Unsent or sent and never looked at, it gives its entries back itself.
        drop(answer.send(found));
    }

    async fn wait_for<T>(
        self: &Arc<Self>,
        ask: &Ask,
        reader: &Reader,
        slot: &mut Slot,
        answer: &oneshot::Sender<T>,
    ) -> Result<Found, QueueError> {
        let end = Instant::now() + ask.wait.min(Duration::from_secs(24 * 3600));
        loop {
            if answer.is_closed() {
                return Ok(self.found(reader, ask.lane, Vec::new()));
            }
            let lost = self.recover(ask, reader).await?;
            if !lost.entries.is_empty() {
                return Ok(lost);
            }
            let left = end.saturating_duration_since(Instant::now());
            match slot.slice(&self.link, &self.keys, ask, left).await {
                Ok(raw) if raw.is_empty() && !left.is_zero() => {}
                Ok(raw) => return self.complete(ask, reader, raw).await,
                Err(failed) => {
                    reader.failed();
                    if !failed.stale {
                        return Err(self.failed(failed.error));
                    }
                }
            }
        }
    }

    /// Entries that the server counts as in the consumer's hands and that never reached it. Without this they would lie
    /// there until they count as abandoned, past the deadline of whoever waits.
    async fn recover(self: &Arc<Self>, ask: &Ask, reader: &Reader) -> Result<Found, QueueError> {
        let Some((since, known)) = reader.unsure() else { return Ok(self.found(reader, ask.lane, Vec::new())) };
        let asked = Instant::now();
        let mut call = scripts::RECOVER.key(self.keys.jobs(ask.lane));
        call.arg(&ask.consumer).arg(ask.max.max(1)).arg(&known);
        let lost: Vec<Taken> = self.run_again(&call).await?;
        if lost.is_empty() {
            reader.sure(since, asked);
        } else {
            tracing::info!(entries = lost.len(), "entries whose delivery was lost on the way are delivered again");
        }
        self.taken(ask.lane, &ask.consumer, reader, lost).await
    }

    /// Takes abandoned entries over.
    pub async fn reclaim(
        self: &Arc<Self>,
        lane: Lane,
        consumer: &str,
        abandoned: Abandoned<'_>,
        max: usize,
    ) -> Result<Found, QueueError> {
        let reader = self.readers.of(lane, consumer);
        // Not beside a read, which would take for lost what is on its way here.
        let _slot = reader.slot.lock().await;
        if let Err(error) = self.compare_clocks().await {
            tracing::debug!(%error, "the server's clock cannot be read");
        }
        let mut call = scripts::RECLAIM.key(self.keys.jobs(lane));
        call.arg(consumer).arg(millis(abandoned.idle)).arg(max.max(1)).arg(millis(self.options.forget_consumer));
        call.arg(millis(abandoned.gone_idle.min(abandoned.idle))).arg(abandoned.gone);
        let taken = self.run(&call).await.inspect_err(|_| reader.failed())?;
        self.taken(lane, consumer, &reader, taken).await
    }

    /// Entries as a script told them, with their bodies.
    async fn taken(
        self: &Arc<Self>,
        lane: Lane,
        consumer: &str,
        reader: &Reader,
        taken: Vec<Taken>,
    ) -> Result<Found, QueueError> {
        let consumer: Arc<str> = consumer.into();
        let entry = |(id, _, t, deliveries): &Taken| Entry {
            receipt: Receipt {
                id: EntryId::new(id.as_str()),
                consumer: Arc::clone(&consumer),
                deliveries: *deliveries,
            },
            bytes: Bytes::new(),
            age: self.since(t),
        };
        let found = self.found(reader, lane, taken.iter().map(entry).collect());
        self.with_bodies(found, taken.into_iter().map(|(_, body, ..)| body).collect()).await
    }

    /// Entries as a read told them, with their bodies.
    async fn complete(self: &Arc<Self>, ask: &Ask, reader: &Reader, raw: Vec<Raw>) -> Result<Found, QueueError> {
        let consumer: Arc<str> = ask.consumer.as_str().into();
        let text = |fields: &HashMap<String, String>, name: &str| fields.get(name).cloned().unwrap_or_default();
        let entry = |(id, fields): &Raw| Entry {
            receipt: Receipt {
                id: EntryId::new(id.as_str()),
                consumer: Arc::clone(&consumer),
                deliveries: text(fields, "d").parse().unwrap_or(0_u32).saturating_add(1),
            },
            bytes: Bytes::new(),
            age: self.since(&text(fields, "t")),
        };
        let found = self.found(reader, ask.lane, raw.iter().map(entry).collect());
        self.with_bodies(found, raw.iter().map(|(_, fields)| text(fields, "b")).collect()).await
    }

    fn found(self: &Arc<Self>, reader: &Reader, lane: Lane, entries: Vec<Entry>) -> Found {
        reader.holds(entries.iter().map(|e| e.receipt.id.as_str()));
        Found { inner: Arc::clone(self), lane, entries }
    }

    /// The same with the bodies of these names. Where these cannot be had the entries go back.
    async fn with_bodies(&self, mut found: Found, names: Vec<String>) -> Result<Found, QueueError> {
        let bodies = self.bodies(found.lane, &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        for (entry, bytes) in found.entries.iter_mut().zip(bodies) {
            entry.bytes = bytes;
        }
        Ok(found)
    }

    /// Bodies of entries, in order; an entry whose body is gone gets an empty one, which no reader takes for a job.
    pub async fn bodies(&self, lane: Lane, names: &[&str]) -> Result<Vec<Bytes>, QueueError> {
        let mut bodies = Vec::with_capacity(names.len());
        for names in names.chunks(BODIES) {
            let mut command = redis::cmd("MGET");
            command.arg(names.iter().map(|name| format!("{}{name}", self.keys.body(lane))).collect::<Vec<_>>());
            let found: Vec<Option<Vec<u8>>> = self.ask(&command).await?;
            bodies.extend(found.into_iter().map(|body| Bytes::from(body.unwrap_or_default())));
        }
        Ok(bodies)
    }
}
