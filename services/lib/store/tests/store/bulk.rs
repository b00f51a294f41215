//! Jobs of many items over both engines: worked off by several at once, delivered twice, cancelled, expired.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use domain::{ErrorCode, JobId, JobKind, JobRecord, JobState, Progress, Timestamp};
use tokio::task::JoinSet;
use visavis_store::{ItemResult, Jobs};

use crate::common::fixture::*;

on_both_engines!(
    strands_work_off_every_item_once,
    an_item_finished_again_counts_once_and_keeps_its_first_result,
    a_cancelled_job_takes_no_more_results,
    items_and_results_end_with_their_job,
    a_job_is_made_once,
);

fn record(items: u32, expires_at: Timestamp) -> JobRecord {
    JobRecord {
        id: JobId::generate(),
        kind: JobKind::BulkEnrol,
        state: JobState::Queued,
        key: "k".parse().unwrap(),
        created_at: NOW,
        updated_at: NOW,
        expires_at,
        problem: None,
        progress: Some(Progress { items, succeeded: 0, failed: 0 }),
    }
}

fn items(n: u32) -> Vec<Bytes> {
    (0..n).map(|i| format!("item {i}").into()).collect()
}

async fn made(f: &Fixture, n: u32) -> (Jobs, JobId) {
    let (jobs, job) = (Jobs::new(f.store.clone(), &f.tenant), record(n, NOW.plus(DAY)));
    jobs.create_bulk(&job, items(n)).await.unwrap();
    (jobs, job.id)
}

fn result(index: u32) -> ItemResult {
    ItemResult { index, reply: format!("reply {index}").into(), succeeded: !index.is_multiple_of(3), about: Vec::new() }
}

/// As a worker: takes what is open in its strand, and finishes it some at a time.
async fn work(jobs: Jobs, id: JobId, strand: (u32, u32)) -> Vec<u32> {
    let mut done = Vec::new();
    loop {
        let open = jobs.open_items(&id, strand, 7).await.unwrap();
        if open.is_empty() {
            return done;
        }
        assert!(open.windows(2).all(|w| w[0] < w[1]) && open.iter().all(|i| i % strand.1 == strand.0));
        for &index in &open {
            assert_eq!(jobs.item(&id, index).await.unwrap().unwrap(), format!("item {index}"));
        }
        let results: Vec<_> = open.iter().map(|&i| result(i)).collect();
        jobs.finish_items(&id, &results, NOW).await.unwrap();
        done.extend(open);
    }
}

async fn strands_work_off_every_item_once(f: Fixture) {
    // More than one commit and more than one page of keys.
    let n = 700;
    let (jobs, id) = made(&f, n).await;
    let mut tasks = JoinSet::new();
    for strand in 0..8 {
        tasks.spawn(work(jobs.clone(), id.clone(), (strand, 8)));
    }
    let mut done: Vec<u32> = tasks.join_all().await.into_iter().flatten().collect();
    done.sort_unstable();
    assert_eq!(done, (0..n).collect::<Vec<_>>());
    let job = jobs.get(&id).await.unwrap().unwrap().value;
    let failed = n.div_ceil(3);
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.progress, Some(Progress { items: n, succeeded: n - failed, failed }));
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let (rows, more) = jobs.item_results(&id, after, 64).await.unwrap();
        after = rows.last().map(|(i, _)| *i);
        read.extend(rows);
        if !more {
            break;
        }
    }
    assert_eq!(read, (0..n).map(|i| (i, result(i).reply)).collect::<Vec<_>>());
    assert_eq!(jobs.open_items(&id, (0, 1), 9).await.unwrap(), Vec::<u32>::new());
    assert_eq!(jobs.result(&id).await.unwrap(), None, "items' results are not the job's");
}

async fn an_item_finished_again_counts_once_and_keeps_its_first_result(f: Fixture) {
    let (jobs, id) = made(&f, 4).await;
    let job = jobs.finish_items(&id, &[result(1), result(1)], NOW).await.unwrap();
    assert_eq!((job.state, job.progress.unwrap().succeeded), (JobState::Running, 1));
    assert_eq!(jobs.item(&id, 1).await.unwrap(), None);
    let again = ItemResult { reply: "another".into(), succeeded: false, ..result(1) };
    let job = jobs.finish_items(&id, &[again, result(0)], NOW).await.unwrap();
    assert_eq!(job.progress, Some(Progress { items: 4, succeeded: 1, failed: 1 }));
    // Two deliveries of one piece of work at the same moment.
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let (jobs, id) = (jobs.clone(), id.clone());
        tasks.spawn(async move { jobs.finish_items(&id, &[result(2)], NOW).await.unwrap() });
    }
    tasks.join_all().await;
    assert_eq!(jobs.open_items(&id, (0, 1), 9).await.unwrap(), [3]);
    let job = jobs.finish_items(&id, &[result(3)], NOW.plus(DAY)).await.unwrap();
    assert_eq!((job.state, job.updated_at), (JobState::Succeeded, NOW.plus(DAY)));
    assert_eq!(job.progress, Some(Progress { items: 4, succeeded: 2, failed: 2 }));
    let (rows, more) = jobs.item_results(&id, None, 9).await.unwrap();
    assert_eq!((rows[1].clone(), rows.len(), more), ((1, "reply 1".into()), 4, false));
    assert_eq!(jobs.item_results(&id, Some(2), 9).await.unwrap().0, [(3, result(3).reply)]);
    let ended = jobs.finish_items(&id, &[result(3)], NOW).await.unwrap();
    assert_eq!(ended, job);
}

