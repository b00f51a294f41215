//! From a request to a reply: make the envelope, put it on a lane, wait for the worker's reply or answer 202.
//! Used by every route that needs a model.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{ErrorCode, JobId, JobRecord, JobState, Lane, Timestamp};
use queue::Replies;
use tokio::time::{Instant, timeout, timeout_at};
use trace::Kind;
use wire::v1::{Envelope, Reply, envelope::Request};

use crate::{
    answers::{Answer, answer},
    context::Call,
    metrics::{Gauged, stage},
    pending::Pending,
    problem::{ApiProblem, Result},
    routes::jobs::JobAnswer,
    state::AppState,
};

/// Carries out `request` and writes the answer: 200 with the result, 202 with the job, or the problem.
pub(crate) async fn carry_out(app: &AppState, call: &Call, request: Request) -> Result<Response> {
    carry_out_as(app, call, request, |answer| Ok(Json(answer).into_response())).await
}

/// The same with the successful answer written by `respond`.
pub(crate) async fn carry_out_as(
    app: &AppState,
    call: &Call,
    request: Request,
    respond: impl FnOnce(Answer) -> Result<Response>,
) -> Result<Response> {
    call.notes.request(&request);
    let begun = match (call.prefer.respond_async, call.prefer.wait) {
        (false, None) => Begun::Done(Box::new(wait(app, call, request).await?)),
        (_, wait) => later(app, call, request, wait.unwrap_or_default()).await?,
    };
    match begun {
        Begun::Done(reply) => {
            call.notes.reply(&reply);
            let timings = server_timing(&reply);
            let answered = answer(*reply).map_err(ApiProblem::from).and_then(respond);
            let mut response = answered.unwrap_or_else(IntoResponse::into_response);
            if let Some(timings) = timings {
                response.headers_mut().insert("server-timing", timings);
            }
            Ok(response)
        }
        Begun::Later(job) => {
            call.notes.reference(&job.id);
            Ok(accepted(&job))
        }
    }
}

enum Begun {
    Done(Box<Reply>),
    Later(Box<JobRecord>),
}

/// Somebody waits: the interactive lane, the request's own deadline, cancelled when the caller hangs up.
async fn wait(app: &AppState, call: &Call, request: Request) -> Result<Reply> {
    app.fleet.able().await?;
    let within = call.deadline.unwrap_or(app.config.times.deadline);
    let end = Instant::now() + within;
    let dispatch = call.trace.child("dispatch", Kind::Producer);
    let envelope = Envelope {
        reply_to: app.reply_to.clone(),
        traceparent: dispatch.handle().traceparent(),
        ..envelope(call, &call.job, request, within)
    };
    // Counted before and so dropped after the wait.
    let _counted = Gauged::new(&app.metrics.pending);
    let mut waiting = app.pending.register(call.job.clone(), app.queue.clone(), !call.repeatable);
    let submitted = timeout_at(end, app.queue.submit(Lane::Interactive, &envelope)).await;
    submitted.map_err(|_| untaken(within))??;
    arrived(call);
    match timeout_at(end, waiting.reply()).await {
        Ok(Some(reply)) => {
            app.metrics.stages(&reply);
            Ok(reply)
        }
        Ok(None) => Err(ApiProblem::new(ErrorCode::Conflict, "a repetition of this request took its place")),
        Err(_) => Err(late(within)),
    }
}

/// The caller does not wait to the end: a job record is kept, and its result with it.
async fn later(app: &AppState, call: &Call, request: Request, patience: Duration) -> Result<Begun> {
    let within = app.config.times.job_deadline;
    let job = record(app, call, &request).await?;
    if job.state.is_final() {
        return Ok(Begun::Later(Box::new(job)));
    }
    let patience = patience.min(app.config.times.max_deadline);
    let lane = if patience.is_zero() { Lane::Bulk } else { Lane::Interactive };
    let dispatch = call.trace.child("dispatch", Kind::Producer);
    let traceparent = dispatch.handle().traceparent();
    let mut envelope = Envelope { keep_result: true, traceparent, ..envelope(call, &job.id, request, within) };
    if patience.is_zero() {
        submit_kept(app, call, lane, &envelope, &job).await?;
        return Ok(Begun::Later(Box::new(job)));
    }
    envelope.reply_to.clone_from(&app.reply_to);
    let _counted = Gauged::new(&app.metrics.pending);
    let mut waiting = app.pending.register(job.id.clone(), app.queue.clone(), false);
    submit_kept(app, call, lane, &envelope, &job).await?;
    arrived(call);
    match timeout_at(Instant::now() + patience, waiting.reply()).await {
        Ok(Some(reply)) => {
            app.metrics.stages(&reply);
            Ok(Begun::Done(Box::new(reply)))
        }
        Ok(None) | Err(_) => Ok(Begun::Later(Box::new(job))),
    }
}

