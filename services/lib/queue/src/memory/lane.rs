//! One lane of the memory engine: entries waiting, in flight and dead. No locks, no waiting: time comes in as an
//! argument. Caller: the engine beside it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use domain::Timestamp;
use tokio::time::Instant;

use crate::{Abandoned, Attempt, DeadLetter, Depth, Entry, EntryId, Limit, MemoryOptions, QueueError, Receipt};

#[derive(Debug)]
struct Item {
    seq: u64,
    bytes: Bytes,
    appended: Instant,
    /// Deliveries that count so far.
    deliveries: u32,
}

#[derive(Debug)]
struct Held {
    item: Item,
    consumer: Arc<str>,
    touched: Instant,
}

#[derive(Debug)]
struct Dead {
    letter: DeadLetter,
    died: Instant,
}

/// Entries of a lane. Each is in exactly one of the three places.
#[derive(Debug, Default)]
pub(super) struct LaneState {
    waiting: VecDeque<Item>,
    in_flight: BTreeMap<u64, Held>,
    dead: VecDeque<Dead>,
    /// Of the entries waiting and in flight.
    bytes: usize,
    next_seq: u64,
    taken: u64,
}

impl LaneState {
    pub(super) fn append(
        &mut self,
        bytes: Bytes,
        limit: Limit,
        options: &MemoryOptions,
        now: Instant,
    ) -> Result<EntryId, QueueError> {
        if bytes.len() > options.lane_bytes {
            return Err(QueueError::TooLarge { bytes: bytes.len() });
        }
        let wait = self.oldest_age(now);
        let full = self.waiting.len() >= limit.entries || self.bytes + bytes.len() > options.lane_bytes;
        if full || wait > limit.wait {
            return Err(QueueError::Overloaded { retry_after: wait.max(options.retry_after) });
        }
        Ok(self.push(bytes, now))
    }

    fn push(&mut self, bytes: Bytes, now: Instant) -> EntryId {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.bytes += bytes.len();
        self.waiting.push_back(Item { seq, bytes, appended: now, deliveries: 0 });
        entry_id(seq)
    }

    pub(super) fn take(&mut self, consumer: &Arc<str>, max: usize, now: Instant) -> Vec<Entry> {
        let n = max.min(self.waiting.len());
        let taken: Vec<Item> = self.waiting.drain(..n).collect();
        taken.into_iter().map(|item| self.hand_over(item, consumer, now)).collect()
    }

    pub(super) fn reclaim(
        &mut self,
        consumer: &Arc<str>,
        abandoned: Abandoned<'_>,
        max: usize,
        now: Instant,
    ) -> Vec<Entry> {
        let idle = |held: &Held| {
            let gone = abandoned.gone.iter().any(|name| **name == *held.consumer);
            let least = if gone { abandoned.gone_idle.min(abandoned.idle) } else { abandoned.idle };
            now.saturating_duration_since(held.touched) >= least
        };
        let abandoned: Vec<u64> =
            self.in_flight.iter().filter(|(_, held)| idle(held)).map(|(seq, _)| *seq).take(max).collect();
        let taken: Vec<Item> = abandoned.iter().filter_map(|seq| self.in_flight.remove(seq)).map(|h| h.item).collect();
        taken.into_iter().map(|item| self.hand_over(item, consumer, now)).collect()
    }

    fn hand_over(&mut self, mut item: Item, consumer: &Arc<str>, now: Instant) -> Entry {
        item.deliveries = item.deliveries.saturating_add(1);
        self.taken += 1;
        let entry = Entry {
            receipt: Receipt { id: entry_id(item.seq), consumer: Arc::clone(consumer), deliveries: item.deliveries },
            bytes: item.bytes.clone(),
            age: now.saturating_duration_since(item.appended),
        };
        self.in_flight.insert(item.seq, Held { item, consumer: Arc::clone(consumer), touched: now });
        entry
    }

    /// The entry of a receipt that is still good.
    fn redeem(&mut self, receipt: &Receipt) -> Option<Item> {
        let seq = self.held(receipt)?.item.seq;
        self.in_flight.remove(&seq).map(|held| held.item)
    }

