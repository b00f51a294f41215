//! How much is taken on at once: a permit per request and a share of the memory for its body, fair between tenants; a
//! look at the lane as last sampled; each key's own rate. What does not fit is refused at once, before its body is read.

mod estimate;
mod fair;
mod lane;
mod rates;
mod sampler;

use std::{sync::Arc, time::Duration};

use domain::{ErrorCode, KeyId, Principal, TenantId};
use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use self::{lane::Place, rates::Allowance, sampler::sample};

use self::{
    fair::{FairShare, Short},
    lane::{Lane, NoPlace},
    rates::{KeyPermit, Rates},
};
use crate::{
    config::Limits,
    metrics::Metrics,
    problem::{ApiProblem, Result},
};

/// Permits for requests and for kibibytes of their bodies, the interactive lane as last seen, and the keys' rates.
pub(crate) struct Admission {
    held: Arc<Mutex<Held>>,
    lane: Arc<Mutex<Lane>>,
    queue_depth: u64,
    rates: Rates,
    began: Instant,
    metrics: Metrics,
}

struct Held {
    requests: FairShare,
    kib: FairShare,
    /// What of both those may hold for whom nobody waits.
    bulk: Bulk,
}

/// Permits and kibibytes of requests for which nobody waits: half of each at most, so that the other half is always
/// there for those who do.
struct Bulk {
    requests: usize,
    kib: usize,
    most: (usize, usize),
}

impl Bulk {
    /// Whether there is room; one request always fits.
    fn fits(&self, kib: usize) -> bool {
        self.requests == 0 || (self.requests < self.most.0 && self.kib + kib <= self.most.1)
    }
}

/// Held until the answer is made.
pub(crate) struct Admitted {
    held: Arc<Mutex<Held>>,
    tenant: TenantId,
    kib: usize,
    bulk: bool,
    _key: Option<KeyPermit>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        held.requests.give(&self.tenant, 1);
        held.kib.give(&self.tenant, self.kib);
        if self.bulk {
            held.bulk.requests = held.bulk.requests.saturating_sub(1);
            held.bulk.kib = held.bulk.kib.saturating_sub(self.kib);
        }
    }
}

impl Admission {
    /// Permits as `limits` says.
    pub fn new(limits: &Limits, metrics: Metrics) -> Self {
        let (requests, kib) = (limits.in_flight, limits.buffered_bytes / 1024);
        let held = Held {
            requests: FairShare::new(requests),
            kib: FairShare::new(kib),
            bulk: Bulk { requests: 0, kib: 0, most: (requests / 2, kib / 2) },
        };
        Self {
            held: Arc::new(Mutex::new(held)),
            lane: Arc::default(),
            queue_depth: limits.queue_depth,
            rates: Rates::new(limits.key_rate, limits.key_in_flight),
            began: Instant::now(),
            metrics,
        }
    }

    /// A permit for a request of `who` whose body takes up to `bytes`; `bulk` if nobody waits for what comes of it.
    pub fn admit(&self, who: &Principal, bytes: usize, bulk: bool) -> Result<Admitted> {
        let key = self.rates.permit(&who.key).inspect_err(|_| self.metrics.refused("key_in_flight"))?;
        let (tenant, kib, now) = (who.tenant.clone(), bytes.div_ceil(1024), self.began.elapsed());
        let mut held = self.held.lock();
        if bulk && !held.bulk.fits(kib) {
            return Err(self.full("bulk_share", "too many requests that nobody waits for at once"));
        }
        held.requests.take(&tenant, 1, now).map_err(|short| match short {
            Short::Full => self.full("permits", "too many requests at once"),
            Short::Share => self.full("tenant_share", "too many requests of this tenant at once"),
        })?;
        if let Err(short) = held.kib.take(&tenant, kib, now) {
            held.requests.give(&tenant, 1);
            return Err(match short {
                Short::Full => self.full("bytes", "too many bytes are being received"),
                Short::Share => self.full("tenant_share", "too many bytes of this tenant are being received"),
            });
        }
        if bulk {
            held.bulk.requests += 1;
            held.bulk.kib += kib;
        }
        drop(held);
        Ok(Admitted { held: self.held.clone(), tenant, kib, bulk, _key: key })
    }

    fn full(&self, reason: &str, what: &str) -> ApiProblem {
        self.metrics.refused(reason);
        let detail = format!("{what}; the service takes no more at this moment");
        ApiProblem::new(ErrorCode::Overloaded, detail).retry_after(Duration::from_secs(1))
    }

    /// A place on the interactive lane for a job of `tenant` that must be answered within `within`, from the lane as
    /// last sampled. Whether there is room when the job comes is the queue's last word.
    pub fn place(&self, tenant: &TenantId, within: Duration) -> Result<Place> {
        let mut lane = self.lane.lock();
        let there = lane.check(tenant, within, self.queue_depth, self.began.elapsed());
        there.map_err(|why| self.no_place(&lane, within, &why))?;
        lane.take(tenant);
        drop(lane);
        Ok(Place { lane: self.lane.clone(), tenant: tenant.clone(), arrived: Mutex::new(false) })
    }

