//! Items that wait for a batch: earliest deadline first, and among equal deadlines in the order they came. Pure;
//! instants come in from outside.

use std::{collections::BTreeMap, time::Instant};

/// An item's place, by which it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    deadline: Instant,
    seq: u64,
}

/// An item on its way into a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<T> {
    /// What waited.
    pub item: T,
    /// Since when.
    pub arrived: Instant,
}

/// The order of waiting items.
#[derive(Debug)]
pub struct BatchQueue<T> {
    by_deadline: BTreeMap<Ticket, Taken<T>>,
    /// The same tickets by number, that is, by arrival: the first has waited longest.
    by_arrival: BTreeMap<u64, Ticket>,
    next_seq: u64,
}

impl<T> Default for BatchQueue<T> {
    fn default() -> Self {
        Self { by_deadline: BTreeMap::new(), by_arrival: BTreeMap::new(), next_seq: 0 }
    }
}

impl<T> BatchQueue<T> {
    /// Items waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_deadline.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_deadline.is_empty()
    }

    /// Puts an item where its deadline belongs.
    pub fn push(&mut self, arrived: Instant, deadline: Instant, item: T) -> Ticket {
        let ticket = Ticket { deadline, seq: self.next_seq };
        self.next_seq += 1;
        self.by_arrival.insert(ticket.seq, ticket);
        self.by_deadline.insert(ticket, Taken { item, arrived });
        ticket
    }

    /// Takes an item back, if it still waits.
    pub fn remove(&mut self, ticket: &Ticket) -> Option<T> {
        self.by_arrival.remove(&ticket.seq);
        self.by_deadline.remove(ticket).map(|taken| taken.item)
    }

    /// The `n` items of the earliest deadlines.
    pub fn take(&mut self, n: usize) -> Vec<Taken<T>> {
        (0..n).map_while(|_| self.pop()).collect()
    }

    /// Items whose deadline has come.
    pub fn expire(&mut self, now: Instant) -> Vec<T> {
        let mut late = Vec::new();
        while self.by_deadline.first_key_value().is_some_and(|(ticket, _)| ticket.deadline <= now) {
            late.extend(self.pop().map(|taken| taken.item));
        }
        late
    }

    /// When the item that has waited longest came.
    #[must_use]
    pub fn oldest_arrival(&self) -> Option<Instant> {
        let (_, ticket) = self.by_arrival.first_key_value()?;
        self.by_deadline.get(ticket).map(|taken| taken.arrived)
    }

    fn pop(&mut self) -> Option<Taken<T>> {
        let (ticket, taken) = self.by_deadline.pop_first()?;
        self.by_arrival.remove(&ticket.seq);
        Some(taken)
    }
}
