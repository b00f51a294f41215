//! `Idempotency-Key`: the first request under a key is carried out, also when its caller hangs up; repetitions get
//! the same answer, at whichever gateway. 5xx answers are not kept, so that a repetition tries again under the same
//! job id. A repetition that comes while the first request is under way waits for its answer; when its gateway has
//! died, which shows by the lease it renewed no more, the repetition does the work, under the same job id too.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use domain::{ErrorCode, JobId, Principal, Problem, TenantId, Timestamp};
use futures::FutureExt;
use sha2::{Digest, Sha256};
use store::{Attempt, Begun, IdempotencySlot, Mention, Mentions, StoredReply};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    admission::Admitted,
    context::{JobHint, deadline},
    notes::{Noted, Notes},
    problem::{ApiProblem, Result},
    state::{App, AppState},
};

/// The header.
pub(super) const HEADER: &str = "idempotency-key";

/// Pause before the first further look at a slot that another attempt holds; each next one is twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(20);
/// Longest pause.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// Set on answers that are given again.
static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Marks a kept answer that is a problem; its body is written anew for each request.
const PROBLEM: &str = "problem";

/// Put into an answer whose body must not be kept as it is, with what to keep instead.
#[derive(Clone)]
pub(crate) struct StoredAs(pub Bytes);

/// Put into an answer that must not be kept at all.
#[derive(Clone, Copy)]
pub(crate) struct Unstorable;

/// Runs the handler unless its answer is known already. All of it in a task of its own: a caller that hangs up at
/// any moment and repeats the request finds it under way or done, never half begun.
pub(super) async fn around(app: &App, request: Request, next: Next, admitted: Admitted) -> Result<Response> {
    let app = app.clone();
    let tracker = app.detached.clone();
    let task = tracker.spawn(async move {
        let _admitted = admitted;
        once(&app, request, next).await
    });
    task.await.unwrap_or_else(|_| Err(super::defect()))
}

async fn once(app: &App, request: Request, next: Next) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let key = key(&parts)?;
    let who = parts.extensions.get::<Principal>().cloned();
    let who = who.ok_or_else(|| ApiProblem::new(ErrorCode::Internal, "no principal on this route"))?;
    let body = to_bytes(body, usize::MAX).await.map_err(|_| super::defect())?;
    let fingerprint = fingerprint(&parts, &body);
    let (slot, job) = (IdempotencySlot::new(&who.tenant, &who.key, &key), job_id(&who, &key, &fingerprint)?);
    let patience = deadline(&parts.headers, &app.config.times)?.unwrap_or(app.config.times.deadline);
    let came = Instant::now();
    let job = match claim(app, &slot, (fingerprint.as_str(), job), came + patience).await? {
        Claimed::Work(job) => job,
        Claimed::Answer(stored) => return Ok(replay(stored)),
    };
    // Less than a round trip to the store is no wait.
    let waited = Some(came.elapsed()).filter(|w| *w >= FIRST_LOOK).unwrap_or_default();
    let notes = parts.extensions.get::<Notes>().cloned().unwrap_or_default();
    let mut request = Request::from_parts(parts, Body::from(body));
    request.extensions_mut().insert(JobHint { job: job.clone(), waited });
    let lease = AbortOnDropHandle::new(tokio::spawn(renew(app.clone(), slot.clone(), job.clone())));
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    drop(lease);
    let kept = Kept { tenant: &who.tenant, slot: &slot, job: &job, noted: notes.noted() };
    keep(app, kept, handled.unwrap_or_else(|_| super::defect().into_response())).await
}

/// What a request under a key is to do.
enum Claimed {
    /// The work, under this job id.
    Work(JobId),
    /// Give this answer again.
    Answer(StoredReply),
}

