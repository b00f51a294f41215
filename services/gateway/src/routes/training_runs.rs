//! `/v1/training-runs`: models that learn from crops whose subjects have agreed to it. The gateway keeps the record and
//! sends a trainer to it; everything else is the trainer's.

mod events;
mod forms;
mod papers;

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{
    BaseModel, ErrorCode, JobId, Lane, Problem, RetainCrops, RunFailure, RunFailureCode, RunId, RunState, Timestamp,
};
use store::{RepoError, RunRecord, Runs, Versioned};
use tokio::time::timeout;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::forms::{NewRun, RunAnswer};
use crate::{
    context::Call,
    extract::{Ids, JsonBody, Page, PageQuery, Search},
    problem::{ApiProblem, Result},
    state::{App, AppState},
};

/// Most collections that one run may learn from.
const MOST_COLLECTIONS: usize = 16;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(start, list))
        .routes(routes!(show, cancel))
        .routes(routes!(events::events))
        .routes(routes!(papers::lineage))
        .routes(routes!(papers::report))
}

/// Start a training run
///
/// A trainer takes the retained crops of everybody whose consents allow training at that moment, leaves out some subjects
/// to measure with, trains a copy of the base model by the recipe, and registers what comes of it as a candidate. Models in
/// use do not change. Who is erased or withdraws meanwhile is left out: the run begins anew without them.
#[utoipa::path(post, path = "/v1/training-runs", tag = "Training", security(("bearer" = ["train"])),
    request_body = NewRun, responses((status = 202, body = RunAnswer, description = "Accepted; `location` says where to look")),
    extensions(("x-problems" = json!(["collection_not_found", "purpose_not_allowed", "queue_unavailable"]))))]
async fn start(State(app): State<App>, call: Call, JsonBody(new): JsonBody<NewRun>) -> Result<Response> {
    let run = read(&app, &call, new).await?;
    let run = accept(&app, &call, &app.runs(&call.principal.tenant), run).await?;
    call.notes.reference(&run.id);
    let location = HeaderValue::from_str(&format!("/v1/training-runs/{}", run.id));
    let mut response = (StatusCode::ACCEPTED, Json(RunAnswer::from(run))).into_response();
    if let Ok(v) = location {
        response.headers_mut().insert(header::LOCATION, v);
    }
    Ok(response)
}

/// What was asked for, checked.
async fn read(app: &AppState, call: &Call, new: NewRun) -> Result<RunRecord> {
    if !(1..=MOST_COLLECTIONS).contains(&new.collections.len()) {
        return Err(Problem::invalid("/collections", format!("name 1 to {MOST_COLLECTIONS} collections")).into());
    }
    let collections: BTreeSet<_> = new.collections.into_iter().collect();
    domain::check_overrides(&new.overrides, "/overrides")?;
    for id in &collections {
        call.notes.collection(id);
        let found = app.collection(&call.principal, id).await?.value;
        if let Some(purpose) = new.purpose.as_ref().filter(|p| !found.purposes.contains(p)) {
            let detail = format!("collection {id} is not for the purpose {}", purpose.as_str());
            return Err(ApiProblem::new(ErrorCode::PurposeNotAllowed, detail));
        }
        if found.retain_crops == RetainCrops::None {
            let detail =
                format!("collection {id} retains no crops to learn from: set its retain_crops to \"training\"");
            return Err(ApiProblem::new(ErrorCode::Conflict, detail));
        }
    }
    let (id, collections) = (call.fresh(RunId::generate), collections.into_iter().collect());
    Ok(RunRecord {
        key: Some(call.principal.key.clone()),
        purpose: new.purpose,
        overrides: new.overrides,
        ..RunRecord::new(id, collections, new.recipe, new.base_model.unwrap_or_else(BaseModel::champion))
    })
}