    fn held(&mut self, receipt: &Receipt) -> Option<&mut Held> {
        let seq: u64 = receipt.id.as_str().parse().ok()?;
        let held = self.in_flight.get_mut(&seq)?;
        (held.consumer == receipt.consumer && held.item.deliveries == receipt.deliveries).then_some(held)
    }

    pub(super) fn ack(&mut self, receipt: &Receipt) -> bool {
        let Some(item) = self.redeem(receipt) else { return false };
        self.bytes -= item.bytes.len();
        true
    }

    pub(super) fn release(&mut self, receipt: &Receipt, attempt: Attempt) -> bool {
        let Some(mut item) = self.redeem(receipt) else { return false };
        if attempt == Attempt::Forgiven {
            item.deliveries -= 1;
        }
        // Oldest first, also among those given back.
        let place = self.waiting.partition_point(|waiting| waiting.seq < item.seq);
        self.waiting.insert(place, item);
        true
    }

    pub(super) fn requeue(&mut self, receipt: &Receipt, now: Instant) -> bool {
        let Some(item) = self.redeem(receipt) else { return false };
        self.bytes -= item.bytes.len();
        self.push(item.bytes, now);
        true
    }

    pub(super) fn touch(&mut self, receipt: &Receipt, now: Instant) -> bool {
        let Some(held) = self.held(receipt) else { return false };
        held.touched = now;
        true
    }

    pub(super) fn bury(&mut self, receipt: &Receipt, reason: &str, options: &MemoryOptions, now: Instant) -> bool {
        let Some(item) = self.redeem(receipt) else { return false };
        self.bytes -= item.bytes.len();
        let letter = DeadLetter {
            id: entry_id(item.seq),
            bytes: item.bytes,
            reason: reason.to_owned(),
            deliveries: item.deliveries,
            died_at: Timestamp::now(),
        };
        self.dead.push_back(Dead { letter, died: now });
        self.expire(options, now);
        true
    }

    fn expire(&mut self, options: &MemoryOptions, now: Instant) {
        while self.dead.len() > options.dead_letter_capacity {
            self.dead.pop_front();
            tracing::warn!("there are too many dead letters; the oldest is dropped");
        }
        let old = |dead: &Dead| now.saturating_duration_since(dead.died) >= options.dead_letter_ttl;
        while self.dead.pop_front_if(|dead| old(dead)).is_some() {}
    }

    pub(super) fn dead_letters(&mut self, limit: usize, options: &MemoryOptions, now: Instant) -> Vec<DeadLetter> {
        self.expire(options, now);
        self.dead.iter().rev().take(limit).map(|dead| dead.letter.clone()).collect()
    }

    pub(super) fn drop_dead_letter(&mut self, id: &EntryId) -> Option<Bytes> {
        let place = self.dead.iter().position(|dead| dead.letter.id == *id)?;
        self.dead.remove(place).map(|dead| dead.letter.bytes)
    }

    pub(super) fn retry_dead_letter(&mut self, id: &EntryId, bytes: Option<Bytes>, now: Instant) -> bool {
        let Some(old) = self.drop_dead_letter(id) else { return false };
        self.push(bytes.unwrap_or(old), now);
        true
    }

    pub(super) fn holders(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self.in_flight.values().map(|held| &*held.consumer).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    pub(super) fn holds_for(&self, consumer: &str) -> bool {
        self.in_flight.values().any(|held| &*held.consumer == consumer)
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn depth(&mut self, options: &MemoryOptions, now: Instant) -> Depth {
        self.expire(options, now);
        Depth {
            waiting: self.waiting.len(),
            in_flight: self.in_flight.len(),
            oldest_age: self.oldest_age(now),
            taken: self.taken,
            dead: self.dead.len(),
        }
    }

    fn oldest_age(&self, now: Instant) -> Duration {
        self.waiting.front().map_or(Duration::ZERO, |item| now.saturating_duration_since(item.appended))
    }
}

fn entry_id(seq: u64) -> EntryId {
    EntryId::new(seq.to_string())
}
