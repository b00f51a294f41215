//! The batcher as its callers notice it, on a runner that is told what to do. Time is paused: it passes only while
//! everybody waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use domain::{ErrorCode, Problem};
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::timeout};

use super::{BatchError, Batcher, Observer, Policy, now};

const BUCKETS: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// An item that fails every batch it is in, and one on which the runner panics.
const POISON: u32 = 666;
const PANIC: u32 = 999;

/// What the runner did.
#[derive(Default)]
struct Seen {
    batches: Mutex<Vec<Vec<u32>>>,
    waits: Mutex<Vec<Duration>>,
    expired: AtomicUsize,
}

impl Observer for Seen {
    fn batch(&self, model: &'static str, waits: &[Duration]) {
        assert_eq!(model, "fake");
        self.waits.lock().extend_from_slice(waits);
    }
    fn expired(&self, _model: &'static str, items: usize) {
        self.expired.fetch_add(items, SeqCst);
    }
}

fn policy(max: usize) -> Policy {
    Policy::new(max, Duration::from_millis(5), BUCKETS)
}

/// Doubles each item, once `gate` lets the batch through.
fn doubling(policy: Policy, gate: &Arc<Semaphore>) -> (Batcher<u32, u32>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let (log, gate) = (Arc::clone(&seen), Arc::clone(gate));
    let batcher = Batcher::spawn_observed("fake", policy, Some(Arc::clone(&seen) as _), move |items: Vec<u32>| {
        let (log, gate) = (Arc::clone(&log), Arc::clone(&gate));
        async move {
            log.batches.lock().push(items.clone());
            gate.acquire().await.unwrap().forget();
            assert!(!items.contains(&PANIC), "the runner panics on this item");
            if items.contains(&POISON) {
                return Err(Problem::new(ErrorCode::InferenceFailed, "poison"));
            }
            Ok(items.iter().map(|i| i * 2).collect())
        }
    });
    (batcher, seen)
}

fn open() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(Semaphore::MAX_PERMITS / 2))
}

fn shut() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

fn later() -> Instant {
    now() + Duration::from_secs(60)
}

fn spawn(
    batcher: &Batcher<u32, u32>,
    item: u32,
    deadline: Instant,
) -> tokio::task::JoinHandle<Result<u32, BatchError>> {
    let batcher = batcher.clone();
    tokio::spawn(async move { batcher.submit(item, deadline).await })
}

/// Lets every task come to rest.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_n_equals_n_singles() {
    let (alone, _) = doubling(policy(1), &open());
    let (together, seen) = doubling(policy(32), &open());
    let mut singles = Vec::new();
    for i in 0..100 {
        singles.push(alone.submit(i, later()).await);
    }
    let batched = join_all((0..100).map(|i| together.submit(i, later()))).await;
    assert_eq!(singles, batched);
    let batches = seen.batches.lock();
    assert!(batches.iter().any(|b| b.len() == 32), "it did batch: {batches:?}");
    assert_eq!(seen.waits.lock().len(), 100, "each item is observed once");
}