/// Keeps the record and sends a trainer to it; a repetition finds the run that is there.
async fn accept(app: &AppState, call: &Call, runs: &Runs, mut run: RunRecord) -> Result<RunRecord> {
    match runs.create(&run).await {
        Ok(_) => {}
        Err(RepoError::AlreadyExists(_)) => {
            let found = find(runs, &run.id).await?.value;
            if found.state == RunState::Failed && !found.submitted {
                // An attempt that did not reach the lane: a new run takes its place.
                run.id = RunId::generate();
                runs.create(&run).await?;
            } else {
                run = found;
            }
        }
        Err(e) => return Err(e.into()),
    }
    // The attempt that made the run may have died before this. A run that is sent for twice is carried out once.
    if run.state.is_final() || run.submitted {
        return Ok(run);
    }
    let envelope = wire::train_envelope(&call.principal.tenant, &run.id, run.recipe, run.key.as_ref());
    let submitted = timeout(app.config.times.deadline, app.queue.submit(Lane::Train, &envelope)).await;
    let submitted = submitted
        .map_err(|_| ApiProblem::new(ErrorCode::QueueUnavailable, "the queue does not answer; the run was not begun"));
    if let Err(problem) = submitted.and_then(|done| done.map_err(ApiProblem::from)) {
        give_up(runs, &run, &problem).await;
        return Err(problem);
    }
    let noted = runs.change(&run.id, |run| Ok(!std::mem::replace(&mut run.submitted, true)));
    Ok(noted.await?)
}

/// A run that no trainer hears of has failed.
async fn give_up(runs: &Runs, run: &RunRecord, problem: &ApiProblem) {
    let failure = RunFailure::new(RunFailureCode::Internal, format!("it was not queued: {}", problem.problem.detail));
    let end = |run: &mut RunRecord| {
        let open = !run.state.is_final();
        run.failure = Some(failure.clone());
        run.end(RunState::Failed, Timestamp::now());
        Ok(open)
    };
    let ended = async {
        runs.change(&run.id, end).await?;
        runs.unlist(&run.id).await
    };
    if let Err(error) = ended.await {
        tracing::warn!(run = %run.id, %error, "a run that was not queued will be sent for again");
    }
}

async fn find(runs: &Runs, id: &RunId) -> Result<Versioned<RunRecord>> {
    runs.get(id).await?.ok_or_else(|| ApiProblem::new(ErrorCode::NotFound, format!("there is no training run {id}")))
}

/// List training runs
///
/// Oldest first.
#[utoipa::path(get, path = "/v1/training-runs", tag = "Training", security(("bearer" = ["train"])),
    params(PageQuery), responses((status = 200, body = Page<RunAnswer>)), extensions(("x-problems" = json!(["invalid_cursor"]))))]
async fn list(State(app): State<App>, call: Call, Search(page): Search<PageQuery>) -> Result<Json<Page<RunAnswer>>> {
    let (limit, after) = page.checked()?;
    let (found, next) = app.runs(&call.principal.tenant).list(after.as_deref(), limit).await?;
    Ok(Json(Page::new(found.into_iter().map(RunAnswer::from).collect(), next)))
}

/// Show a training run
#[utoipa::path(get, path = "/v1/training-runs/{run}", tag = "Training", security(("bearer" = ["train"])),
    params(("run" = RunId, Path)), responses((status = 200, body = RunAnswer)),
    extensions(("x-problems" = json!(["not_found"]))))]
async fn show(State(app): State<App>, call: Call, Ids(id): Ids<RunId>) -> Result<Json<RunAnswer>> {
    Ok(Json(find(&app.runs(&call.principal.tenant), &id).await?.value.into()))
}

/// Cancel a training run
///
/// Its trainer stops at the step it is at. Nothing of it is registered, and its checkpoints are deleted.
#[utoipa::path(delete, path = "/v1/training-runs/{run}", tag = "Training", security(("bearer" = ["train"])),
    params(("run" = RunId, Path)), responses((status = 204, description = "Cancelled")),
    extensions(("x-problems" = json!(["not_found", "queue_unavailable"]))))]
async fn cancel(State(app): State<App>, call: Call, Ids(id): Ids<RunId>) -> Result<StatusCode> {
    let runs = app.runs(&call.principal.tenant);
    find(&runs, &id).await?;
    runs.cancel(&id, Timestamp::now()).await?;
    runs.unlist(&id).await?;
    // For its trainer, and for the lane where none has it yet.
    if let Ok(job) = JobId::new(id.as_str()) {
        app.queue.cancel(&job).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
