//! What may go wrong between a role and the queue.

use std::time::Duration;

use domain::ErrorCode;

/// Why the queue did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The lane is full, or the job would wait in it past its deadline.
    #[error("the lane has no room; try again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// When a new try makes sense.
        retry_after: Duration,
    },
    /// One job that no empty lane could hold.
    #[error("a job of {bytes} bytes is larger than the lane's bound")]
    TooLarge {
        /// Size of the serialised job.
        bytes: usize,
    },
    /// The engine cannot be reached.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// The engine refuses this process: wrong credentials, missing permissions, an address that cannot be used.
    #[error("the queue refuses this process: {0}")]
    Refused(String),
    /// The delivery was taken over by another consumer meanwhile: this one's answer does not count.
    #[error("the delivery was taken over by another consumer")]
    Lost,
    /// Options that would lose or repeat work.
    #[error("queue options: {0}")]
    Options(String),
}

impl QueueError {
    /// Whether trying again cannot help.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Options(_) | Self::TooLarge { .. })
    }

    /// The code a caller of the service sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Overloaded { .. } => ErrorCode::Overloaded,
            Self::TooLarge { .. } => ErrorCode::PayloadTooLarge,
            Self::Unavailable(_) | Self::Refused(_) => ErrorCode::QueueUnavailable,
            Self::Lost | Self::Options(_) => ErrorCode::Internal,
        }
    }
}
