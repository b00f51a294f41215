//! `/v1/collections/{c}/export` and `/import`: a collection as one sealed file, from one service to another. An export is
//! read from the store while it is sent and lies nowhere here.

mod crops;
mod file;
mod import;
mod results;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use domain::{CollectionId, ErrorCode, Principal, Problem, RequestId, Scope, Timestamp};
use futures::stream;
use store::{Space, Store, Subjects, WholeSubject};
use tokio::sync::OwnedSemaphorePermit;
use transfer::{ExportKey, FaceLine, MEDIA_TYPE, Manifest, Sealer, SubjectLine, Trailer, TransferError};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth,
    context::Call,
    edge::Unstorable,
    extract::Ids,
    problem::{ApiProblem, Result},
    standing::Standing,
    state::{App, AppState},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export)).routes(routes!(import::import))
}

/// Where the key comes: with the request, so that it is in no answer, address or log.
const KEY: &str = "visavis-export-key";

/// Subjects read at once, and so held.
const PAGE: usize = 32;
/// The same with their crops.
const PAGE_WITH_CROPS: usize = 4;

impl From<TransferError> for ApiProblem {
    fn from(e: TransferError) -> Self {
        match e {
            TransferError::KeyForm | TransferError::KeyWeak | TransferError::OtherKey { .. } => {
                Problem::invalid(KEY, e.to_string()).into()
            }
            e => Self::new(e.code(), e.to_string()),
        }
    }
}

/// The key of the file.
fn key(headers: &HeaderMap) -> Result<ExportKey> {
    let text = headers.get(KEY).ok_or_else(|| Problem::invalid(KEY, "is missing; make one: openssl rand -hex 32"))?;
    Ok(ExportKey::parse(text.to_str().unwrap_or_default())?)
}

/// What a file holds is as much as these allow together; whoever manages keys answers for it leaving or coming.
fn allowed(who: &Principal, scopes: &[Scope]) -> Result<()> {
    scopes.iter().try_for_each(|scope| auth::require(who, *scope))
}

/// One of few places: a transfer may take as long as its caller likes.
fn permit(app: &AppState) -> Result<OwnedSemaphorePermit> {
    Arc::clone(&app.transfers).try_acquire_owned().map_err(|_| {
        let detail = "as many exports and imports are under way here as may be";
        ApiProblem::new(ErrorCode::Overloaded, detail).retry_after(std::time::Duration::from_secs(10))
    })
}

/// Export a collection
///
/// Everything in it, subject by subject, with consents, faces, templates and their contract, as one file that is sealed
/// line by line with the caller's key; retained crops too, where the collection keeps them. The file is read from the store while it is sent; nothing of it is kept here, and
/// neither is the key. If it breaks off, its last line is missing, which an import tells: ask for it again. Needs
/// `subjects:read` and `consents` too.
#[utoipa::path(post, path = "/v1/collections/{collection}/export", tag = "Collections", security(("bearer" = ["keys"])),
    params(("collection" = CollectionId, Path),
        ("visavis-export-key" = String, Header, pattern = "^[0-9a-fA-F]{64}$", description = "32 random bytes in hexadecimal, such as `openssl rand -hex 32` gives; who has them can read the file")),
    responses((status = 200, content_type = "application/vnd.visavis.export", body = String, description = "Newline-delimited JSON, sealed")),
    extensions(("x-problems" = json!(["collection_not_found"]))))]
async fn export(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<CollectionId>,
    standing: Standing,
    headers: HeaderMap,
) -> Result<Response> {
    allowed(&call.principal, &[Scope::SubjectsRead, Scope::Consents])?;
    let key = key(&headers)?;
    let collection = app.collection(&call.principal, &id).await?.value;
    let permit = permit(&app)?;
    let space = Space::collection(&call.principal.tenant, &id);
    let revision = app.store.revision(&space).await?.0;
    let (mut sealer, mut first) = Sealer::new(key)?;
    let contract = collection.contract;
    let crops = crops::Place::of(app.crops.as_ref(), &call.principal.tenant, &collection);
    first.extend(sealer.line(&Manifest { created_at: Timestamp::now(), contract, collection, revision })?);
    let subjects = app.subjects(&call.principal, &id);
    let (store, request) = (app.store.clone(), call.request_id);
    let (sealer, counted) = (Some(sealer), Counted::default());
    let standing = standing.needing(vec![Scope::Keys, Scope::SubjectsRead, Scope::Consents]);
    let of = (app.clone(), standing);
    let mut export = Export { subjects, crops, store, space, sealer, counted, request, of, _permit: permit };
    // The first page before the status line: what is wrong with the store is a problem then, not a broken answer.
    let (lines, next) = export.page(None).await?;
    first.extend(lines);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)),
        (header::CONTENT_DISPOSITION, attachment(&id)),
        // Proxies that gather answers would hold it all.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    let mut response = (headers, Body::from_stream(export.pieces(first, next))).into_response();
    response.extensions_mut().insert(Unstorable);
    Ok(response)
}

