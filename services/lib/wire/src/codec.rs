//! Bytes ↔ messages. Decoding checks what every consumer relies on, so that a bad entry is found here and
//! nowhere else.

use bytes::Bytes;
use domain::JobKind;
use prost::Message;

use crate::v1::{BulkItem, BulkRequest, Envelope, Reply, WorkerPresence, envelope::Request};

/// Why bytes or a message were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No protobuf message of that type.
    #[error("not a {what}: {reason}")]
    Malformed {
        /// The expected message.
        what: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// A field that must be there is not, or holds what it must not.
    #[error("{field} is missing or not valid")]
    Field {
        /// The field's name.
        field: &'static str,
    },
}

/// Serialises a job.
#[must_use]
pub fn encode_envelope(envelope: &Envelope) -> Bytes {
    envelope.encode_to_vec().into()
}

/// Reads a job: it has an id, a tenant and a deadline. The request itself may be of a kind this version does not
/// know ([`job_kind`] is `None` then).
///
/// # Errors
/// [`WireError`] for bytes that are no such message.
pub fn decode_envelope(bytes: Bytes) -> Result<Envelope, WireError> {
    let envelope =
        Envelope::decode(bytes).map_err(|e| WireError::Malformed { what: "job envelope", reason: e.to_string() })?;
    if domain::JobId::new(&envelope.job_id).is_err() {
        return Err(WireError::Field { field: "job_id" });
    }
    if domain::TenantId::new(&envelope.tenant).is_err() {
        return Err(WireError::Field { field: "tenant" });
    }
    if envelope.deadline_ms <= 0 {
        return Err(WireError::Field { field: "deadline_ms" });
    }
    Ok(envelope)
}

/// Serialises a reply.
#[must_use]
pub fn encode_reply(reply: &Reply) -> Bytes {
    reply.encode_to_vec().into()
}

/// Reads a reply.
///
/// # Errors
/// [`WireError`] for bytes that are no reply with an outcome.
pub fn decode_reply(bytes: Bytes) -> Result<Reply, WireError> {
    let reply = Reply::decode(bytes).map_err(|e| WireError::Malformed { what: "reply", reason: e.to_string() })?;
    if domain::JobId::new(&reply.job_id).is_err() {
        return Err(WireError::Field { field: "job_id" });
    }
    Ok(reply)
}

/// The same job, created and due at other moments (ms since the Unix epoch), with nobody waiting for its reply. Fields
/// of a newer version stay: what changes is appended, and of a field that comes twice the last one counts.
#[must_use]
pub fn renewed_envelope(bytes: &[u8], created_ms: i64, deadline_ms: i64) -> Bytes {
    let moments = Envelope { created_ms, deadline_ms, ..Envelope::default() };
    [bytes, &moments.encode_to_vec(), &NO_REPLY_TO].concat().into()
}

/// `reply_to` as an empty text, which encoding a message would leave out: field 9, of no bytes.
const NO_REPLY_TO: [u8; 2] = [0x4a, 0];

/// What the job asks for; `None` for a kind of a newer version.
#[must_use]
pub fn job_kind(envelope: &Envelope) -> Option<JobKind> {
    envelope.request.as_ref().map(request_kind)
}

/// What a request asks for.
#[must_use]
pub fn request_kind(request: &Request) -> JobKind {
    match request {
        Request::Detect(_) => JobKind::Detect,
        Request::Compare(_) => JobKind::Compare,
        Request::Embed(_) => JobKind::Embed,
        Request::Enrol(_) => JobKind::Enrol,
        Request::Identify(_) => JobKind::Identify,
        Request::Verify(_) => JobKind::Verify,
        Request::CatchUp(_) => JobKind::CatchUp,
        Request::Bulk(r) => bulk_kind(r),
        Request::Train(_) => JobKind::Train,
        Request::Gate(_) | Request::Promotion(_) | Request::Prepare(_) => JobKind::Promote,
    }
}