    fn no_place(&self, lane: &Lane, within: Duration, why: &NoPlace) -> ApiProblem {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(30));
        let (reason, detail, wait) = match why {
            NoPlace::Away => {
                self.metrics.refused("queue_unavailable");
                return ApiProblem::new(ErrorCode::QueueUnavailable, "the queue cannot be used at present");
            }
            NoPlace::Depth(waiting) => {
                ("queue_depth", format!("{waiting} jobs are waiting"), lane.estimate.wait().unwrap_or(least))
            }
            NoPlace::Late(waiting, wait) => {
                let ms = within.as_millis();
                ("estimated_wait", format!("{waiting} jobs are waiting, too many to be done within {ms} ms"), *wait)
            }
            NoPlace::Share(wait) => ("tenant_share", "too many jobs of this tenant are waiting".to_owned(), *wait),
        };
        self.metrics.refused(reason);
        ApiProblem::new(ErrorCode::Overloaded, detail).retry_after(wait.clamp(least, most))
    }

    /// Takes one request from the key's allowance; `None` where keys have none.
    pub async fn allowance(&self, queue: &queue::Queue, key: &KeyId) -> Option<Allowance> {
        let allowance = self.rates.spend(queue, key).await;
        if allowance.as_ref().is_some_and(|a| a.refusal().is_some()) {
            self.metrics.refused("key_rate");
        }
        allowance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(limits: &Limits) -> Admission {
        Admission::new(limits, Metrics::new(&prometheus::Registry::new(), 1).unwrap())
    }

    fn who(tenant: &str) -> Principal {
        Principal {
            key: KeyId::new("k").unwrap(),
            tenant: TenantId::new(tenant).unwrap(),
            scopes: std::iter::empty().collect(),
        }
    }

    #[test]
    fn requests_and_bytes_are_bounded_and_come_back() {
        let limits = Limits { in_flight: 2, buffered_bytes: 4096, ..Limits::default() };
        let (admission, who) = (admission(&limits), who("a"));
        let first = admission.admit(&who, 4096, false).unwrap();
        assert_eq!(admission.admit(&who, 1, false).err().unwrap().problem.code, ErrorCode::Overloaded);
        let second = admission.admit(&who, 0, false).unwrap();
        assert!(admission.admit(&who, 0, false).is_err());
        drop((first, second));
        assert!(admission.admit(&who, 1, false).is_ok());
    }

    #[test]
    fn a_tenant_that_was_refused_gets_what_comes_free() {
        let limits = Limits { in_flight: 4, ..Limits::default() };
        let (admission, a, b) = (admission(&limits), who("a"), who("b"));
        let mut held: Vec<Admitted> = (0..4).map(|_| admission.admit(&a, 0, false).unwrap()).collect();
        assert!(admission.admit(&b, 0, false).is_err());
        held.pop();
        let refused = admission.admit(&a, 0, false).err().unwrap();
        assert!(refused.problem.detail.contains("tenant"), "{refused:?}");
        assert!(admission.admit(&b, 0, false).is_ok());
    }

    #[test]
    fn a_place_given_up_is_free_again() {
        let limits = Limits { queue_depth: 1, ..Limits::default() };
        let (admission, tenant, within) = (admission(&limits), who("a").tenant, Duration::from_secs(1));
        let place = admission.place(&tenant, within).unwrap();
        assert_eq!(admission.place(&tenant, within).err().unwrap().problem.code, ErrorCode::Overloaded);
        drop(place);
        let place = admission.place(&tenant, within).unwrap();
        place.arrived();
        drop(place);
        assert!(admission.place(&tenant, within).is_err(), "it is on the lane until a look says otherwise");
    }

    #[test]
    fn work_that_nobody_waits_for_leaves_half_to_those_who_wait() {
        let limits = Limits { in_flight: 8, buffered_bytes: 8 << 20, ..Limits::default() };
        let (admission, who) = (admission(&limits), who("a"));
        let held: Vec<Admitted> = (0..4).map(|_| admission.admit(&who, 0, true).unwrap()).collect();
        let refused = admission.admit(&who, 0, true).err().unwrap();
        assert!(refused.problem.detail.contains("nobody waits"), "{refused:?}");
        drop((0..4).map(|_| admission.admit(&who, 0, false).unwrap()).collect::<Vec<_>>());
        drop(held);
        let large = admission.admit(&who, 6 << 20, true).unwrap();
        assert!(admission.admit(&who, 1 << 20, true).is_err(), "half of the bytes are held");
        drop(large);
        assert!(admission.admit(&who, 1 << 20, true).is_ok());
    }
}
