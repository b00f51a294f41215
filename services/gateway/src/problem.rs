//! Problem details (RFC 9457). A handler answers with an [`ApiProblem`]; the outermost layer writes its body, since
//! only there the request id is at hand and answers of the framework itself (404, 405) pass too.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{ErrorCode, FieldError, Problem, RequestId};
use queue::QueueError;
use serde::Serialize;
use store::{RepoError, StoreError};
use utoipa::ToSchema;

/// A problem on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiProblem {
    /// What went wrong.
    pub problem: Problem,
    /// When to come again, for `retry-after`.
    pub retry_after: Option<Duration>,
}

/// What every handler returns.
pub(crate) type Result<T, E = ApiProblem> = std::result::Result<T, E>;

impl ApiProblem {
    /// A problem of this code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// The same with the time after which to come again.
    pub fn retry_after(mut self, d: Duration) -> Self {
        self.retry_after = Some(d);
        self
    }
}

impl From<Problem> for ApiProblem {
    fn from(problem: Problem) -> Self {
        Self { problem, retry_after: None }
    }
}

impl From<StoreError> for ApiProblem {
    fn from(e: StoreError) -> Self {
        tracing::error!(error = %e, "store");
        let detail = match e.code() {
            ErrorCode::Conflict => "somebody else changed the same record at this moment; read it again and retry",
            _ if matches!(e, StoreError::NoRoom(_)) => {
                "the store's disk is full: what is there can be read, nothing can be changed until somebody makes room"
            }
            ErrorCode::StoreUnavailable => "the store cannot be reached at present",
            _ => "a stored record cannot be read; the log holds the details",
        };
        Self::new(e.code(), detail)
    }
}

impl From<RepoError> for ApiProblem {
    fn from(e: RepoError) -> Self {
        let code = e.code();
        let detail = match e {
            RepoError::Store(e) => return e.into(),
            RepoError::VersionMismatch => "the resource changed meanwhile; read it again and retry".into(),
            RepoError::NotFound(code) => format!("{} with this id", code.title().to_lowercase()),
            other => other.to_string(),
        };
        Self::new(code, detail)
    }
}

impl From<QueueError> for ApiProblem {
    fn from(e: QueueError) -> Self {
        match e {
            QueueError::Overloaded { retry_after } => {
                Self::new(ErrorCode::Overloaded, "more work is waiting than can be done in time")
                    .retry_after(retry_after)
            }
            QueueError::TooLarge { .. } => {
                Self::new(ErrorCode::PayloadTooLarge, "the request's images together are larger than a job may be")
            }
            e => {
                tracing::error!(error = %e, "queue");
                Self::new(e.code(), "the queue cannot be used at present")
            }
        }
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"visavis\""));
        }
        if self.retry_after.is_some() || matches!(status.as_u16(), 429 | 503) {
            let seconds = self.retry_after.unwrap_or(Duration::from_secs(1)).as_secs_f64().ceil().max(1.0);
            if let Ok(v) = HeaderValue::from_str(&format!("{seconds:.0}")) {
                headers.insert(header::RETRY_AFTER, v);
            }
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// An error, as `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// `urn:visavis:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:visavis:problem:no_face")]
    kind: String,
    /// Short summary that does not vary between occurrences.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// This occurrence, for a person.
    detail: String,
    /// The code, for a program.
    code: ErrorCode,
    /// Whether the same request may succeed later, unchanged.
    retryable: bool,
    /// The request, as the logs name it.
    #[schema(value_type = String)]
    request_id: RequestId,
    /// Field by field, where that helps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// The problem as JSON, for answers that hold one (jobs) and for the body itself.
pub(crate) fn body(problem: Problem, request_id: RequestId) -> ProblemBody {
    let code = problem.code;
    ProblemBody {
        kind: format!("urn:visavis:problem:{code}"),
        title: code.title(),
        status: code.status(),
        detail: problem.detail,
        code,
        retryable: code.retryable(),
        request_id,
        errors: problem.errors,
    }
}

/// Writes the body of an answer that is a problem, whether a handler said so or the framework did.
pub(crate) fn finish(mut response: Response, request_id: &RequestId) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = match response.extensions_mut().remove::<ApiProblem>() {
        Some(p) => p.problem,
        None => of_framework(status),
    };
    let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let bytes = serde_json::to_vec(&body(problem, request_id.clone())).unwrap_or_default();
    *response.status_mut() = status;
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    *response.body_mut() = Body::from(bytes);
    response
}

/// A problem found in a part of the request, as one of the whole: pointers lead from the root.
pub(crate) fn below(at: &str, problem: impl Into<ApiProblem>) -> ApiProblem {
    let mut whole = problem.into();
    let Problem { detail, errors, .. } = &mut whole.problem;
    if let [FieldError { pointer, detail: field }] = &errors[..]
        && *detail == format!("{pointer}: {field}")
    {
        detail.clone_from(field);
    }
    *detail = format!("{at}: {detail}");
    if errors.is_empty() {
        errors.push(FieldError { pointer: String::new(), detail: detail.clone() });
    }
    for error in errors {
        let slash = if error.pointer.is_empty() || error.pointer.starts_with('/') { "" } else { "/" };
        error.pointer = format!("{at}{slash}{}", error.pointer);
    }
    whole
}

/// What an answer without a problem of ours means.
fn of_framework(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::new(ErrorCode::NotFound, "there is nothing at this path; see /docs"),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(ErrorCode::MethodNotAllowed, "this path takes other methods"),
        s if s.is_client_error() => Problem::new(ErrorCode::InvalidRequest, "the request cannot be read"),
        _ => Problem::new(ErrorCode::Internal, "a defect of the service; the log holds the details"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    #[tokio::test]
    async fn a_problem_has_every_documented_member() {
        let response = ApiProblem::from(Problem::invalid("/limit", "must be 1 to 100")).into_response();
        let response = finish(response, &RequestId::new("r-1").unwrap());
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let json: serde_json::Value =
            serde_json::from_slice(&to_bytes(response.into_body(), 9999).await.unwrap()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:visavis:problem:invalid_request", "title": "The request is not valid", "status": 400,
                "detail": "/limit: must be 1 to 100", "code": "invalid_request", "retryable": false,
                "request_id": "r-1", "errors": [{"pointer": "/limit", "detail": "must be 1 to 100"}],
            })
        );
    }

    #[test]
    fn retryable_refusals_say_when_to_come_again() {
        let r = ApiProblem::new(ErrorCode::Overloaded, "x").retry_after(Duration::from_millis(2100)).into_response();
        assert_eq!(r.headers()[header::RETRY_AFTER], "3");
        let away = ApiProblem::from(QueueError::Unavailable("connection refused to 10.0.0.7".into()));
        assert!(!away.problem.detail.contains("10.0.0.7"), "the inside is not told");
        let r = away.into_response();
        assert_eq!((r.status().as_u16(), &r.headers()[header::RETRY_AFTER]), (503, &HeaderValue::from_static("1")));
        let full = ApiProblem::from(QueueError::Overloaded { retry_after: Duration::from_secs(4) });
        assert_eq!((full.problem.code, full.retry_after), (ErrorCode::Overloaded, Some(Duration::from_secs(4))));
    }
}
