//! Who is there, and how much each caller has spent. Caller: the memory engine.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Member, Rate, Spent};

/// Beyond this many callers, those whose allowance is whole again are forgotten.
const CALLERS: usize = 4096;

/// Members by name, each until its lease ends.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<String, (Member, Instant)>);

impl Members {
    pub(super) fn join(&mut self, member: &Member, lease: Duration, now: Instant) {
        self.0.insert(member.name.clone(), (member.clone(), now + lease));
    }

    pub(super) fn part(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(super) fn alive(&mut self, now: Instant) -> Vec<Member> {
        self.0.retain(|_, (_, end)| *end > now);
        self.0.values().map(|(member, _)| member.clone()).collect()
    }
}

/// One theoretical arrival time for each caller, in seconds since the engine was made.
#[derive(Debug)]
pub(super) struct Allowances {
    zero: Instant,
    callers: HashMap<String, f64>,
}

impl Allowances {
    pub(super) fn new(now: Instant) -> Self {
        Self { zero: now, callers: HashMap::new() }
    }

    pub(super) fn spend(&mut self, bucket: &str, cost: u32, rate: Rate, now: Instant) -> Spent {
        // A second in the past, so that 0 means "never asked".
        let now = now.saturating_duration_since(self.zero).as_secs_f64() + 1.0;
        let (spent, tat) = rate.spend(self.callers.get(bucket).copied().unwrap_or(0.0), now, cost);
        if self.callers.len() >= CALLERS {
            self.callers.retain(|_, tat| *tat > now);
        }
        self.callers.insert(bucket.to_owned(), tat);
        spent
    }
}
