//! Bulk: the items of a job that nobody waits for, a slice at a time. Between slices the envelope goes back to the end
//! of its lane, so that other jobs get their turn. What is done is known by its result in the store: a second delivery
//! goes on where the first one stopped, and an item that kills its worker costs only itself.

use std::time::Duration;

use domain::{CollectionId, ErrorCode, JobId, JobRecord, JobState, Problem, SubjectId, TenantId, Timestamp};
use futures::future::join_all;
use store::{ItemResult, Jobs, Mention};
use wire::v1::{self, BulkRequest, Envelope, bulk_item, envelope::Request, reply::Outcome};

use super::{Desk, Done, enrol, identify, store_problem};
use crate::{pipeline::Context, stages::in_time};

/// Items worked on together. More would fill the batcher no better and make interactive jobs wait.
const SLICE: usize = 8;

/// Deliveries of a strand after which its items are taken one at a time, each attempt written down first.
const CAREFUL_FROM: u32 = 2;

/// Attempts written down after which an item is given up.
const TRIES: u32 = 2;

/// Pause when a slice brought nothing to an end, so that a strand does not spin while the service is short of something.
const BACKOFF: Duration = Duration::from_millis(500);

/// Where a strand stands after a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    /// There are further items.
    More,
    /// Nothing is left to do for this strand.
    Done,
}

/// The job a strand's envelope belongs to: its id without the strand's number.
///
/// # Errors
/// An id of another form.
pub fn parent(envelope_id: &str) -> Result<JobId, Problem> {
    let text = envelope_id.rsplit_once('.').map_or(envelope_id, |(job, _)| job);
    JobId::new(text).map_err(|e| Problem::invalid("job_id", e.to_string()))
}

/// One slice of a strand. `last_delivery`: one more death of a worker would bury the strand.
///
/// # Errors
/// The store's; the strand is then to be delivered again.
pub async fn slice(
    desk: &Desk,
    envelope: &Envelope,
    strand: &BulkRequest,
    last_delivery: bool,
    context: &Context,
) -> Result<Slice, Problem> {
    let tenant = TenantId::new(&envelope.tenant).map_err(|e| Problem::invalid("tenant", e.to_string()))?;
    let id = parent(&envelope.job_id)?;
    let jobs = desk.jobs(&tenant);
    let Some(job) = jobs.get(&id).await.map_err(store_problem)? else { return Ok(Slice::Done) };
    if job.value.state.is_final() {
        if job.value.state == JobState::Cancelled {
            jobs.drop_items(&id).await.map_err(store_problem)?;
        }
        return Ok(Slice::Done);
    }
    let mine = (strand.strand, strand.strands);
    let open = jobs.open_items(&id, mine, SLICE).await.map_err(store_problem)?;
    if open.is_empty() {
        return Ok(Slice::Done);
    }
    let run = Run { desk, tenant: &tenant, jobs: &jobs, job: &job.value, context };
    let ended = if envelope.attempt < CAREFUL_FROM {
        let done = join_all(open.iter().map(|index| run.item(*index))).await;
        let results: Vec<ItemResult> = done.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        run.finish(&results).await?
    } else {
        run.carefully(&open, last_delivery).await?
    };
    if ended == 0 {
        in_time(context.deadline)?;
        tokio::time::sleep(BACKOFF).await;
    }
    Ok(Slice::More)
}

/// What the items of a slice have in common.
struct Run<'a> {
    desk: &'a Desk,
    tenant: &'a TenantId,
    jobs: &'a Jobs,
    job: &'a JobRecord,
    context: &'a Context,
}

impl Run<'_> {
    /// One after the other; which one is under way is written down before it is begun.
    async fn carefully(&self, open: &[u32], last_delivery: bool) -> Result<usize, Problem> {
        let mut ended = 0;
        for &index in open {
            let tries = self.jobs.tries(&self.job.id, index).await.map_err(store_problem)?;
            let result = if tries >= TRIES - 1 {
                let detail = "the item was given up after several workers failed on it";
                Some(self.result(index, Err(Problem::new(ErrorCode::InferenceFailed, detail)), &None))
            } else if last_delivery {
                // An item nobody has tried alone: the strand must have deliveries left for it.
                return Ok(ended.max(1));
            } else {
                self.jobs.note_try(&self.job.id, index, Timestamp::now()).await.map_err(store_problem)?;
                self.item(index).await?
            };
            ended += self.finish(result.as_slice()).await?;
        }
        Ok(ended)
    }

    /// One item; `None` when it is to be tried again later, or has its result already.
    async fn item(&self, index: u32) -> Result<Option<ItemResult>, Problem> {
        let _turn = self.desk.precedence.item().await;
        let Some(bytes) = self.jobs.item(&self.job.id, index).await.map_err(store_problem)? else { return Ok(None) };
        let mut about = None;
        let outcome = match wire::decode_item(bytes).map(|i| i.request) {
            Ok(Some(request)) => {
                let request = match request {
                    bulk_item::Request::Enrol(r) => Request::Enrol(r),
                    bulk_item::Request::Identify(r) => Request::Identify(r),
                };
                about = wire::told_of(&request);
                self.carry_out(index, request).await
            }
            Ok(None) => Err(Problem::invalid("item", "this worker does not know the kind of item; upgrade it")),
            Err(e) => Err(Problem::new(ErrorCode::Internal, format!("the item cannot be read: {e}"))),
        };
        match outcome {
            // The service's own shortness of something is no result.
            Err(p) if p.code.status() == 503 => {
                tracing::debug!(job = %self.job.id, index, code = %p.code, "an item is put off");
                Ok(None)
            }
            outcome => Ok(Some(self.result(index, outcome, &about))),
        }
    }

    async fn carry_out(&self, index: u32, request: Request) -> Result<Done, Problem> {
        let (desk, tenant, context) = (self.desk, self.tenant, self.context);
        match request {
            // The item's own job id: enrolling it a second time finds that it was done.
            Request::Enrol(r) => {
                let job = format!("{}.i{index}", self.job.id);
                let asked = enrol::Asked { job: &job, accepted_at: Some(self.job.created_at) };
                enrol::run(desk, tenant, asked, r, context).await
            }
            Request::Identify(r) => identify::run(desk, tenant, r, context).await,
            _ => Err(Problem::invalid("item", "items are enrolments or identifications")),
        }
    }

    fn result(
        &self,
        index: u32,
        outcome: Result<Done, Problem>,
        about: &Option<(CollectionId, Option<SubjectId>)>,
    ) -> ItemResult {
        let succeeded = outcome.is_ok();
        let kind = if succeeded { "ok" } else { "failed" };
        self.desk.metrics.jobs.with_label_values(&["bulk_item", kind]).inc();
        let (outcome, model_version) = match outcome {
            Ok(done) => (done.outcome, done.model_version.to_string()),
            Err(p) => (Outcome::Problem(p.into()), self.desk.model_version.clone()),
        };
        let reply = v1::Reply {
            job_id: self.job.id.to_string(),
            model_version,
            outcome: Some(outcome),
            ..v1::Reply::default()
        };
        let about = self.desk.mentions(self.tenant, about, &reply);
        ItemResult { index, reply: wire::encode_reply(&reply), succeeded, about }
    }

    async fn finish(&self, results: &[ItemResult]) -> Result<usize, Problem> {
        if !results.is_empty() {
            self.jobs.finish_items(&self.job.id, results, Timestamp::now()).await.map_err(store_problem)?;
            let about: Vec<Mention> = results.iter().flat_map(|r| r.about.iter().cloned()).collect();
            self.desk.settle(self.tenant, &about).await;
        }
        Ok(results.len())
    }
}
