//! The one closed set of error codes, and the problem that carries a code to a caller.
//! Slugs are part of the API: they are snapshot-tested and never renamed.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $slug:literal, $status:literal, $retry:literal, $title:literal;)*) => {
        /// What went wrong, as a caller's program sees it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code, in the order of the API page.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Stable name in `code` and at the end of the problem's `type`.
            #[must_use]
            pub const fn slug(self) -> &'static str { match self { $(Self::$name => $slug,)* } }

            /// HTTP status that goes with the code.
            #[must_use]
            pub const fn status(self) -> u16 { match self { $(Self::$name => $status,)* } }

            /// Whether the same request may succeed later, unchanged.
            #[must_use]
            pub const fn retryable(self) -> bool { match self { $(Self::$name => $retry,)* } }

            /// Short summary that does not vary between occurrences.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $(Self::$name => $title,)* } }

            /// The code with this slug.
            #[must_use]
            pub fn from_slug(slug: &str) -> Option<Self> {
                match slug { $($slug => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// The request does not have the documented form.
    InvalidRequest = "invalid_request", 400, false, "The request is not valid";
    /// A list cursor that this service did not give out.
    InvalidCursor = "invalid_cursor", 400, false, "The cursor is not valid";
    /// No credential, or one that is not known.
    Unauthenticated = "unauthenticated", 401, false, "A valid API key or token is required";
    /// The credential lacks the scope.
    Forbidden = "forbidden", 403, false, "The credential does not allow this";
    /// Enrolment of a person without a consent on record.
    ConsentRequired = "consent_required", 403, false, "A consent record is required";
    /// A purpose outside what the collection was made for.
    PurposeNotAllowed = "purpose_not_allowed", 403, false, "The purpose is not allowed for this collection";
    /// No such path.
    NotFound = "not_found", 404, false, "No such resource";
    /// No such collection.
    CollectionNotFound = "collection_not_found", 404, false, "No such collection";
    /// No such subject.
    SubjectNotFound = "subject_not_found", 404, false, "No such subject";
    /// No such enrolled face.
    FaceNotFound = "face_not_found", 404, false, "No such face";
    /// No such consent record.
    ConsentNotFound = "consent_not_found", 404, false, "No such consent";
    /// No such API key.
    KeyNotFound = "key_not_found", 404, false, "No such API key";
    /// No such job.
    JobNotFound = "job_not_found", 404, false, "No such job";
    /// No such model.
    ModelNotFound = "model_not_found", 404, false, "No such model";
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, false, "The method is not allowed here";
    /// It existed and was erased.
    Erased = "erased", 410, false, "It has been erased";
    /// Clashes with the present state.
    Conflict = "conflict", 409, false, "The request conflicts with the present state";
    /// The collection's templates are of another embedding contract.
    CollectionModelMismatch = "collection_model_mismatch", 409, false, "The collection was enrolled with another model";
    /// A candidate model did not pass the gate.
    GateFailed = "gate_failed", 409, false, "The candidate model did not pass the gate";
    /// `If-Match` does not match.
    PreconditionFailed = "precondition_failed", 412, false, "The resource has changed";
    /// More bytes than allowed.
    PayloadTooLarge = "payload_too_large", 413, false, "The request is too large";
    /// More pixels than allowed.
    ImageTooLarge = "image_too_large", 413, false, "The image has too many pixels";
    /// Neither JPEG, PNG nor WebP, or a body of a type the endpoint does not read.
    UnsupportedMediaType = "unsupported_media_type", 415, false, "The media type is not supported";
    /// Damaged image.
    ImageUndecodable = "image_undecodable", 422, false, "The image cannot be decoded";
    /// A face is needed and there is none.
    NoFace = "no_face", 422, false, "No face was found";
    /// One face is needed and there are several.
    MultipleFaces = "multiple_faces", 422, false, "Several faces were found where one is needed";
    /// The face does not pass the collection's quality gate.
    LowQuality = "low_quality", 422, false, "The face's quality is too low";
    /// The face looks like a presentation attack.
    SpoofSuspected = "spoof_suspected", 422, false, "The face may not be a live person";
    /// The same idempotency key came with another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422, false, "The idempotency key was used for another request";
    /// Too many requests of this key.
    RateLimited = "rate_limited", 429, true, "Too many requests";
    /// A defect of the service.
    Internal = "internal", 500, false, "Internal error";
    /// The model run failed.
    InferenceFailed = "inference_failed", 500, true, "The model run failed";
    /// More work than the service can finish in time.
    Overloaded = "overloaded", 503, true, "The service is overloaded";
    /// The queue cannot be reached.
    QueueUnavailable = "queue_unavailable", 503, true, "The queue is unavailable";
    /// The store cannot be reached.
    StoreUnavailable = "store_unavailable", 503, true, "The store is unavailable";
    /// The identity provider whose token was sent has given no keys to check it with.
    IssuerUnavailable = "issuer_unavailable", 503, true, "The identity provider is unavailable";
    /// Models are still being loaded.
    ModelNotReady = "model_not_ready", 503, true, "The models are not ready yet";
    /// Not finished by the deadline.
    DeadlineExceeded = "deadline_exceeded", 504, true, "The deadline passed";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

/// What is wrong with one field of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Where: a JSON pointer (`/threshold/target_fpir`), a form field, a header or a query parameter.
    pub pointer: String,
    /// What is wrong, for a person to act on.
    pub detail: String,
}

/// An error on its way to a caller: a code, a sentence a person can act on, and field errors.
/// Never holds image bytes, vectors, names or keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    /// The code.
    pub code: ErrorCode,
    /// This occurrence, for a person.
    pub detail: String,
    /// Field by field, where that helps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem without field errors.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new() }
    }

    /// `400 invalid_request` about one field.
    #[must_use]
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (pointer.into(), detail.into());
        Self {
            code: ErrorCode::InvalidRequest,
            detail: format!("{pointer}: {detail}"),
            errors: vec![FieldError { pointer, detail }],
        }
    }

    /// `400 invalid_request` about all these fields; fine if there are none.
    ///
    /// # Errors
    /// The problem.
    pub fn refusal(errors: Vec<FieldError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.pointer, e.detail)).collect();
        Err(Self { code: ErrorCode::InvalidRequest, detail: told.join("; "), errors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_statuses_and_retryability_are_frozen() {
        let table: Vec<String> = ErrorCode::ALL
            .iter()
            .map(|c| format!("{} {} {}", c.status(), c.slug(), if c.retryable() { "retryable" } else { "final" }))
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn json_uses_the_slug_and_slugs_find_their_code() {
        for &c in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(c).unwrap(), c.slug());
            assert_eq!(ErrorCode::from_slug(c.slug()), Some(c));
        }
    }
}
