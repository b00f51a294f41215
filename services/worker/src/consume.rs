//! Consume: takes jobs off a lane, as many as there is room for, and sees each through to its reply. Called by
//! [`crate::Worker::run`], once per lane.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{ErrorCode, Lane, Problem, Timestamp};
use futures::FutureExt;
use queue::{Consumer, Delivery};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use trace::{Kind, Span, SpanContext};
use tracing::Instrument;
use wire::v1::envelope::Request;

use crate::{
    drain::Running,
    jobs::{
        self, Desk, Done,
        bulk::{self, Slice},
        promotion,
    },
    pipeline::Context,
    stages::respond,
    timings::{Stage, Timings},
};

/// How often a running job tells the queue that it is still alive.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Deliveries after which the queue buries a job.
pub const MAX_DELIVERIES: u32 = 3;

/// Pause after the queue failed, so that an outage is not met with a storm of attempts.
const BACKOFF: Duration = Duration::from_millis(500);

/// Pause before a job of an unknown kind goes back: if nobody newer takes it, it comes round until its deadline.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(100);

/// Takes jobs until `shutdown`; those begun go on in `running`. Gives the consumer back, to leave once they are done.
pub async fn consume(
    desk: Arc<Desk>,
    consumer: Consumer,
    slots: usize,
    running: Running,
    shutdown: CancellationToken,
) -> Consumer {
    let slots = Arc::new(Semaphore::new(slots.max(1)));
    loop {
        // Room first: nothing is taken off the lane that could not be begun at once.
        let first = tokio::select! {
            () = shutdown.cancelled() => return consumer,
            permit = Arc::clone(&slots).acquire_owned() => permit,
        };
        let Ok(first) = first else { return consumer };
        let room = 1 + slots.available_permits();
        let taken = tokio::select! {
            () = shutdown.cancelled() => return consumer,
            taken = consumer.next(room) => taken,
        };
        let deliveries = match taken {
            Ok(deliveries) => deliveries,
            Err(error) => {
                tracing::warn!(%error, "the queue cannot be read; trying again");
                tokio::select! {
                    () = shutdown.cancelled() => return consumer,
                    () = tokio::time::sleep(BACKOFF) => continue,
                }
            }
        };
        let mut permit = Some(first);
        for delivery in deliveries {
            let permit = match permit.take() {
                Some(p) => p,
                None => match Arc::clone(&slots).acquire_owned().await {
                    Ok(p) => p,
                    Err(_) => return consumer,
                },
            };
            let (desk, name) = (Arc::clone(&desk), consumer.name().to_owned());
            let suspect = alone(&delivery);
            let work = running.spawn(async move {
                see_through(&desk, &name, delivery).await;
                drop(permit);
            });
            if suspect {
                // Nothing else is taken meanwhile: if this one takes the process with it, it goes alone.
                tokio::select! {
                    () = shutdown.cancelled() => return consumer,
                    _ = work => {}
                }
            }
        }
    }
}

/// Whether a job is to be worked on with nothing beside it in this process: it was begun before and its worker did not
/// live to answer it. Whatever was beside it then is innocent, but for one.
fn alone(delivery: &Delivery) -> bool {
    delivery.envelope.attempt > 1
}

/// Runs `work` beside others, or alone once those have ended.
async fn in_turn<T>(desk: &Desk, alone: bool, work: impl Future<Output = T>) -> T {
    if alone {
        let _alone = desk.turn.write().await;
        work.await
    } else {
        let _beside = desk.turn.read().await;
        work.await
    }
}

/// One job from delivery to acknowledgement, with its span, and every line that is logged on the way under its ids.
async fn see_through(desk: &Desk, name: &str, delivery: Delivery) {
    let envelope = &delivery.envelope;
    let kind = wire::job_kind(envelope).map_or("unknown", domain::JobKind::as_str);
    let (tracer, asked) = (&desk.config.tracer, SpanContext::parse(&envelope.traceparent));
    tracer.handle(asked).past("queue", delivery.queued_for());
    let mut span = tracer.root(format!("job {kind}"), Kind::Consumer, asked);
    span.set("visavis.job_id", envelope.job_id.as_str());
    span.set("visavis.request_id", envelope.request_id.as_str());
    span.set("visavis.attempt", i64::from(envelope.attempt));
    let (job, request_id) = (envelope.job_id.as_str(), envelope.request_id.as_str());
    let trace_id = span.handle().trace_id();
    // Whatever the filter lets through otherwise.
    let lines = tracing::error_span!("job", job, request_id, trace_id, kind);
    // On the heap: built without optimisations, each layer around it would hold a copy of it on the thread's stack.
    let (handle, work) = (span.handle(), Box::pin(work_through(desk, name, delivery, &mut span)));
    trace::within(handle, work).instrument(lines).await;
}