/// Claims the slot. While another attempt holds it, looks again and again until `end`: for its answer, for the slot
/// freed because it failed, or for the end of its lease.
async fn claim(
    app: &AppState,
    slot: &IdempotencySlot,
    (fingerprint, job): (&str, JobId),
    end: Instant,
) -> Result<Claimed> {
    let mut pause = FIRST_LOOK;
    loop {
        let takeover_after = app.config.times.idempotency_lease;
        let attempt = Attempt { fingerprint, job_id: &job, now: Timestamp::now(), takeover_after };
        match app.idempotency.begin(slot, &attempt).await? {
            Begun::Begun => return Ok(Claimed::Work(job)),
            Begun::TakenOver(job) => return Ok(Claimed::Work(job)),
            Begun::Replay(stored) => return Ok(Claimed::Answer(stored)),
            Begun::Reused => {
                let detail = "this idempotency key was used for another request; take a new key";
                return Err(ApiProblem::new(ErrorCode::IdempotencyKeyReused, detail));
            }
            Begun::Erased => {
                let detail = "this request was carried out; its answer was erased with a subject it told of";
                return Err(ApiProblem::new(ErrorCode::Erased, detail));
            }
            Begun::InProgress if Instant::now() >= end => {
                // Not a conflict: the same request may be sent again, and gets the answer once there is one.
                let detail = "the first request with this idempotency key is still being worked on; repeat it";
                return Err(ApiProblem::new(ErrorCode::DeadlineExceeded, detail).retry_after(Duration::from_secs(1)));
            }
            Begun::InProgress => tokio::time::sleep_until((Instant::now() + pause).min(end)).await,
        }
        pause = (pause * 2).min(LAST_LOOK);
    }
}

/// Renews the lease until it is dropped or there is nothing to renew. Three renewals fit into a lease.
async fn renew(app: App, slot: IdempotencySlot, job: JobId) {
    loop {
        tokio::time::sleep(app.config.times.idempotency_lease / 3).await;
        match app.idempotency.renew(&slot, &job, Timestamp::now()).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(e) => tracing::debug!(%job, error = %e, "the lease of an idempotency key was not renewed"),
        }
    }
}

fn key(parts: &Parts) -> Result<String, Problem> {
    let text = parts.headers.get(HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if text.is_empty() || text.len() > 255 || !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err(Problem::invalid(HEADER, "must be 1 to 255 printable ASCII characters, such as a UUID"));
    }
    Ok(text.to_owned())
}

/// Digest of what makes a request the same one.
fn fingerprint(parts: &Parts, body: &[u8]) -> String {
    let path = parts.uri.path_and_query().map_or("", |p| p.as_str());
    let kind = parts.headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let (kind, body) = without_boundary(kind, body);
    let mut hash = Sha256::new();
    for part in [parts.method.as_str().as_bytes(), path.as_bytes(), &kind, &body] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// A form's boundary is made anew for every request, also for a repeated one: it is no part of what is asked.
fn without_boundary<'a>(kind: &'a [u8], body: &'a [u8]) -> (std::borrow::Cow<'a, [u8]>, std::borrow::Cow<'a, [u8]>) {
    let text = std::str::from_utf8(kind).unwrap_or_default();
    let boundary = text.split("boundary=").nth(1).map(|b| b.split(';').next().unwrap_or(b).trim().trim_matches('"'));
    let Some(boundary) = boundary.filter(|b| !b.is_empty()) else { return (kind.into(), body.into()) };
    let mut rest = body;
    let mut kept = Vec::with_capacity(body.len());
    while let Some(at) = find(rest, boundary.as_bytes()) {
        kept.extend_from_slice(&rest[..at]);
        rest = &rest[at + boundary.len()..];
    }
    kept.extend_from_slice(rest);
    (b"multipart/form-data"[..].into(), kept.into())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|b| *b == first).map(|i| from + i) {
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The same id for every repetition of a request, so that a worker which did it once finds that it did.
fn job_id(who: &Principal, key: &str, fingerprint: &str) -> Result<JobId> {
    let mut hash = Sha256::new();
    for part in [who.tenant.as_str(), who.key.as_str(), key, fingerprint] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut id: [u8; 16] = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    // Version 8 (RFC 9562): the rest is the application's own.
    id[6] = (id[6] & 0x0f) | 0x80;
    id[8] = (id[8] & 0x3f) | 0x80;
    let hex = hex::encode(id);
    let id = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    JobId::new(id).map_err(|e| ApiProblem::new(ErrorCode::Internal, e.to_string()))
}

/// Where an answer is kept, and what its request was about.
struct Kept<'a> {
    tenant: &'a TenantId,
    slot: &'a IdempotencySlot,
    job: &'a JobId,
    noted: Noted,
}

