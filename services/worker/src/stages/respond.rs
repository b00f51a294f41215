//! Respond: the outcome to the caller. The result is stored where the job asked for it, the reply goes to the gateway
//! that waits, and only then is the entry taken off the lane.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{CollectionId, JobId, Problem, SubjectId, TenantId, Timestamp};
use queue::{Delivery, OnRejected, QueueError, Rejection};
use wire::v1::{Envelope, Reply, envelope::Request, reply::Outcome};

use crate::{
    jobs::{Desk, Done, bulk, promotion},
    timings::Timings,
};

/// The reply to a job.
#[must_use]
pub fn reply(desk: &Desk, worker: &str, job_id: &str, outcome: Result<Done, Problem>, timings: &Timings) -> Reply {
    let (outcome, model_version) = match outcome {
        Ok(done) => (done.outcome, done.model_version.to_string()),
        Err(p) => (Outcome::Problem(p.into()), desk.model_version.clone()),
    };
    Reply {
        job_id: job_id.to_owned(),
        worker: worker.to_owned(),
        model_version,
        timings: timings.to_wire(),
        outcome: Some(outcome),
    }
}

/// Collection and subject that a request names.
pub type About = Option<(CollectionId, Option<SubjectId>)>;

/// Stores, sends and acknowledges. `about` is what the request named.
///
/// # Errors
/// When the queue is gone: the entry then stays on the lane and is delivered again.
pub async fn respond(desk: &Desk, delivery: Delivery, reply: &Reply, about: &About) -> Result<(), QueueError> {
    if delivery.envelope.keep_result {
        keep(desk, &delivery.envelope, reply, about).await;
    }
    delivery.settle(reply).await
}

/// Stores the result with the job's record. A store that is gone is told to the log only: the job is done, and its
/// caller finds it unfinished until it expires.
async fn keep(desk: &Desk, envelope: &Envelope, reply: &Reply, about: &About) {
    let (Ok(tenant), Ok(job)) = (TenantId::new(&envelope.tenant), JobId::new(&envelope.job_id)) else {
        return;
    };
    let result = match &reply.outcome {
        Some(Outcome::Problem(p)) => Err(Problem::from(p.clone())),
        _ => Ok(wire::encode_reply(reply)),
    };
    let mentions = desk.mentions(&tenant, about, reply);
    match desk.jobs(&tenant).finish_about(&job, result, &mentions, Timestamp::now()).await {
        Ok(_) => desk.settle(&tenant, &mentions).await,
        Err(error) => tracing::error!(job = %job, %error, "the result of a job could not be stored"),
    }
}

/// Ends a bulk job one of whose strands is given up, and forgets the items without a result.
async fn end_bulk(desk: &Desk, envelope: &Envelope, problem: Problem) {
    let (Ok(tenant), Ok(job)) = (TenantId::new(&envelope.tenant), bulk::parent(&envelope.job_id)) else {
        return;
    };
    let jobs = desk.jobs(&tenant);
    let ended = jobs.finish(&job, Err(problem), Timestamp::now()).await;
    if let Err(error) = ended.and(jobs.drop_items(&job).await) {
        tracing::error!(%job, %error, "the record of a bulk job could not be ended");
    }
}

/// Ends the record of a job that the queue does not deliver: too late, cancelled, or given up after its last delivery.
pub struct KeepRejected(pub Arc<Desk>);

#[async_trait]
impl OnRejected for KeepRejected {
    async fn rejected(&self, envelope: &Envelope, why: Rejection) {
        self.0.metrics.rejected.with_label_values(&[why.as_str()]).inc();
        let Some(problem) = why.problem() else { return };
        if matches!(envelope.request, Some(Request::Bulk(_))) {
            end_bulk(&self.0, envelope, problem).await;
        } else if let Some(Request::Promotion(request)) = &envelope.request {
            promotion::given_up(&self.0, envelope, request, &problem).await;
        } else if envelope.keep_result {
            let about = envelope.request.as_ref().and_then(wire::told_of);
            let outcome = Some(Outcome::Problem(problem.into()));
            keep(&self.0, envelope, &Reply { outcome, ..Reply::default() }, &about).await;
        }
    }
}