async fn a_cancelled_job_takes_no_more_results(f: Fixture) {
    let (jobs, id) = made(&f, 300).await;
    let workers: Vec<_> = (0..3)
        .map(|strand| {
            let (jobs, id) = (jobs.clone(), id.clone());
            tokio::spawn(async move {
                for index in (strand..300).step_by(3) {
                    let job = jobs.finish_items(&id, &[result(index)], NOW).await.unwrap();
                    if job.state.is_final() {
                        return job.state;
                    }
                }
                JobState::Running
            })
        })
        .collect();
    while jobs.item_results(&id, None, 20).await.unwrap().0.len() < 20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(jobs.cancel(&id, NOW).await.unwrap().state, JobState::Cancelled);
    let dropped = jobs.drop_items(&id).await.unwrap();
    for worker in workers {
        assert_eq!(worker.await.unwrap(), JobState::Cancelled);
    }
    let job = jobs.get(&id).await.unwrap().unwrap().value;
    let progress = job.progress.unwrap();
    let kept = jobs.item_results(&id, None, 300).await.unwrap().0;
    let counted = (progress.succeeded + progress.failed) as usize;
    assert_eq!((kept.len(), dropped), (counted, 300 - counted), "what was done before is told and no more");
    assert_eq!(jobs.drop_items(&id).await.unwrap(), 0);
    assert!(jobs.open_items(&id, (0, 1), 9).await.unwrap().is_empty());
}

async fn items_and_results_end_with_their_job(f: Fixture) {
    let jobs = Jobs::new(f.store.clone(), &f.tenant);
    let past = record(3, Timestamp::from_millis(5));
    jobs.create_bulk(&past, items(3)).await.unwrap();
    assert!(jobs.open_items(&past.id, (0, 1), 9).await.unwrap().is_empty());
    assert_eq!(jobs.item(&past.id, 0).await.unwrap(), None);
    assert_eq!(code(jobs.finish_items(&past.id, &[result(0)], NOW).await), ErrorCode::JobNotFound);

    let soon = record(3, Timestamp::now().plus(Duration::from_secs(3_600)));
    jobs.create_bulk(&soon, items(3)).await.unwrap();
    jobs.finish_items(&soon.id, &[result(0)], NOW).await.unwrap();
    jobs.note_try(&soon.id, 1, Timestamp::from_millis(0)).await.unwrap();
    let before = f.store.keys(&visavis_store::Space::tenant(&f.tenant), "job", None, 99).await.unwrap().keys;
    assert_eq!(before.len(), 4, "the job, two items, one result: {before:?}");
    assert_eq!(f.store.sweep(soon.expires_at).await.unwrap(), 3 + 1 + 1 + 4);
    let left: BTreeSet<_> = f
        .store
        .keys(&visavis_store::Space::tenant(&f.tenant), "job", None, 99)
        .await
        .unwrap()
        .keys
        .into_iter()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

async fn a_job_is_made_once(f: Fixture) {
    let jobs = Jobs::new(f.store.clone(), &f.tenant);
    let job = record(2, NOW.plus(DAY));
    jobs.create_bulk(&job, items(2)).await.unwrap();
    jobs.finish_items(&job.id, &[result(1)], NOW).await.unwrap();
    assert_eq!(code(jobs.create_bulk(&job, items(2)).await), ErrorCode::Conflict);
    assert_eq!(jobs.open_items(&job.id, (0, 1), 9).await.unwrap(), [0], "what was done is not opened again");
    assert_eq!(jobs.tries(&job.id, 0).await.unwrap(), 0);
    jobs.note_try(&job.id, 0, NOW).await.unwrap();
    jobs.note_try(&job.id, 0, NOW).await.unwrap();
    assert_eq!((jobs.tries(&job.id, 0).await.unwrap(), jobs.tries(&job.id, 1).await.unwrap()), (2, 0));
}
