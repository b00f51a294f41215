//! `GET /v1/jobs/{id}/results`: outcomes of a job's items as they are so far, one JSON document per line, read from
//! the store page by page while they are sent.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use domain::{JobId, JobKind, Problem, RequestId};
use futures::stream;
use serde::Serialize;
use store::{Jobs, RepoError};
use utoipa::ToSchema;

use super::{outcome, stored, visible};
use crate::{
    answers::Answer,
    context::Call,
    extract::Ids,
    notes::Notes,
    problem::{self, ProblemBody, Result},
    state::App,
};

/// Results read at once.
const PAGE: usize = 64;

/// What became of one item.
#[derive(Serialize, ToSchema)]
#[schema(as = ItemResult)]
struct Line {
    /// Which item, from 0.
    index: u32,
    /// How it ended.
    status: Status,
    /// What the request for it alone would have been answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Answer>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// How an item ended.
#[derive(Serialize, ToSchema)]
#[schema(as = ItemStatus)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// With a result.
    Succeeded,
    /// With a problem.
    Failed,
}

/// Read a job's results
///
/// One line per item that has ended, by index; also while the job is still running. A job of one request has one
/// line. Which items have not ended the job's `progress` tells.
#[utoipa::path(get, path = "/v1/jobs/{job}/results", tag = "Jobs", security(("bearer" = ["jobs"])),
    params(("job" = JobId, Path)),
    responses((status = 200, content_type = "application/x-ndjson", body = Line, description = "One per line")),
    extensions(("x-problems" = json!(["job_not_found"]))))]
pub(super) async fn results(State(app): State<App>, call: Call, Ids(id): Ids<JobId>) -> Result<Response> {
    let jobs = app.jobs(&call.principal.tenant);
    let job = visible(&jobs, &call, &id).await?.value;
    let body = if job.progress.is_some() {
        // The first page before the status line: what is wrong with the store is a problem then, not a broken answer.
        let first = jobs.item_results(&id, None, PAGE).await?;
        if job.kind == JobKind::BulkIdentify && !first.0.is_empty() {
            // Which decisions, the job's results say as long as they are kept.
            call.notes.discloses();
        }
        Body::from_stream(pages(jobs, id, call.request_id, first))
    } else {
        let ended = outcome(&jobs, &job, &call.notes).await?;
        Body::from(ended.map(|o| line(0, o, &call.request_id)).unwrap_or_default())
    };
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
    Ok((headers, body).into_response())
}

type Page = (Vec<(u32, Bytes)>, bool);

/// Every page as a piece of the body. A failure in the middle breaks the answer off, which the caller notices.
fn pages(
    jobs: Jobs,
    id: JobId,
    request: RequestId,
    first: Page,
) -> impl futures::Stream<Item = Result<Vec<u8>, RepoError>> {
    stream::try_unfold(Some(first), move |page| {
        let (jobs, id, request) = (jobs.clone(), id.clone(), request.clone());
        async move {
            let Some((rows, more)) = page else { return Ok(None) };
            let last = rows.last().map(|(index, _)| *index);
            let lines = rows
                .into_iter()
                .flat_map(|(index, reply)| line(index, stored(&id, reply, &Notes::default()), &request));
            let lines = lines.collect();
            let next = match last.filter(|_| more) {
                Some(last) => Some(jobs.item_results(&id, Some(last), PAGE).await.inspect_err(|e| {
                    tracing::warn!(job = %id, error = %e, "an answer with results is broken off");
                })?),
                None => None,
            };
            Ok(Some((lines, next)))
        }
    })
}

fn line(index: u32, outcome: Result<Answer, Problem>, request: &RequestId) -> Vec<u8> {
    let line = match outcome {
        Ok(answer) => Line { index, status: Status::Succeeded, result: Some(answer), problem: None },
        Err(p) => {
            let problem = Some(problem::body(p, request.clone()));
            Line { index, status: Status::Failed, result: None, problem }
        }
    };
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    text
}
