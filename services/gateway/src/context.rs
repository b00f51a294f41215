//! What a request brings beside its body: its id, its deadline, how long the caller wants to wait, its trace.
//! Read once by the edge, handed to handlers as a [`Call`].

use std::{sync::Arc, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, request::Parts},
};
use domain::{ErrorCode, JobId, KeyId, Principal, Problem, RequestId, TenantId};
use trace::{Handle, SpanContext};

use crate::{admission::Place, config::Times, notes::Notes, problem::ApiProblem, state::App};

/// The request's name in answers and logs.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How the caller wants to be answered (RFC 7240).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    /// Answer 202 instead of waiting.
    pub respond_async: bool,
    /// Wait this long, then answer 202.
    pub wait: Option<Duration>,
}

/// Everything about a request but its body and path.
#[derive(Clone)]
pub(crate) struct Call {
    /// Its name.
    pub request_id: RequestId,
    /// Who calls.
    pub principal: Principal,
    /// Time from the end of the body to the answer; `None` when the caller named none.
    pub deadline: Option<Duration>,
    /// How to answer.
    pub prefer: Prefer,
    /// The request's span, for what is done for it.
    pub trace: Handle,
    /// Id for the job this request may start; the same again when a broken-off request is repeated.
    pub job: JobId,
    /// The caller may repeat the request and must then find this job's effect: it is never cancelled.
    pub repeatable: bool,
    /// The place on the interactive lane that admission promised.
    pub place: Option<Arc<Place>>,
    /// What it turns out to be about.
    pub notes: Notes,
}

impl Call {
    /// One of the service itself, in a tenant's name.
    pub fn of_service(tenant: &TenantId, key: Option<&KeyId>) -> Result<Self, ApiProblem> {
        let key = match key {
            Some(key) => key.clone(),
            None => KeyId::new("service").map_err(|e| ApiProblem::new(ErrorCode::Internal, e.to_string()))?,
        };
        Ok(Self {
            request_id: RequestId::generate(),
            principal: Principal { key, tenant: tenant.clone(), scopes: Default::default() },
            deadline: None,
            prefer: Prefer::default(),
            trace: Handle::default(),
            job: JobId::generate(),
            repeatable: false,
            place: None,
            notes: Notes::default(),
        })
    }

    /// An id for something this request makes and the caller did not name: the same one when it is repeated.
    pub fn fresh<T: std::str::FromStr>(&self, generate: impl FnOnce() -> T) -> T {
        let again = self.repeatable.then(|| self.job.as_str().parse().ok()).flatten();
        again.unwrap_or_else(generate)
    }
}

/// The job id that an idempotency key has been given before, and how much of the caller's time the key has taken.
#[derive(Clone, Debug)]
pub(crate) struct JobHint {
    /// The id.
    pub job: JobId,
    /// Time spent waiting for an earlier attempt.
    pub waited: Duration,
}

impl FromRequestParts<App> for Call {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiProblem> {
        let request_id = parts.extensions.get::<RequestId>().cloned().unwrap_or_else(RequestId::generate);
        // Every route with a handler that takes a call requires a scope, so the edge has put the principal here.
        let principal = parts.extensions.get::<Principal>().cloned();
        let principal = principal.ok_or_else(|| ApiProblem::new(ErrorCode::Internal, "no principal on this route"))?;
        let hint = parts.extensions.get::<JobHint>().cloned();
        let waited = hint.as_ref().map(|h| h.waited).filter(|w| !w.is_zero());
        let deadline = deadline(&parts.headers, &app.config.times)?;
        let left = |w| deadline.unwrap_or(app.config.times.deadline).saturating_sub(w);
        Ok(Self {
            request_id,
            principal,
            deadline: waited.map(left).or(deadline),
            prefer: prefer(&parts.headers)?,
            trace: parts.extensions.get::<Handle>().cloned().unwrap_or_default(),
            repeatable: hint.is_some(),
            place: parts.extensions.get::<Arc<Place>>().cloned(),
            notes: parts.extensions.get::<Notes>().cloned().unwrap_or_default(),
            job: hint.map_or_else(JobId::generate, |h| h.job),
        })
    }
}

/// The caller's id for the request if it is one, else a fresh one.
pub(crate) fn request_id(headers: &HeaderMap) -> RequestId {
    let given = headers.get(&REQUEST_ID).and_then(|v| v.to_str().ok()).and_then(|s| RequestId::new(s).ok());
    given.unwrap_or_else(RequestId::generate)
}

/// The deadline the caller named, capped.
pub(crate) fn deadline(headers: &HeaderMap, times: &Times) -> Result<Option<Duration>, Problem> {
    let Some(value) = headers.get("x-deadline-ms") else { return Ok(None) };
    let ms = value.to_str().ok().and_then(|s| whole(s.trim())).filter(|ms| *ms > 0);
    let ms = ms.ok_or_else(|| Problem::invalid("x-deadline-ms", "must be a whole number of milliseconds above 0"))?;
    Ok(Some(Duration::from_millis(ms).min(times.max_deadline)))
}

/// A whole number; one that is too large for its type is the largest, as it will be capped in any case.
fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// How the caller wants to be answered.
pub(crate) fn prefer(headers: &HeaderMap) -> Result<Prefer, Problem> {
    let mut prefer = Prefer::default();
    let values = headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok());
    for item in values.flat_map(|v| v.split([',', ';'])) {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        match (name.trim().to_ascii_lowercase().as_str(), value.trim().trim_matches('"')) {
            ("respond-async", _) => prefer.respond_async = true,
            ("wait", n) => {
                let seconds = n.parse::<u32>().map_err(|_| Problem::invalid("prefer", "wait must be whole seconds"))?;
                prefer.wait = Some(Duration::from_secs(seconds.into()));
            }
            // Preferences that are not known are ignored, as RFC 7240 says.
            _ => {}
        }
    }
    Ok(prefer)
}

/// The trace that the caller says the request is part of.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<SpanContext> {
    SpanContext::parse(headers.get("traceparent")?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(HeaderName::from_static(name), value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn deadlines_are_capped_and_nonsense_is_refused() {
        let t = Times::default();
        assert_eq!(deadline(&HeaderMap::new(), &t), Ok(None));
        assert_eq!(deadline(&headers("x-deadline-ms", "250"), &t), Ok(Some(Duration::from_millis(250))));
        for large in ["9999999", "102867908491494195200"] {
            assert_eq!(deadline(&headers("x-deadline-ms", large), &t), Ok(Some(t.max_deadline)));
        }
        for bad in ["0", "-1", "soon", "1.5", ""] {
            assert!(deadline(&headers("x-deadline-ms", bad), &t).is_err(), "{bad}");
        }
    }

    #[test]
    fn preferences_come_in_any_order_and_unknown_ones_are_ignored() {
        let p = prefer(&headers("prefer", "handling=strict, respond-async; wait=2")).unwrap();
        assert_eq!(p, Prefer { respond_async: true, wait: Some(Duration::from_secs(2)) });
        assert!(prefer(&headers("prefer", "wait=soon")).is_err());
    }

    #[test]
    fn only_well_formed_trace_context_travels_on() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(&headers("traceparent", good)).map(|c| c.to_string()).as_deref(), Some(good));
        assert_eq!(traceparent(&headers("traceparent", "00-xyz")), None);
    }

    #[test]
    fn a_request_id_outside_the_alphabet_is_replaced() {
        assert_eq!(request_id(&headers("x-request-id", "abc-1")).as_str(), "abc-1");
        assert_ne!(request_id(&headers("x-request-id", "a b")).as_str(), "a b");
    }
}
