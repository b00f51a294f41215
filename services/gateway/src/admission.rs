//! How much is taken on at once: a permit per request, a share of the memory for its body, and a look at the lane.
//! What does not fit is refused at once, before its body is read.

use std::{sync::Arc, time::Duration};

use domain::{ErrorCode, Lane};
use queue::Queue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    config::Limits,
    problem::{ApiProblem, Result},
};

/// Permits for requests and for kibibytes of their bodies.
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    kib: Arc<Semaphore>,
    queue_depth: u64,
}

/// Held until the answer is made.
pub(crate) struct Admitted {
    _request: OwnedSemaphorePermit,
    _kib: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// Permits as `limits` says.
    pub fn new(limits: &Limits) -> Self {
        let kib = (limits.buffered_bytes / 1024).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            requests: Arc::new(Semaphore::new(limits.in_flight.min(Semaphore::MAX_PERMITS))),
            kib: Arc::new(Semaphore::new(kib)),
            queue_depth: limits.queue_depth,
        }
    }

    /// A permit for a request whose body takes up to `bytes`.
    pub fn admit(&self, bytes: usize) -> Result<Admitted> {
        let full = |what: &str| {
            let detail = format!("{what}; the service takes no more at this moment");
            ApiProblem::new(ErrorCode::Overloaded, detail).retry_after(Duration::from_secs(1))
        };
        let request = Arc::clone(&self.requests).try_acquire_owned().map_err(|_| full("too many requests at once"))?;
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let kib = (kib > 0).then(|| Arc::clone(&self.kib).try_acquire_many_owned(kib)).transpose();
        Ok(Admitted { _request: request, _kib: kib.map_err(|_| full("too many bytes are being received"))? })
    }

    /// Whether the interactive lane has room.
    pub async fn look(&self, queue: &Queue) -> Result<()> {
        let depth = queue.depth(Lane::Interactive).await?;
        if depth.waiting as u64 >= self.queue_depth {
            let wait = depth.oldest_age.clamp(Duration::from_secs(1), Duration::from_secs(30));
            let detail = format!("{} jobs are waiting", depth.waiting);
            return Err(ApiProblem::new(ErrorCode::Overloaded, detail).retry_after(wait));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_bytes_are_bounded_and_come_back() {
        let limits = Limits { in_flight: 2, buffered_bytes: 4096, ..Limits::default() };
        let admission = Admission::new(&limits);
        let first = admission.admit(4096).unwrap();
        assert_eq!(admission.admit(1).err().unwrap().problem.code, ErrorCode::Overloaded);
        let second = admission.admit(0).unwrap();
        assert!(admission.admit(0).is_err());
        drop((first, second));
        assert!(admission.admit(1).is_ok());
    }
}
