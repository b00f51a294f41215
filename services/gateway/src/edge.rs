//! The path of every request around its handler: name it, find who calls, admit it, read its body, honour its
//! idempotency key; then measure, log and finish the answer. A panic becomes `500 internal`.

mod body;
mod idempotency;

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use domain::{ErrorCode, KeyId, Principal, Problem, RequestId};
use futures::FutureExt;
use tracing::Instrument;

pub(crate) use idempotency::{StoredAs, Unstorable};

use self::body::Incoming;
use crate::{
    admission::{Allowance, Place},
    audit::Entry,
    auth,
    context::{REQUEST_ID, deadline, prefer, request_id, traceparent},
    metrics::Gauged,
    notes::Notes,
    openapi::Rule,
    peer,
    problem::{self, ApiProblem, Result},
    state::App,
};

/// The outermost layer.
pub(crate) async fn edge(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let _counted = Gauged::new(&app.metrics.in_flight);
    let seen = Seen::of(&app, &request);
    request.extensions_mut().insert(seen.request_id.clone());
    request.extensions_mut().insert(seen.trace.handle());
    let lines = seen.lines();
    // On the heap: built without optimisations, each layer around it would hold a copy of it on the thread's stack.
    Box::pin(carried(app, seen, request, next)).instrument(lines).await
}

/// The same with every line that is logged on the way under the request's ids.
async fn carried(app: App, seen: Seen, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Notes::default());
    let mut entry = None;
    let body = Incoming::take(&mut request);
    let rule = app.rules.find(&seen.route, &seen.method);
    let within = patience(&app, rule, request.headers());
    let known = in_time(within, known(&app, rule, &mut request)).await;
    let (who, allowance, answer) = match known {
        Ok((who, allowance)) => {
            if let Some(rule) = rule {
                entry = Entry::of(&mut request, rule, (&seen.route, &seen.request_id)).await;
            }
            let refusal = allowance.as_ref().and_then(Allowance::refusal).map_or(Ok(()), Err);
            let answer = match refusal.and_then(|()| authorise(rule, &request)) {
                Err(refusal) => Err(refusal),
                Ok(()) => {
                    let handled = AssertUnwindSafe(through(&app, rule, (request, body), next)).catch_unwind().await;
                    handled.unwrap_or_else(|_| Err(defect()))
                }
            };
            (who, allowance, answer)
        }
        Err(refusal) => (None, None, Err(refusal)),
    };
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    if let Some(entry) = entry {
        response = entry.record(&app, response).await.unwrap_or_else(IntoResponse::into_response);
    }
    if let Some(allowance) = allowance {
        allowance.write(response.headers_mut());
    }
    seen.finish(&app, who.as_ref(), response)
}

fn defect() -> ApiProblem {
    ApiProblem::new(ErrorCode::Internal, "a defect of the service; the log holds the details")
}

/// Who calls, and what their key has left. Of a caller who is remembered the allowance is asked for meanwhile, and a
/// place on the lane is taken before: under overload a refusal waits for nothing.
async fn known(
    app: &App,
    rule: Option<&Rule>,
    request: &mut Request,
) -> Result<(Option<Principal>, Option<Allowance>)> {
    // Public operations need no credential.
    let Some(rule) = rule.filter(|r| r.scope.is_some()) else { return Ok((None, None)) };
    let remembered = app.remembered.find(request.headers());
    // What is wrong with the request otherwise is told once there is a place.
    if let (Some((_, tenant)), Ok(Some(Lane::Interactive(within)))) = (&remembered, lane(app, rule, request)) {
        let place = Arc::new(app.admission.place(tenant, within)?);
        request.extensions_mut().insert(place);
    }
    let allowance = async |key: &KeyId| app.admission.allowance(&app.queue, key).await;
    let from = peer::address((request.extensions(), request.headers()), &app.config.trusted_proxies);
    let identified = auth::authenticate(app, request.headers(), from);
    let (principal, allowance) = match &remembered {
        Some((key, _)) => {
            let (principal, allowance) = tokio::join!(identified, allowance(key));
            (principal?, allowance)
        }
        None => {
            let principal = identified.await?;
            app.remembered.remember(request.headers(), &principal);
            let allowance = allowance(&principal.key).await;
            (principal, allowance)
        }
    };
    request.extensions_mut().insert(principal.clone());
    Ok((Some(principal), allowance))
}

