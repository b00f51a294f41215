//! What may be told of a dead letter: everything about the job but its pictures and what else it carries.

use domain::Timestamp;

use crate::DeadLetter;

/// A job, told without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its id.
    pub job_id: String,
    /// What it was to do; nothing for a kind of a newer version.
    pub kind: Option<&'static str>,
    /// Whose it is.
    pub tenant: String,
    /// Public id of the API key that asked.
    pub key_id: String,
    /// The request it came from.
    pub request_id: String,
    /// When it was accepted.
    pub created: Timestamp,
    /// Until when it was to be done.
    pub deadline: Timestamp,
    /// Whether there is a job record that keeps its result.
    pub keeps_result: bool,
}

/// Tells what a dead letter was; nothing if it cannot be read, which is why it died.
#[must_use]
pub fn describe(letter: &DeadLetter) -> Option<Description> {
    let envelope = wire::decode_envelope(letter.bytes.clone()).ok()?;
    Some(Description {
        kind: wire::job_kind(&envelope).map(domain::JobKind::as_str),
        keeps_result: envelope.keep_result,
        job_id: envelope.job_id,
        tenant: envelope.tenant,
        key_id: envelope.key_id,
        request_id: envelope.request_id,
        created: Timestamp::from_millis(envelope.created_ms),
        deadline: Timestamp::from_millis(envelope.deadline_ms),
    })
}
