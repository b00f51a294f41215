//! Reads a request's body once, within its limits in bytes and time.

use std::{sync::LazyLock, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use domain::ErrorCode;
use futures::stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::Semaphore;

use crate::problem::{ApiProblem, Result};

/// What is still taken of the body of a request that was refused.
const LINGER_BYTES: usize = 64 << 20;
/// For how long.
const LINGER: Duration = Duration::from_secs(5);
/// From how many callers at once.
static LINGERING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(64));

/// A body on its way in. If it is dropped unread, because the request was refused, the rest is taken and thrown away
/// for a while: a caller still sending would otherwise see a broken connection instead of the answer.
pub(super) struct Incoming {
    body: Option<Body>,
    /// The caller waits for leave to send it (`Expect: 100-continue`), which a refusal must not give.
    waits: bool,
}

impl Incoming {
    /// Takes the body out of `request`.
    pub fn take(request: &mut Request) -> Self {
        let waits = request.headers().contains_key(header::EXPECT);
        Self { body: Some(std::mem::take(request.body_mut())), waits }
    }

    /// How many bytes to make room for: the announced length, or the limit when none is announced.
    pub fn expected(&self, headers: &HeaderMap, limit: usize) -> Result<usize> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        match announced {
            Some(n) if n > limit as u64 => Err(too_large(limit)),
            Some(n) => Ok(usize::try_from(n).unwrap_or(limit)),
            None if self.body.as_ref().is_none_or(HttpBody::is_end_stream) => Ok(0),
            None => Ok(limit),
        }
    }

    /// The body as it comes, piece by piece. If that is dropped before its end, the rest is taken as of one unread.
    pub fn stream(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut incoming| async move {
            let piece = incoming.body.as_mut()?.frame().await.map(|frame| frame.map(|f| f.into_data()));
            if !matches!(piece, Some(Ok(_))) {
                incoming.body = None;
            }
            // Frames that are not data are trailers, which nobody reads.
            Some((piece?.map(Result::unwrap_or_default), incoming))
        }))
    }

    /// The whole body.
    pub async fn read(mut self, limit: usize, within: Duration) -> Result<Bytes> {
        let Some(body) = &mut self.body else { return Ok(Bytes::new()) };
        let read = tokio::time::timeout(within, Limited::new(body, limit).collect()).await;
        let read = read.map_err(|_| {
            let detail = format!("the body did not arrive within {} s", within.as_secs());
            ApiProblem::new(ErrorCode::DeadlineExceeded, detail)
        })?;
        match read {
            Ok(bytes) => {
                self.body = None;
                Ok(bytes.to_bytes())
            }
            Err(e) if e.is::<LengthLimitError>() => Err(too_large(limit)),
            Err(_) => Err(ApiProblem::new(ErrorCode::InvalidRequest, "the body broke off")),
        }
    }
}
impl Drop for Incoming {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|b| !self.waits && !b.is_end_stream()) else { return };
        let (Ok(permit), Ok(runtime)) = (LINGERING.try_acquire(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            let _permit = permit;
            let rest = async {
                let mut left = LINGER_BYTES;
                while let Some(Ok(frame)) = body.frame().await {
                    let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
                    left = rest;
                }
            };
            // Whether it ended or its time did, there is nothing more to do.
            let _ = tokio::time::timeout(LINGER, rest).await;
        });
    }
}

fn too_large(limit: usize) -> ApiProblem {
    ApiProblem::new(ErrorCode::PayloadTooLarge, format!("the body is larger than the {limit} bytes allowed here"))
}
