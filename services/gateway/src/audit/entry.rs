//! From a request and its answer to an event: who, what, about whom, with which outcome. Called by the edge, once per
//! request that is put down, and by work the service does by itself.

use axum::{
    RequestExt,
    extract::{RawPathParams, Request},
    response::Response,
};
use domain::{CollectionId, ErrorCode, Principal, RequestId, Scope, SubjectId, TenantId, Timestamp};
use evidence::AuditDraft;

use crate::{
    notes::{Noted, Notes},
    openapi::Rule,
    problem::{ApiProblem, Result},
    state::AppState,
};

/// Subjects and decisions listed in one event; of further ones the number is told.
const LISTED: usize = 32;

/// A request that is to be put down.
pub(crate) struct Entry {
    who: Principal,
    action: String,
    request_id: RequestId,
    notes: Notes,
    writes: bool,
    /// It changes nothing: who was recognised is put down, and told without waiting for the disk.
    recognises: bool,
}

impl Entry {
    /// The request of a caller who is known, of an operation with a rule; notes what its path names.
    pub async fn of(request: &mut Request, rule: &Rule, (route, request_id): (&str, &RequestId)) -> Option<Self> {
        let who = request.extensions().get::<Principal>().cloned()?;
        let notes = request.extensions().get::<Notes>().cloned()?;
        let action = format!("{} {route}", request.method());
        if let Ok(params) = request.extract_parts::<RawPathParams>().await {
            for (name, value) in &params {
                match name {
                    "collection" => CollectionId::new(value).iter().for_each(|id| notes.collection(id)),
                    "subject" => SubjectId::new(value).iter().for_each(|id| notes.subject(id)),
                    // A malformed one is nobody's and stays out of the trail.
                    _ => domain::JobId::new(value).iter().for_each(|id| notes.reference(id)),
                }
            }
        }
        let recognises = matches!(rule.scope, Some(Scope::Identify | Scope::Verify));
        Some(Self { who, action, request_id: request_id.clone(), notes, writes: writes(rule, request), recognises })
    }

    /// Puts it down; gives the answer back, or the problem that it could not be put down.
    pub async fn record(self, app: &AppState, response: Response) -> Result<Response> {
        let problem = response.extensions().get::<ApiProblem>().map(|p| p.problem.code);
        let refused = matches!(problem, Some(ErrorCode::Overloaded | ErrorCode::RateLimited));
        let noted = self.notes.noted();
        if refused || !(self.writes || noted.discloses) {
            return Ok(response);
        }
        let outcome = match problem {
            Some(code) => code.slug(),
            None if response.status().as_u16() < 400 => "ok",
            None => ErrorCode::InvalidRequest.slug(),
        };
        let draft = draft(app, &self.who.tenant, noted);
        let event = AuditDraft {
            actor: format!("key:{}", self.who.key),
            action: self.action,
            outcome: outcome.to_owned(),
            status: Some(response.status().as_u16()),
            request_id: Some(self.request_id.to_string()),
            ..draft
        };
        // What an outage refused did nothing: its event follows, its caller does not wait for the same outage again.
        if matches!(
            problem,
            Some(ErrorCode::StoreUnavailable | ErrorCode::QueueUnavailable | ErrorCode::DeadlineExceeded)
        ) {
            app.audit.record_later(&self.who.tenant, event);
            return Ok(response);
        }
        let recorded = if self.recognises {
            app.audit.record_behind(&self.who.tenant, event).await
        } else {
            app.audit.record(&self.who.tenant, event).await
        };
        recorded.map(|()| response)
    }
}

/// What changes something, recognises somebody, or gives the trail itself away. Operations that keep nothing and know
/// nobody (detection, comparison, embedding) are not put down, nor is looking at records.
fn writes(rule: &Rule, request: &Request) -> bool {
    let reads = request.method().is_safe();
    match rule.scope {
        None | Some(Scope::Detect | Scope::Compare | Scope::Embed) => false,
        Some(Scope::Audit) => !reads || request.uri().path().ends_with("/export"),
        Some(_) => !reads,
    }
}

/// An event of the service itself.
pub(crate) fn service(app: &AppState, tenant: &TenantId, action: &str, noted: Noted) -> AuditDraft {
    AuditDraft { action: action.to_owned(), outcome: "ok".to_owned(), ..draft(app, tenant, noted) }
}

fn draft(app: &AppState, tenant: &TenantId, noted: Noted) -> AuditDraft {
    let Noted { collection, subjects, mut decisions, reference, .. } = noted;
    let handle = |collection: &CollectionId| {
        let listed = subjects.iter().take(LISTED);
        listed.map(|id| app.pepper.handle(tenant, collection, id).to_string()).collect()
    };
    decisions.truncate(LISTED);
    AuditDraft {
        time: Timestamp::now(),
        actor: "service".to_owned(),
        action: String::new(),
        more_subjects: subjects.len().saturating_sub(LISTED) as u64,
        subjects: collection.as_ref().map(handle).unwrap_or_default(),
        collection,
        decisions: decisions.into_iter().map(str::to_owned).collect(),
        outcome: String::new(),
        status: None,
        reference,
        request_id: None,
    }
}