/// A bulk job says its kind in words; one of a newer version counts as the kind that may do most.
fn bulk_kind(request: &BulkRequest) -> JobKind {
    if request.kind == JobKind::BulkIdentify.as_str() { JobKind::BulkIdentify } else { JobKind::BulkEnrol }
}

/// Serialises an item of a bulk job.
#[must_use]
pub fn encode_item(item: &BulkItem) -> Bytes {
    item.encode_to_vec().into()
}

/// Reads an item of a bulk job. Its request may be of a kind this version does not know (`None` then).
///
/// # Errors
/// [`WireError`] for bytes that are no such message.
pub fn decode_item(bytes: Bytes) -> Result<BulkItem, WireError> {
    BulkItem::decode(bytes).map_err(|e| WireError::Malformed { what: "item of a bulk job", reason: e.to_string() })
}

/// Serialises what a worker says of itself.
#[must_use]
pub fn encode_presence(presence: &WorkerPresence) -> Bytes {
    presence.encode_to_vec().into()
}

/// Reads what a worker says of itself.
///
/// # Errors
/// [`WireError`] for bytes that are no such message, or one without a name.
pub fn decode_presence(bytes: Bytes) -> Result<WorkerPresence, WireError> {
    let presence = WorkerPresence::decode(bytes)
        .map_err(|e| WireError::Malformed { what: "worker's presence", reason: e.to_string() })?;
    if presence.name.is_empty() {
        return Err(WireError::Field { field: "name" });
    }
    Ok(presence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::DetectRequest;
    use proptest::prelude::*;

    fn envelope() -> Envelope {
        Envelope {
            job_id: "j1".into(),
            tenant: "default".into(),
            deadline_ms: 5,
            request: Some(Request::Detect(DetectRequest::default())),
            ..Default::default()
        }
    }

    #[test]
    fn a_job_survives_the_wire() {
        let e = envelope();
        assert_eq!(decode_envelope(encode_envelope(&e)), Ok(e.clone()));
        assert_eq!(job_kind(&e), Some(JobKind::Detect));
    }

    #[test]
    fn a_job_without_id_tenant_or_deadline_is_refused_by_name() {
        for (field, e) in [
            ("job_id", Envelope { job_id: String::new(), ..envelope() }),
            ("tenant", Envelope { tenant: "../x".into(), ..envelope() }),
            ("deadline_ms", Envelope { deadline_ms: 0, ..envelope() }),
        ] {
            assert_eq!(decode_envelope(encode_envelope(&e)), Err(WireError::Field { field }));
        }
    }

    #[test]
    fn fields_and_kinds_of_a_newer_version_do_not_break_an_older_one() {
        let mut bytes = encode_envelope(&Envelope { request: None, ..envelope() }).to_vec();
        // Field 99, length-delimited, three bytes: a request kind nobody here knows.
        bytes.extend_from_slice(&[0x9a, 0x06, 3, 1, 2, 3]);
        let e = decode_envelope(bytes.into()).unwrap();
        assert_eq!(job_kind(&e), None);
    }

    #[test]
    fn a_renewed_job_is_the_same_but_for_its_moments_and_keeps_what_a_newer_version_wrote() {
        let waited_for = Envelope { created_ms: 1, reply_to: "a-gateway".into(), ..envelope() };
        let newer = [0x9a, 0x06, 3, 1, 2, 3];
        let bytes = renewed_envelope(&[&encode_envelope(&waited_for)[..], &newer].concat(), 70, 80);
        assert!(bytes.windows(newer.len()).any(|w| w == newer));
        let wanted = Envelope { created_ms: 70, deadline_ms: 80, ..envelope() };
        assert_eq!(decode_envelope(bytes), Ok(wanted));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_envelope(bytes.clone().into());
            let _ = decode_reply(bytes.into());
        }
    }
}