/// The job is on the interactive lane: from now on it is seen there.
fn arrived(call: &Call) {
    if let Some(place) = &call.place {
        place.arrived();
    }
}

/// The record of a new job, or of the same job when the request is a repetition.
async fn record(app: &AppState, call: &Call, request: &Request) -> Result<JobRecord> {
    let (jobs, now) = (app.jobs(&call.principal.tenant), Timestamp::now());
    let mut job = JobRecord {
        id: call.job.clone(),
        kind: wire::request_kind(request),
        state: JobState::Queued,
        key: call.principal.key.clone(),
        created_at: now,
        updated_at: now,
        expires_at: now.plus(app.config.times.job_kept),
        problem: None,
        progress: None,
    };
    match jobs.create(&job).await {
        Ok(_) => return Ok(job),
        Err(store::RepoError::AlreadyExists(_)) => {}
        Err(e) => return Err(e.into()),
    }
    match jobs.get(&job.id).await? {
        // An attempt that never reached the lane had no effect: a new job takes its place.
        Some(found) if found.value.problem.as_ref().is_some_and(|p| p.code.retryable()) => {
            job.id = JobId::generate();
            jobs.create(&job).await?;
            Ok(job)
        }
        Some(found) => Ok(found.value),
        None => Err(ApiProblem::new(ErrorCode::JobNotFound, "the job has just ended")),
    }
}

/// Submits a job that has a record, and ends the record when that fails.
async fn submit_kept(app: &AppState, call: &Call, lane: Lane, envelope: &Envelope, job: &JobRecord) -> Result<()> {
    let within = call.deadline.unwrap_or(app.config.times.deadline);
    let problem = match timeout(within, app.queue.submit(lane, envelope)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(e)) => e.into(),
        Err(_) => untaken(within),
    };
    let jobs = app.jobs(&call.principal.tenant);
    if let Err(e) = jobs.finish(&job.id, Err(problem.problem.clone()), Timestamp::now()).await {
        tracing::warn!(job = %job.id, error = %e, "the record of a job that was not queued stays open");
    }
    Err(problem)
}

/// Everything but where the reply goes.
pub(crate) fn envelope(call: &Call, job: &JobId, request: Request, within: Duration) -> Envelope {
    let now = Timestamp::now();
    Envelope {
        job_id: job.to_string(),
        tenant: call.principal.tenant.to_string(),
        key_id: call.principal.key.to_string(),
        request_id: call.request_id.to_string(),
        created_ms: now.as_millis(),
        deadline_ms: now.plus(within).as_millis(),
        traceparent: call.trace.traceparent(),
        request: Some(request),
        ..Envelope::default()
    }
}

/// The queue took nothing in time.
pub(crate) fn silent() -> ApiProblem {
    ApiProblem::new(ErrorCode::QueueUnavailable, "the queue does not answer at present")
}

/// A queue that has not taken a job in less than this may be as well as ever: the deadline was too short.
const SHORTEST_SILENCE: Duration = Duration::from_millis(100);

/// The job was not on its lane in time.
fn untaken(within: Duration) -> ApiProblem {
    if within < SHORTEST_SILENCE { late(within) } else { silent() }
}

/// No answer came.
pub(crate) fn late(within: Duration) -> ApiProblem {
    let detail = format!("no answer within {} ms; x-deadline-ms sets another limit", within.as_millis());
    ApiProblem::new(ErrorCode::DeadlineExceeded, detail)
}

fn accepted(job: &JobRecord) -> Response {
    let mut response = (StatusCode::ACCEPTED, Json(JobAnswer::of(job.clone(), None))).into_response();
    if let Ok(v) = HeaderValue::from_str(&format!("/v1/jobs/{}", job.id)) {
        response.headers_mut().insert(header::LOCATION, v);
    }
    response.headers_mut().insert("preference-applied", HeaderValue::from_static("respond-async"));
    response
}

/// `queue;dur=0.2, decode;dur=3.1, …` in milliseconds.
fn server_timing(reply: &Reply) -> Option<HeaderValue> {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of one request")]
    let items =
        reply.timings.iter().filter_map(|t| Some(format!("{};dur={:.3}", stage(&t.stage)?, t.micros as f64 / 1e3)));
    let text = items.collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&text).ok().filter(|_| !text.is_empty())
}

/// Hands every reply to whoever waits for it; runs until it is dropped.
pub(crate) async fn take_replies(mut replies: Replies, pending: Pending) {
    loop {
        match replies.next().await {
            Ok(reply) => {
                if let Ok(job) = JobId::new(&reply.job_id) {
                    pending.complete(&job, reply);
                }
            }
            Err(e) => {
                tracing::warn!(error = %e, "replies cannot be read at present");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}