impl Kept<'_> {
    /// Whom the answer tells of.
    fn mentions(&self, app: &AppState) -> Vec<Mention> {
        let Some(collection) = &self.noted.collection else { return Vec::new() };
        let mention = |id| {
            let handle = app.pepper.handle(self.tenant, collection, id);
            Mention { collection: collection.clone(), handle }
        };
        self.noted.subjects.iter().map(mention).collect()
    }
}

/// Keeps the answer, or frees the key where there is nothing to keep.
async fn keep(app: &App, at: Kept<'_>, response: Response) -> Result<Response> {
    let (slot, job) = (at.slot, at.job);
    let status = response.status();
    let refused = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    if refused || response.extensions().get::<Unstorable>().is_some() {
        app.idempotency.abandon(slot, job).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| super::defect())?;
    let kept = match (parts.extensions.get::<ApiProblem>(), parts.extensions.get::<StoredAs>()) {
        (Some(p), _) => serde_json::to_vec(&p.problem).unwrap_or_default().into(),
        (None, Some(StoredAs(instead))) => instead.clone(),
        (None, None) => body.clone(),
    };
    let mut headers: Vec<(String, String)> = [header::CONTENT_TYPE, header::LOCATION, header::ETAG]
        .into_iter()
        .filter_map(|name| Some((name.to_string(), parts.headers.get(&name)?.to_str().ok()?.to_owned())))
        .collect();
    if parts.extensions.get::<ApiProblem>().is_some() {
        headers = vec![(PROBLEM.into(), String::new())];
    }
    let stored = StoredReply { status: status.as_u16(), headers, body: kept };
    // An answer without a body tells of nobody.
    let mentions = if stored.body.is_empty() { Vec::new() } else { at.mentions(app) };
    app.idempotency.complete_about(slot, job, (&stored, &mentions), Timestamp::now()).await?;
    if !mentions.is_empty() {
        // Beside the answer: nothing of it depends on this.
        let (store, tenant) = (app.store.clone(), at.tenant.clone());
        app.detached.spawn(async move {
            let settled = Mentions::new(store, &tenant).settle(&mentions, Timestamp::now()).await;
            if let Err(error) = settled {
                tracing::warn!(%error, "whether a kept answer tells of an erased subject is not known; it expires");
            }
        });
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(stored: StoredReply) -> Response {
    let mut response = if stored.headers.iter().any(|(name, _)| name == PROBLEM) {
        let problem = serde_json::from_slice::<Problem>(&stored.body).map(ApiProblem::from);
        problem.unwrap_or_else(|_| super::defect()).into_response()
    } else {
        let mut response = Response::new(Body::from(stored.body));
        *response.status_mut() = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
        for (name, value) in stored.headers {
            if let (Ok(n), Ok(v)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(n, v);
            }
        }
        response
    };
    response.headers_mut().insert(REPLAYED.clone(), HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(kind: &str) -> Parts {
        Request::builder().method("POST").uri("/v1/x?a=1").header("content-type", kind).body(()).unwrap().into_parts().0
    }

    #[test]
    fn forms_that_differ_only_in_their_boundary_are_the_same_request() {
        let form = |b: &str, text: &str| {
            let body = format!("--{b}\r\ncontent-disposition: form-data; name=\"id\"\r\n\r\n{text}\r\n--{b}--\r\n");
            fingerprint(&parts(&format!("multipart/form-data; boundary={b}")), body.as_bytes())
        };
        assert_eq!(form("XXXXa", "anna"), form("XXXXb", "anna"));
        assert_ne!(form("XXXXa", "anna"), form("XXXXa", "bert"));
    }

    #[test]
    fn content_type_path_and_body_count() {
        let one = fingerprint(&parts("application/json"), b"{}");
        assert_ne!(one, fingerprint(&parts("image/png"), b"{}"));
        assert_ne!(one, fingerprint(&parts("application/json"), b"{ }"));
    }
}