/// Whether the caller has the scope that the operation needs.
fn authorise(rule: Option<&Rule>, request: &Request) -> Result<()> {
    match (rule.and_then(|r| r.scope), request.extensions().get::<Principal>()) {
        (Some(scope), Some(who)) => auth::require(who, scope),
        _ => Ok(()),
    }
}

/// Admission, body, idempotency, handler. Public operations go straight through.
async fn through(
    app: &App,
    rule: Option<&Rule>,
    (mut request, incoming): (Request, Incoming),
    next: Next,
) -> Result<Response> {
    let Some(rule) = rule else { return unruled(app, request, next).await };
    // Whoever got past a scope is known.
    let Some(who) = request.extensions().get::<Principal>() else { return Ok(next.run(request).await) };
    if rule.streams {
        let who = who.clone();
        return streamed(app, &who, (request, incoming), next).await;
    }
    let limit = if rule.takes_files { app.config.limits.request_bytes } else { app.config.limits.json_bytes };
    let lane = lane(app, rule, &request)?;
    let admitted = app.admission.admit(who, incoming.expected(request.headers(), limit)?, lane == Some(Lane::Bulk))?;
    if let Some(Lane::Interactive(within)) = lane
        && request.extensions().get::<Arc<Place>>().is_none()
    {
        let place = Arc::new(app.admission.place(&who.tenant, within)?);
        request.extensions_mut().insert(place);
    }
    *request.body_mut() = incoming.read(limit, app.config.times.body).await?.into();
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let within = patience(app, Some(rule), request.headers());
    if safe || !request.headers().contains_key(idempotency::HEADER) {
        return in_time(within, async { Ok(next.run(request).await) }).await;
    }
    in_time(within, idempotency::around(app, request, next, admitted)).await
}

/// A body that is worked on while it comes: its handler sees to time and length, and holds a part of it at a time.
async fn streamed(
    app: &App,
    who: &Principal,
    (mut request, incoming): (Request, Incoming),
    next: Next,
) -> Result<Response> {
    if request.headers().contains_key(idempotency::HEADER) {
        let detail = "is not taken here: the request can be repeated as it is, what it has done is passed over";
        return Err(Problem::invalid(idempotency::HEADER, detail).into());
    }
    let expected = incoming.expected(request.headers(), app.config.limits.import_bytes)?;
    let _admitted = app.admission.admit(who, expected.min(HELD), true)?;
    *request.body_mut() = incoming.stream();
    Ok(next.run(request).await)
}

/// Most bytes that are held of a body which is worked on while it comes.
const HELD: usize = 2 * transfer::LONGEST_LINE;

/// Beyond the deadline, so that whoever waits for a job tells by itself that it is over.
const SLACK: Duration = Duration::from_millis(250);

/// How long a request may take in all, its body not counted: its own deadline, or the time it says it would wait.
/// Storing the items of a bulk job, or a model, may take as long as any request may. A deadline that cannot be read is told later.
fn patience(app: &App, rule: Option<&Rule>, headers: &HeaderMap) -> Duration {
    let times = &app.config.times;
    let named = deadline(headers, times).ok().flatten().unwrap_or(times.deadline);
    let waits = prefer(headers).ok().and_then(|p| p.wait).unwrap_or_default().min(times.max_deadline);
    let stores = rule.is_some_and(|r| r.bulk || (r.takes_files && !r.takes_images));
    let stores = if stores { times.max_deadline } else { Duration::ZERO };
    named.max(waits).max(stores) + SLACK
}