#[tokio::test(start_paused = true)]
async fn an_idle_engine_is_used_at_once() {
    let (batcher, seen) = doubling(policy(32), &open());
    let start = now();
    assert_eq!(batcher.submit(4, later()).await, Ok(8));
    assert_eq!(now(), start, "nobody waited for company");
    assert_eq!(*seen.waits.lock(), [Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_batch_fails_its_poison_only() {
    for bad in [POISON, PANIC] {
        let (batcher, seen) = doubling(policy(32), &open());
        let items: Vec<u32> = (0..31).chain([bad]).collect();
        let outcomes = join_all(items.iter().map(|i| batcher.submit(*i, later()))).await;
        for (item, outcome) in items.iter().zip(outcomes) {
            match outcome {
                Ok(output) => assert_eq!(output, item * 2),
                Err(error) => {
                    assert_eq!(*item, bad, "an innocent item failed");
                    let code = if bad == POISON { ErrorCode::InferenceFailed } else { ErrorCode::Internal };
                    assert_eq!(error.code(), code);
                }
            }
        }
        assert!(seen.batches.lock().len() <= 11, "two runs per halving");
        assert_eq!(batcher.submit(1, later()).await, Ok(2), "it goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_engine_is_at_fault_halves_are_not_tried() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let batcher: Batcher<u32, u32> = Batcher::spawn_observed("fake", policy(32), None, move |_| {
        counter.fetch_add(1, SeqCst);
        async { Err(Problem::new(ErrorCode::ModelNotReady, "the session has ended")) }
    });
    for outcome in join_all((0..8).map(|i| batcher.submit(i, later()))).await {
        assert_eq!(outcome.unwrap_err().code(), ErrorCode::ModelNotReady);
    }
    assert_eq!(runs.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_runner_with_too_few_outputs_answers_nobody_with_anothers_output() {
    let batcher: Batcher<u32, u32> = Batcher::spawn_observed("fake", policy(4), None, |_| async { Ok(vec![7]) });
    let outcomes = join_all((0..4).map(|i| batcher.submit(i, later()))).await;
    assert_eq!(outcomes, [Ok(7), Ok(7), Ok(7), Ok(7)], "one output for one item is right");
    let batcher: Batcher<u32, u32> = Batcher::spawn_observed("fake", policy(4), None, |_| async { Ok(vec![]) });
    assert_eq!(batcher.submit(1, later()).await.unwrap_err().code(), ErrorCode::Internal);
}

#[tokio::test(start_paused = true)]
async fn past_its_deadline_an_item_is_answered_and_not_run() {
    let gate = shut();
    let (batcher, seen) = doubling(policy(1), &gate);
    let running = [spawn(&batcher, 1, later()), spawn(&batcher, 2, later())];
    settle().await;
    let start = now();
    let deadline = start + Duration::from_millis(30);
    assert_eq!(batcher.submit(3, deadline).await, Err(BatchError::DeadlineExceeded));
    assert!(now() - start <= Duration::from_millis(31), "answered at its deadline");
    assert_eq!(batcher.submit(4, start).await, Err(BatchError::DeadlineExceeded));
    gate.add_permits(9);
    for (task, output) in running.into_iter().zip([2, 4]) {
        assert_eq!(task.await.unwrap(), Ok(output));
    }
    assert_eq!(*seen.batches.lock(), [[1], [2]]);
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_hangs_holds_nobody_past_the_deadline() {
    let (batcher, _) = doubling(policy(8), &shut());
    let outcome = timeout(Duration::from_secs(3600), batcher.submit(1, later())).await;
    assert_eq!(outcome.unwrap(), Err(BatchError::DeadlineExceeded));
}

#[tokio::test(start_paused = true)]
async fn an_item_whose_caller_has_gone_is_not_run() {
    let gate = shut();
    let (batcher, seen) = doubling(policy(1), &gate);
    let running = [spawn(&batcher, 1, later()), spawn(&batcher, 2, later())];
    settle().await;
    let (gone, stays) = (spawn(&batcher, 3, later()), spawn(&batcher, 4, later()));
    settle().await;
    gone.abort();
    settle().await;
    gate.add_permits(9);
    assert_eq!(stays.await.unwrap(), Ok(8));
    join_all(running).await;
    assert_eq!(*seen.batches.lock(), [[1], [2], [4]]);
}

#[tokio::test(start_paused = true)]
async fn the_earliest_deadline_runs_first() {
    let gate = shut();
    let (batcher, seen) = doubling(policy(1), &gate);
    let mut tasks = vec![spawn(&batcher, 1, later()), spawn(&batcher, 2, later())];
    settle().await;
    for (item, seconds) in [(3, 50), (4, 10), (5, 30)] {
        tasks.push(spawn(&batcher, item, now() + Duration::from_secs(seconds)));
    }
    settle().await;
    gate.add_permits(9);
    assert!(join_all(tasks).await.into_iter().all(|outcome| outcome.unwrap().is_ok()));
    assert_eq!(seen.batches.lock().concat(), [1, 2, 4, 5, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_frees_its_places() {
    let gate = shut();
    let (batcher, _) = doubling(policy(1).with_capacity(2), &gate);
    let mut tasks: Vec<_> = Vec::new();
    for item in [1, 2, 3, 4] {
        tasks.push(spawn(&batcher, item, later()));
        settle().await;
    }
    assert_eq!(batcher.submit(5, later()).await, Err(BatchError::Overloaded));
    tasks.pop().unwrap().abort();
    settle().await;
    tasks.push(spawn(&batcher, 6, later()));
    settle().await;
    gate.add_permits(9);
    assert!(join_all(tasks).await.into_iter().all(|outcome| outcome.unwrap().is_ok()));
}

#[tokio::test(start_paused = true)]
async fn while_busy_items_gather_into_one_batch() {
    let gate = shut();
    let (batcher, seen) = doubling(policy(8), &gate);
    let mut tasks = vec![spawn(&batcher, 0, later())];
    settle().await;
    tasks.extend((1..=8).map(|i| spawn(&batcher, i, later())));
    settle().await;
    gate.add_permits(9);
    assert!(join_all(tasks).await.into_iter().all(|outcome| outcome.unwrap().is_ok()));
    assert_eq!(seen.batches.lock().iter().map(Vec::len).collect::<Vec<_>>(), [1, 8]);
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let first = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (batcher, _) = first.block_on(async { doubling(policy(8), &shut()) });
    let waiting = {
        let batcher = batcher.clone();
        std::thread::spawn(move || {
            let second = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            second.block_on(batcher.submit(1, later()))
        })
    };
    drop(first);
    assert_eq!(waiting.join().unwrap(), Err(BatchError::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_a_span_that_is_linked_to_each_of_its_requests() {
    let (tracer, mut spans) = trace::Tracer::new(1.0, 64, None);
    let (batcher, seen) = doubling(policy(32), &open());
    let jobs: Vec<trace::Span> = (0..3).map(|_| tracer.root("job", trace::Kind::Consumer, None)).collect();
    let submits = jobs.iter().zip(0..).map(|(job, i)| trace::within(job.handle(), batcher.submit(i, later())));
    // All are there before the engine is asked: they go together.
    join_all(submits).await.into_iter().for_each(|outcome| assert!(outcome.is_ok()));
    assert_eq!(*seen.batches.lock(), [vec![0, 1, 2]]);
    settle().await;
    let ended: Vec<_> = std::iter::from_fn(|| spans.try_recv().ok()).collect();
    let batches: Vec<_> = ended.iter().filter(|s| s.parent.is_none()).collect();
    let linked: Vec<_> = batches.iter().map(|b| b.links.clone()).collect();
    let asked: Vec<_> = jobs.iter().filter_map(|j| j.handle().context()).collect();
    assert_eq!(linked, [asked]);
    // And in each request's own trace a share that names the batch.
    let shares: Vec<_> = ended.iter().filter(|s| s.parent.is_some()).flat_map(|s| s.links.clone()).collect();
    assert_eq!(shares, [batches[0].context; 3]);
}
