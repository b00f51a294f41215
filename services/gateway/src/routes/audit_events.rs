//! `/v1/audit-events`: the tenant's audit trail: searched, its head, and all of it as a file that verifies itself.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use domain::{CollectionId, Problem, SubjectId, TenantId, Timestamp};
use evidence::{AuditEvent, ChainHead, SignedHead, anchor_line, head_line};
use futures::stream;
use serde::{Deserialize, Serialize};
use store::{Audit, RepoError};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    context::Call,
    extract::{Page, Search, check_page},
    problem::{ApiProblem, Result},
    state::{App, AppState},
};

/// Events read at once.
const READ: usize = 256;
/// Events looked at for one page: where few fit, the page is short and its cursor leads on.
const LOOKED_AT: usize = 4_096;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(head)).routes(routes!(export))
}

/// Which events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Most items to return, 1 to 100; 50 unless said.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only of this collection.
    collection_id: Option<CollectionId>,
    /// Only about this subject; goes with `collection_id`. Found by its handle, also after its erasure.
    subject_id: Option<SubjectId>,
    /// Only of this caller: `key:ID` or `service`.
    actor: Option<String>,
    /// Only with this outcome: `ok` or the code of a problem.
    outcome: Option<String>,
    /// Only about this job, erasure or consent.
    reference: Option<String>,
    /// Only from this moment on.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only from before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

impl AuditQuery {
    fn admits(&self, event: &AuditEvent, handle: Option<&str>) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
        let of = self.collection_id.as_ref().is_none_or(|c| event.collection.as_ref() == Some(c));
        of && handle.is_none_or(|h| event.subjects.iter().any(|s| s == h))
            && is(&self.actor, &event.actor)
            && is(&self.outcome, &event.outcome)
            && self.reference.as_ref().is_none_or(|r| event.reference.as_ref() == Some(r))
            && self.since.is_none_or(|since| event.time >= since)
            && self.until.is_none_or(|until| event.time < until)
    }
}

/// Where the trail ends.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditHead)]
struct HeadAnswer {
    /// Whose trail.
    tenant: TenantId,
    /// Number of the last event; 0 for none.
    seq: u64,
    /// Its hash.
    hash: String,
    /// As of when.
    time: Timestamp,
    /// The same, signed.
    jws: String,
}

/// Search the audit trail
///
/// Oldest first. A page may be short although more follow: its cursor leads on.
#[utoipa::path(get, path = "/v1/audit-events", tag = "Audit", security(("bearer" = ["audit"])),
    params(AuditQuery), responses((status = 200, body = Page<AuditEvent>)), extensions(("x-problems" = json!(["invalid_cursor"]))))]
async fn list(State(app): State<App>, call: Call, Search(query): Search<AuditQuery>) -> Result<Json<Page<AuditEvent>>> {
    let (limit, after) = check_page(query.limit, query.cursor.as_deref())?;
    let bad = || Problem::new(domain::ErrorCode::InvalidCursor, "the cursor is not one of this list");
    let mut after: u64 = after.map(|a| a.parse().map_err(|_| bad())).transpose()?.unwrap_or(0);
    let tenant = &call.principal.tenant;
    let handle = match (&query.subject_id, &query.collection_id) {
        (Some(subject), Some(collection)) => Some(app.pepper.handle(tenant, collection, subject).to_string()),
        (Some(_), None) => return Err(Problem::invalid("subject_id", "give collection_id with it").into()),
        (None, _) => None,
    };
    // What this gateway has answered is in what it shows.
    app.audit.settled(tenant).await?;
    let (trail, mut found, mut looked_at) = (app.trail(tenant), Vec::new(), 0);
    loop {
        let (events, more) = trail.events(after, READ).await?;
        let last = events.last().map(|e| e.seq);
        for event in events {
            looked_at += 1;
            after = event.seq;
            if query.admits(&event, handle.as_deref()) {
                found.push(event);
            }
            if found.len() == limit {
                let next = (more || Some(after) < last).then(|| after.to_string());
                return Ok(Json(Page::new(found, next)));
            }
        }
        if !more || looked_at >= LOOKED_AT {
            return Ok(Json(Page::new(found, more.then(|| after.to_string()))));
        }
    }
}

