//! `POST /v1/jobs`: one job of many enrolments or identifications. Everything is checked before anything is stored;
//! the items go into the store, and a few envelopes (strands) send workers to them.

mod forms;
mod items;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{JobId, JobKind, JobRecord, JobState, Lane, Problem, Progress, Timestamp};
use serde_json::Value;
use store::{Jobs, NewItem, RepoError};
use tokio::time::timeout;
use wire::v1::{BulkRequest, envelope::Request};

use self::{
    forms::{BulkForm, BulkJob},
    items::Reader,
};
use super::{JobAnswer, scope};
use crate::{
    auth,
    context::Call,
    dispatch::{envelope, silent},
    extract::{Document, from_value},
    problem::{ApiProblem, Result},
    state::{App, AppState},
};

/// Items that make a further envelope worth while, and the most envelopes of a job.
const STRAND_ITEMS: usize = 16;
const MOST_STRANDS: usize = 4;
/// How long the queue may take to hear that a job was given up.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// Start a bulk job
///
/// Enrols many subjects (`bulk_enrol`) or searches for many images (`bulk_identify`), each item as its own request
/// would be and with an outcome of its own. Needs the scope of what it does too. The whole request is checked before
/// any of it is stored; what depends on the collection's present state (a subject that exists, a consent on record)
/// is told per item. Follow it at `/v1/jobs/{id}/events`, read outcomes at `/v1/jobs/{id}/results`.
#[utoipa::path(post, path = "/v1/jobs", tag = "Jobs", security(("bearer" = ["jobs"])),
    request_body(content((BulkJob = "application/json"), (BulkForm = "multipart/form-data"))),
    responses((status = 202, body = JobAnswer, description = "Accepted; `location` says where to look")),
    extensions(("x-problems" = json!(["collection_not_found", "consent_required", "purpose_not_allowed", "queue_unavailable"]))))]
pub(super) async fn submit(State(app): State<App>, call: Call, document: Document) -> Result<Response> {
    let (kind, items) = read(&app, &call, document).await?;
    let job = accept(&app, &call, kind, items).await?;
    call.notes.reference(&job.id);
    let location = HeaderValue::from_str(&format!("/v1/jobs/{}", job.id));
    let problem = job.problem.clone().map(|p| (Err(p), call.request_id));
    let mut response = (StatusCode::ACCEPTED, Json(JobAnswer::of(job, problem))).into_response();
    if let Ok(v) = location {
        response.headers_mut().insert(header::LOCATION, v);
    }
    Ok(response)
}

/// The items, checked, as they are stored.
async fn read(app: &AppState, call: &Call, document: Document) -> Result<(JobKind, Vec<NewItem>)> {
    let Document { json: mut job, mut files } = document;
    let kind = match job.remove("kind").as_ref().and_then(Value::as_str) {
        Some("bulk_enrol") => JobKind::BulkEnrol,
        Some("bulk_identify") => JobKind::BulkIdentify,
        _ => return Err(Problem::invalid("/kind", "must be bulk_enrol or bulk_identify").into()),
    };
    auth::require(&call.principal, scope(kind))?;
    let most = app.config.limits.job_items;
    let items = match job.remove("items") {
        Some(Value::Array(items)) if (1..=most).contains(&items.len()) => items,
        _ => return Err(Problem::invalid("/items", format!("must be a list of 1 to {most} items")).into()),
    };
    let mut reader = Reader { app, call, files: &mut files };
    let items = match kind {
        JobKind::BulkEnrol => reader.enrolments(from_value(Value::Object(job))?, items).await?,
        _ => reader.identifications(from_value(Value::Object(job))?, items).await?,
    };
    files.all_used()?;
    Ok((kind, items))
}

