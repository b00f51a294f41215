//! Jobs that a consumer takes off a lane without delivering them, and who is told.

use async_trait::async_trait;
use domain::{ErrorCode, Problem};
use wire::v1::{Envelope, Reply, reply::Outcome};

/// Why a job was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Its deadline has passed: answered `deadline_exceeded`.
    PastDeadline,
    /// Its caller cancelled it or went away: not answered.
    Cancelled,
    /// Delivered too often without an answer: a dead letter, answered `inference_failed`.
    GaveUp,
}

impl Rejection {
    /// What the caller is told; `None` if nobody is.
    #[must_use]
    pub fn problem(self) -> Option<Problem> {
        match self {
            Self::PastDeadline => Some(Problem::new(
                ErrorCode::DeadlineExceeded,
                "The deadline passed while the request waited for a worker. Try again, or allow more time.",
            )),
            Self::GaveUp => Some(Problem::new(
                ErrorCode::InferenceFailed,
                "The request was given up after several workers failed on it.",
            )),
            Self::Cancelled => None,
        }
    }

    /// Name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PastDeadline => "past_deadline",
            Self::Cancelled => "cancelled",
            Self::GaveUp => "gave_up",
        }
    }

    pub(crate) fn reply(self, envelope: &Envelope, worker: &str) -> Option<Reply> {
        let problem = self.problem()?;
        Some(Reply {
            job_id: envelope.job_id.clone(),
            worker: worker.to_owned(),
            outcome: Some(Outcome::Problem(problem.into())),
            ..Reply::default()
        })
    }
}

/// Told of each job that is not delivered, before it is answered and acknowledged: the place to end the record of a
/// job whose result is kept, and to count. May be told twice of the same job.
#[async_trait]
pub trait OnRejected: Send + Sync + 'static {
    /// A job was taken off the lane for this reason.
    async fn rejected(&self, envelope: &Envelope, rejection: Rejection);
}