/// The same without. A panic is that job's `internal`, nobody else's.
async fn work_through(desk: &Desk, name: &str, mut delivery: Delivery, span: &mut Span) {
    let _in_flight = InFlight::enter(desk);
    let _awaited = (delivery.lane() == Lane::Interactive).then(|| desk.precedence.awaited());
    let timings = Arc::new(Timings::new(desk.metrics.stage_seconds.clone()).traced(span.handle()));
    timings.add(Stage::Queue, delivery.queued_for());
    let context = Context { deadline: deadline(&delivery), timings: Arc::clone(&timings) };
    let job_id = delivery.envelope.job_id.clone();
    let kind = wire::job_kind(&delivery.envelope).map_or("unknown", domain::JobKind::as_str);
    if delivery.cancelled().await {
        // Nobody waits any more; the queue only needs to forget it.
        let gone = Problem::new(ErrorCode::DeadlineExceeded, "the job was cancelled");
        let reply = respond::reply(desk, name, &job_id, Err(gone), &timings);
        settle(desk, delivery, &reply, &None).await;
        return;
    }
    if delivery.envelope.request.is_none() {
        leave_to_newer(delivery).await;
        return;
    }
    if matches!(delivery.envelope.request, Some(Request::Bulk(_) | Request::Promotion(_))) {
        see_to_strand(desk, delivery, &context).await;
        return;
    }
    // The envelope moves to the job for its images' sake; what the reply needs stays with the delivery.
    let about = delivery.envelope.request.as_ref().and_then(wire::told_of);
    let alone = alone(&delivery);
    let mut envelope = std::mem::take(&mut delivery.envelope);
    let work = in_turn(desk, alone, Box::pin(jobs::carry_out(desk, &mut envelope, &context)));
    let work = AssertUnwindSafe(work).catch_unwind();
    let outcome = with_heartbeat(&delivery, work).await.unwrap_or_else(|_| {
        tracing::error!(job = %job_id, kind, "a job panicked");
        Err(Problem::new(ErrorCode::Internal, "the job failed unexpectedly"))
    });
    delivery.envelope = envelope;
    let told = told(&outcome);
    desk.metrics.jobs.with_label_values(&[kind, told]).inc();
    if outcome.is_err() {
        span.fail(told);
    }
    tracing::debug!(outcome = told, queued_ms = delivery.queued_for().as_millis(), "a job is done");
    let reply = respond::reply(desk, name, &job_id, outcome, &timings);
    let _respond = span.handle().child("respond", Kind::Producer);
    settle(desk, delivery, &reply, &about).await;
}

/// A job of a kind that came with a newer version goes back to its lane as it is, for a worker that knows it.
async fn leave_to_newer(delivery: Delivery) {
    let job = delivery.envelope.job_id.clone();
    tracing::warn!(%job, "a job of a kind this version does not know is left to a newer worker");
    tokio::time::sleep(UNKNOWN_PAUSE).await;
    if let Err(error) = delivery.requeue().await {
        tracing::warn!(%job, %error, "a job could not be put back; it will be delivered again");
    }
}

/// One slice of a strand, of a bulk job or of a promotion. A strand with more to do goes to the end of the lane; one that
/// failed for want of the store goes back undone.
async fn see_to_strand(desk: &Desk, delivery: Delivery, context: &Context) {
    let (envelope, last) = (&delivery.envelope, delivery.envelope.attempt >= MAX_DELIVERIES);
    let slice = async {
        match &envelope.request {
            Some(Request::Bulk(strand)) => bulk::slice(desk, envelope, strand, last, context).await,
            Some(Request::Promotion(request)) => promotion::slice(desk, envelope, request, context).await,
            _ => Ok(Slice::Done),
        }
    };
    let work = in_turn(desk, alone(&delivery), slice);
    let done = with_heartbeat(&delivery, AssertUnwindSafe(work).catch_unwind()).await;
    let job = delivery.envelope.job_id.clone();
    let outcome = match done {
        Ok(Ok(Slice::More)) => delivery.requeue().await,
        Ok(Ok(Slice::Done)) => delivery.acknowledge().await,
        Ok(Err(problem)) => {
            tracing::warn!(%job, %problem, "a slice of a strand is put off");
            tokio::time::sleep(BACKOFF).await;
            delivery.release().await;
            Ok(())
        }
        // Given back by the destructor: it counts, so that what panics every time ends as a dead letter.
        Err(_) => {
            tracing::error!(%job, "a slice of a strand panicked");
            return;
        }
    };
    if let Err(error) = outcome {
        tracing::warn!(%job, %error, "a strand could not be put back; it will be delivered again");
    }
}

async fn settle(desk: &Desk, delivery: Delivery, reply: &wire::v1::Reply, about: &respond::About) {
    if let Err(error) = respond::respond(desk, delivery, reply, about).await {
        tracing::warn!(job = %reply.job_id, %error, "a reply could not be sent; the job will be delivered again");
    }
}

/// Runs `work`, telling the queue every now and then that the job is alive.
async fn with_heartbeat<T>(delivery: &Delivery, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = beat.tick() => {
                if let Err(error) = delivery.touch().await {
                    tracing::warn!(%error, "the heartbeat of a job was not taken");
                }
            }
        }
    }
}

/// The envelope's deadline on this process's monotonic clock.
fn deadline(delivery: &Delivery) -> Instant {
    let left = Timestamp::from_millis(delivery.envelope.deadline_ms).since(Timestamp::now());
    Instant::now() + left.min(Duration::from_secs(24 * 3600))
}

/// What came of a job, in a word.
fn told(outcome: &Result<Done, Problem>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(p) => p.code.slug(),
    }
}

/// Counts a job while it lives, whatever way it ends.
struct InFlight<'a>(&'a Desk);

impl<'a> InFlight<'a> {
    fn enter(desk: &'a Desk) -> Self {
        desk.metrics.jobs_in_flight.inc();
        Self(desk)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.jobs_in_flight.dec();
    }
}
