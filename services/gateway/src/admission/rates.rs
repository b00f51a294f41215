//! What one key may ask for: so many requests a second over all gateways, so many at once at this one. Caller:
//! admission.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue};
use domain::{ErrorCode, KeyId};
use parking_lot::Mutex;
use queue::{Queue, Rate, Spent};
use tokio::time::timeout;

use crate::problem::{ApiProblem, Result};

/// A queue that takes longer to count is not waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// The limits of every key.
pub(super) struct Rates {
    rate: Option<Rate>,
    at_once: Option<usize>,
    in_flight: Arc<Mutex<HashMap<KeyId, usize>>>,
    away: AtomicBool,
}

/// What a key has left.
pub(crate) struct Allowance {
    rate: Rate,
    spent: Spent,
}

/// One request of a key being worked on.
pub(super) struct KeyPermit {
    in_flight: Arc<Mutex<HashMap<KeyId, usize>>>,
    key: KeyId,
}

impl Rates {
    pub fn new(rate: Option<Rate>, at_once: Option<usize>) -> Self {
        Self { rate, at_once, in_flight: Arc::default(), away: AtomicBool::new(false) }
    }

    /// Counts one request of `key`. Where the queue cannot be reached it passes uncounted: what needs the queue fails
    /// of itself then, and what does not, reading and above all erasing, must not fail for want of a counter.
    pub async fn spend(&self, queue: &Queue, key: &KeyId) -> Option<Allowance> {
        let rate = self.rate?;
        let spent = timeout(PATIENCE, queue.spend(&format!("rate:{key}"), 1, rate)).await;
        let spent = spent.unwrap_or_else(|_| Err(queue::QueueError::Unavailable("too slow".into())));
        let was_away = self.away.swap(spent.is_err(), Ordering::Relaxed);
        match spent {
            Ok(spent) => Some(Allowance { rate, spent }),
            Err(e) => {
                if !was_away {
                    tracing::warn!(error = %e, "requests are not counted against their keys' rates at present");
                }
                None
            }
        }
    }

    /// A permit for one more request of `key`, where keys have a limit.
    pub fn permit(&self, key: &KeyId) -> Result<Option<KeyPermit>> {
        let Some(most) = self.at_once else { return Ok(None) };
        let mut in_flight = self.in_flight.lock();
        let held = in_flight.get(key).copied().unwrap_or_default();
        if held >= most {
            let detail = format!("{held} requests of this API key are being worked on; it may have no more at once");
            return Err(ApiProblem::new(ErrorCode::RateLimited, detail));
        }
        in_flight.insert(key.clone(), held + 1);
        drop(in_flight);
        Ok(Some(KeyPermit { in_flight: self.in_flight.clone(), key: key.clone() }))
    }
}

impl Drop for KeyPermit {
    fn drop(&mut self) {
        let mut in_flight = self.in_flight.lock();
        match in_flight.get_mut(&self.key) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(in_flight.remove(&self.key)),
        }
    }
}

impl Allowance {
    /// The problem, if there was nothing left.
    pub fn refusal(&self) -> Option<ApiProblem> {
        if self.spent.allowed {
            return None;
        }
        let detail = format!("this API key may send {} requests a second", self.rate.per_second);
        Some(ApiProblem::new(ErrorCode::RateLimited, detail).retry_after(self.spent.retry_after))
    }

    /// `ratelimit-limit`, `-remaining` and `-reset` (in seconds).
    pub fn write(&self, headers: &mut HeaderMap) {
        let reset = self.spent.reset_after.as_millis().div_ceil(1000);
        headers.insert("ratelimit-limit", HeaderValue::from(self.rate.burst));
        headers.insert("ratelimit-remaining", HeaderValue::from(self.spent.remaining));
        headers.insert("ratelimit-reset", HeaderValue::from(u64::try_from(reset).unwrap_or(u64::MAX)));
    }
}
