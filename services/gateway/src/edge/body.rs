//! Reads a request's body once, within its limits in bytes and time.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::header,
};
use domain::ErrorCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::problem::{ApiProblem, Result};

/// How many bytes to make room for: the announced length, or the limit when none is announced.
pub(super) fn expected(request: &Request, limit: usize) -> Result<usize> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(n) if n > limit as u64 => Err(too_large(limit)),
        Some(n) => Ok(usize::try_from(n).unwrap_or(limit)),
        None if HttpBody::is_end_stream(request.body()) => Ok(0),
        None => Ok(limit),
    }
}

/// The same request with its body in memory.
pub(super) async fn read(request: Request, limit: usize, within: Duration) -> Result<Request> {
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(within, Limited::new(body, limit).collect()).await;
    let read = read.map_err(|_| {
        let detail = format!("the body did not arrive within {} s", within.as_secs());
        ApiProblem::new(ErrorCode::DeadlineExceeded, detail)
    })?;
    match read {
        Ok(bytes) => Ok(Request::from_parts(parts, Body::from(bytes.to_bytes()))),
        Err(e) if e.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(_) => Err(ApiProblem::new(ErrorCode::InvalidRequest, "the body broke off")),
    }
}

fn too_large(limit: usize) -> ApiProblem {
    ApiProblem::new(ErrorCode::PayloadTooLarge, format!("the body is larger than the {limit} bytes allowed here"))
}