/// Where the audit trail ends
///
/// Note it somewhere else now and then: `visavis audit verify --head` finds a trail that was cut off or made anew since.
#[utoipa::path(get, path = "/v1/audit-events/head", tag = "Audit", security(("bearer" = ["audit"])),
    responses((status = 200, body = HeadAnswer)))]
async fn head(State(app): State<App>, call: Call) -> Result<Json<HeadAnswer>> {
    let tenant = &call.principal.tenant;
    app.audit.settled(tenant).await?;
    let head = app.trail(tenant).head().await?;
    let (signed, jws) = sign(&app, tenant, &head).await?;
    let SignedHead { tenant, seq, hash, time } = signed;
    Ok(Json(HeadAnswer { tenant, seq, hash, time, jws }))
}

async fn sign(app: &AppState, tenant: &TenantId, head: &ChainHead) -> Result<(SignedHead, String)> {
    let signed = SignedHead { tenant: tenant.clone(), seq: head.seq, hash: head.hash.clone(), time: Timestamp::now() };
    let jws = signed.as_head(&app.signing_keys().current().await?);
    let jws = jws.map_err(|e| ApiProblem::new(domain::ErrorCode::Internal, e.to_string()))?;
    Ok((signed, jws))
}

/// A line of an exported trail.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, clippy::large_enum_variant, reason = "describes a form")]
enum AuditLine {
    /// What was trimmed, first.
    Anchor {
        /// Compact JWS.
        anchor: String,
    },
    /// An event.
    Event(AuditEvent),
    /// Where the trail ends, last.
    Head {
        /// Compact JWS.
        head: String,
    },
}

/// Export the audit trail
///
/// All of it up to now, one JSON document per line: where its beginning was trimmed a signed anchor, the events, and the
/// signed head. `visavis audit verify` checks it offline.
#[utoipa::path(get, path = "/v1/audit-events/export", tag = "Audit", security(("bearer" = ["audit"])),
    responses((status = 200, content_type = "application/x-ndjson", body = AuditLine, description = "One per line")))]
async fn export(State(app): State<App>, call: Call) -> Result<Response> {
    let tenant = &call.principal.tenant;
    app.audit.settled(tenant).await?;
    let trail = app.trail(tenant);
    let head = trail.head().await?;
    let (_, jws) = sign(&app, tenant, &head).await?;
    // Trimming puts the anchor and removes events in one commit: read until both are of one moment.
    let (mut anchor, mut first) = (trail.anchor().await?, trail.lines(0, READ).await?);
    loop {
        let now = trail.anchor().await?;
        if now == anchor {
            break;
        }
        (anchor, first) = (now, trail.lines(0, READ).await?);
    }
    let begin = anchor.map(|signed| anchor_line(&signed) + "\n").unwrap_or_default();
    let body = Body::from_stream(pieces(Export { trail, head, end: head_line(&jws) + "\n" }, begin, first));
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))], body).into_response())
}

/// An export under way.
struct Export {
    trail: Audit,
    /// The last event that belongs to it.
    head: ChainHead,
    /// The last line.
    end: String,
}

type Lines = (Vec<(u64, bytes::Bytes)>, bool);

/// Piece by piece. A failure in the middle breaks the answer off, which leaves the trail without its last line.
fn pieces(export: Export, begin: String, first: Lines) -> impl futures::Stream<Item = Result<Vec<u8>, RepoError>> {
    stream::try_unfold(Some((export, begin, first)), |state| async move {
        let Some((export, begin, (lines, more))) = state else { return Ok(None) };
        let mut text = begin.into_bytes();
        let last = lines.last().map(|(seq, _)| *seq);
        for (_, line) in lines.iter().filter(|(seq, _)| *seq <= export.head.seq) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        match last.filter(|last| more && *last < export.head.seq) {
            Some(last) => {
                let next = export.trail.lines(last, READ).await.inspect_err(|e| {
                    tracing::warn!(error = %e, "an export of the audit trail is broken off");
                })?;
                Ok(Some((text, Some((export, String::new(), next)))))
            }
            None => {
                text.extend_from_slice(export.end.as_bytes());
                Ok(Some((text, None)))
            }
        }
    })
}