fn attachment(id: &CollectionId) -> HeaderValue {
    let named = HeaderValue::from_str(&format!("attachment; filename=\"{id}.visavis-export\""));
    named.unwrap_or(HeaderValue::from_static("attachment"))
}

/// What comes next of an export.
enum Next {
    /// The subjects after this cursor.
    After(String),
    /// The trailer.
    Trailer,
    /// Nothing.
    End,
}

/// What there was so far.
#[derive(Clone, Copy, Default)]
struct Counted {
    subjects: u64,
    faces: u64,
    crops: u64,
    crops_left_out: u64,
}

/// An export under way.
struct Export {
    subjects: Subjects,
    crops: Option<crops::Place>,
    store: Arc<dyn Store>,
    space: Space,
    /// Until the last line.
    sealer: Option<Sealer>,
    counted: Counted,
    request: RequestId,
    /// Whether the caller may still have it.
    of: (App, Standing),
    _permit: OwnedSemaphorePermit,
}

impl Export {
    /// The file, piece by piece: each is read when the one before is on its way, so that what was erased meanwhile is
    /// not in it. A failure in the middle breaks the answer off, which the caller notices.
    fn pieces(self, first: Vec<u8>, next: Next) -> impl futures::Stream<Item = Result<Vec<u8>, Problem>> {
        stream::try_unfold((self, Some(first), next), |(mut export, first, next)| async move {
            let (piece, next) = match (first, next) {
                (Some(first), next) => (first, next),
                (None, Next::After(cursor)) => export.page(Some(&cursor)).await.map_err(|p| export.broken(p))?,
                (None, Next::Trailer) => (export.trailer().await.map_err(|p| export.broken(p))?, Next::End),
                (None, Next::End) => return Ok(None),
            };
            Ok(Some((piece, (export, None, next))))
        })
    }

    /// The lines of the subjects after a cursor.
    async fn page(&mut self, after: Option<&str>) -> Result<(Vec<u8>, Next)> {
        let (app, standing) = &mut self.of;
        if !standing.holds(app).await {
            return Err(ApiProblem::new(ErrorCode::Unauthenticated, "the key or token has ended meanwhile"));
        }
        let page = if self.crops.is_some() { PAGE_WITH_CROPS } else { PAGE };
        let (found, next) = self.subjects.whole(after, page).await?;
        let mut lines = Vec::new();
        for whole in found {
            let line = self.subject(whole).await?;
            let Some(sealer) = &mut self.sealer else { return Ok((Vec::new(), Next::End)) };
            lines.extend(sealer.line(&line)?);
        }
        Ok((lines, next.map_or(Next::Trailer, Next::After)))
    }

    async fn subject(&mut self, whole: WholeSubject) -> Result<SubjectLine> {
        let (mut crops, left_out) = match &self.crops {
            Some(place) => place.read(self.subjects.handle(&whole.subject.id), &whole).await?,
            None => Default::default(),
        };
        self.counted.subjects += 1;
        self.counted.faces += whole.faces.len() as u64;
        self.counted.crops += crops.len() as u64;
        self.counted.crops_left_out += left_out;
        let WholeSubject { subject, consents, seen_at, faces, .. } = whole;
        let face = |(face, template): (domain::EnrolledFace, domain::Template)| {
            let crop = crops.remove(&face.id);
            FaceLine { crop, ..FaceLine::new(face, &template) }
        };
        Ok(SubjectLine { subject, consents, faces: faces.into_iter().map(face).collect(), seen_at })
    }

    async fn trailer(&mut self) -> Result<Vec<u8>> {
        let revision = self.store.revision(&self.space).await?.0;
        let Counted { subjects, faces, crops, crops_left_out } = self.counted;
        tracing::info!(subjects, faces, crops, crops_left_out, request_id = %self.request, "a collection was exported");
        let Some(sealer) = self.sealer.take() else { return Ok(Vec::new()) };
        let finished_at = Timestamp::now();
        Ok(sealer.last(&Trailer { subjects, faces, crops, crops_left_out, revision, finished_at })?)
    }

    fn broken(&self, problem: ApiProblem) -> Problem {
        tracing::warn!(request_id = %self.request, code = %problem.problem.code, "an export is broken off");
        problem.problem
    }
}