/// Breaks off what takes longer: a store or queue that says nothing does not hold its callers.
async fn in_time<T>(within: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(within, work).await.unwrap_or_else(|_| {
        let ms = within.saturating_sub(SLACK).as_millis();
        let detail = format!("no answer within {ms} ms; whether the request took effect is not known");
        Err(ApiProblem::new(ErrorCode::DeadlineExceeded, detail))
    })
}

/// Where the job that comes of a request goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// Somebody waits; it must be done within this.
    Interactive(Duration),
    /// Nobody waits.
    Bulk,
}

/// Where the job goes that comes of this request; none where no job comes of it.
fn lane(app: &App, rule: &Rule, request: &Request) -> Result<Option<Lane>> {
    if !rule.takes_images {
        return Ok(None);
    }
    if rule.bulk {
        return Ok(Some(Lane::Bulk));
    }
    let times = &app.config.times;
    let (prefer, deadline) = (prefer(request.headers())?, deadline(request.headers(), times)?);
    Ok(Some(match (prefer.respond_async, prefer.wait) {
        (false, None) => Lane::Interactive(deadline.unwrap_or(times.deadline)),
        // Not waited for to the end: only the lane's depth counts.
        (_, Some(wait)) if !wait.is_zero() => Lane::Interactive(times.job_deadline),
        _ => Lane::Bulk,
    }))
}

/// No operation: the path is unknown, or known with other methods.
async fn unruled(app: &App, request: Request, next: Next) -> Result<Response> {
    let route = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_owned());
    let response = next.run(request).await;
    match route.map(|r| app.rules.methods(&r)) {
        Some(methods) if response.status() == StatusCode::METHOD_NOT_ALLOWED => {
            let problem = ApiProblem::new(ErrorCode::MethodNotAllowed, format!("this path takes {methods}"));
            let mut response = problem.into_response();
            if let Ok(allowed) = HeaderValue::from_str(&methods) {
                response.headers_mut().insert(header::ALLOW, allowed);
            }
            Ok(response)
        }
        _ => Ok(response),
    }
}

/// What is remembered of a request until its answer is there.
struct Seen {
    request_id: RequestId,
    route: String,
    method: Method,
    began: Instant,
    /// Over when this is dropped, answered or not.
    trace: trace::Span,
}

impl Seen {
    fn of(app: &App, request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
        let (request_id, method) = (request_id(request.headers()), request.method().clone());
        let asked = traceparent(request.headers());
        // Any method may be asked for: the span is named by those there are.
        let named = app.rules.find(route, &method).map_or("HTTP", |_| method.as_str());
        let mut trace = app.config.tracer.root(format!("{named} {route}"), trace::Kind::Server, asked);
        trace.set("http.request.method", named);
        trace.set("http.route", route);
        trace.set("visavis.request_id", request_id.as_str());
        Self { request_id, route: route.to_owned(), method, began: Instant::now(), trace }
    }

    /// What every line in the log says of the request, whatever the filter lets through otherwise.
    fn lines(&self) -> tracing::Span {
        let trace_id = self.trace.handle().trace_id();
        tracing::error_span!("http", request_id = %self.request_id, trace_id)
    }

    /// Body of a problem, common headers, numbers and one line in the log.
    fn finish(mut self, app: &App, who: Option<&Principal>, response: Response) -> Response {
        let mut response = problem::finish(response, &self.request_id);
        let headers = response.headers_mut();
        if let Ok(v) = HeaderValue::from_str(self.request_id.as_str()) {
            headers.insert(REQUEST_ID.clone(), v);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        let (status, took) = (response.status().as_u16(), self.began.elapsed());
        app.metrics.answered(&self.route, self.method.as_str(), status, took);
        self.trace.set("http.response.status_code", i64::from(status));
        if status >= 500 {
            self.trace.fail(response.status().canonical_reason().unwrap_or("5xx"));
        }
        if let Some(who) = who {
            app.metrics.answered_tenant(&who.tenant, status);
        }
        let key = who.map(|w| w.key.as_str());
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(method = %self.method, route = self.route, status, ms, request_id = %self.request_id, key, "request");
        response
    }
}