/// Stores the job and sends workers to it; a repetition finds the job that is there.
async fn accept(app: &AppState, call: &Call, kind: JobKind, items: Vec<NewItem>) -> Result<JobRecord> {
    let (jobs, now) = (app.jobs(&call.principal.tenant), Timestamp::now());
    let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let mut job = JobRecord {
        id: call.job.clone(),
        kind,
        state: JobState::Queued,
        key: call.principal.key.clone(),
        created_at: now,
        updated_at: now,
        expires_at: now.plus(app.config.times.job_kept),
        problem: None,
        progress: Some(Progress { items: count, ..Progress::default() }),
    };
    let before = if call.repeatable { jobs.get(&job.id).await? } else { None };
    match before {
        // An attempt that did not reach the lane: a new job takes its place.
        Some(found) if found.value.problem.as_ref().is_some_and(|p| p.code.retryable()) => {
            job.id = JobId::generate();
            jobs.create_bulk(&job, items).await?;
        }
        Some(found) => job = found.value,
        None => match jobs.create_bulk(&job, items).await {
            Ok(_) => {}
            Err(RepoError::AlreadyExists(_)) => {
                let found = jobs.get(&job.id).await?;
                job = found.ok_or_else(|| super::missing(&job.id))?.value;
            }
            Err(e) => return Err(e.into()),
        },
    }
    // The attempt that made the job may have died before this. An item is done once however often it is sent for.
    if !job.state.is_final() {
        send(app, call, &jobs, &job).await?;
    }
    Ok(job)
}

/// Puts the job's envelopes on the lane. If one cannot be, the job ends with that problem.
async fn send(app: &AppState, call: &Call, jobs: &Jobs, job: &JobRecord) -> Result<()> {
    let ids = strand_ids(job);
    let strands = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    for (strand, id) in (0u32..).zip(&ids) {
        let items = job.progress.unwrap_or_default().items;
        let request = BulkRequest { kind: job.kind.as_str().to_owned(), strand, strands, items };
        let envelope = envelope(call, id, Request::Bulk(request), app.config.times.job_deadline);
        let submitted = timeout(app.config.times.deadline, app.queue.submit(Lane::Bulk, &envelope)).await;
        if let Err(problem) = submitted.map_or_else(|_| Err(silent()), |done| done.map_err(ApiProblem::from)) {
            return Err(give_up(app, jobs, job, problem).await);
        }
    }
    Ok(())
}

async fn give_up(app: &AppState, jobs: &Jobs, job: &JobRecord, problem: ApiProblem) -> ApiProblem {
    let ended = async {
        jobs.finish(&job.id, Err(problem.problem.clone()), Timestamp::now()).await?;
        jobs.drop_items(&job.id).await
    };
    if let Err(e) = ended.await {
        tracing::warn!(job = %job.id, error = %e, "a job that was not queued stays open until it expires");
    }
    // Only of use where the queue took some of them; without it their worker finds the job ended.
    for id in strand_ids(job) {
        if !matches!(timeout(PATIENCE, app.queue.cancel(&id)).await, Ok(Ok(()))) {
            break;
        }
    }
    problem
}

/// Ids of the job's envelopes: the job's own, a dot, the strand. None for a job that is not of many items.
pub(super) fn strand_ids(job: &JobRecord) -> Vec<JobId> {
    let items = job.progress.map_or(0, |p| p.items as usize);
    let strands = items.div_ceil(STRAND_ITEMS).min(MOST_STRANDS);
    (0..strands).filter_map(|strand| JobId::new(format!("{}.{strand}", job.id)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(items: Option<u32>) -> JobRecord {
        JobRecord {
            id: JobId::new("j").unwrap(),
            kind: JobKind::BulkEnrol,
            state: JobState::Queued,
            key: domain::KeyId::new("k").unwrap(),
            created_at: Timestamp::now(),
            updated_at: Timestamp::now(),
            expires_at: Timestamp::now(),
            problem: None,
            progress: items.map(|items| Progress { items, ..Progress::default() }),
        }
    }

    #[test]
    fn a_job_has_an_envelope_per_sixteen_items_and_four_at_most() {
        let count = |items| strand_ids(&job(Some(items))).len();
        assert_eq!([1, 16, 17, 48, 49, 1000].map(count), [1, 1, 2, 3, 4, 4]);
        assert_eq!(strand_ids(&job(Some(17)))[1].as_str(), "j.1");
        assert!(strand_ids(&job(None)).is_empty());
    }
}
