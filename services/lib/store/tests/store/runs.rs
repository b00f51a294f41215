//! Training runs over both engines: one carrier at a time, one run for a policy.

use bytes::Bytes;
use domain::{BaseModel, CollectionId, RecipeName, RunId, RunState, Timestamp};
use visavis_store::{Claim, RepoError, RunRecord, Runs};

use crate::common::fixture::*;

on_both_engines!(
    only_the_one_who_claimed_last_writes_until_the_end,
    of_all_who_follow_the_last_run_one_appends,
    runs_are_listed_until_they_end_and_page_by_page_ever_after,
);

fn runs(f: &Fixture) -> Runs {
    Runs::new(f.store.clone(), &f.tenant)
}

fn run() -> RunRecord {
    let collections = vec!["staff".parse().unwrap(), "guests".parse().unwrap()];
    RunRecord::new(RunId::generate(), collections, RecipeName::FineTuneHead, BaseModel::champion())
}

async fn only_the_one_who_claimed_last_writes_until_the_end(f: Fixture) {
    let (runs, run) = (runs(&f), run());
    runs.create(&run).await.unwrap();
    assert!(matches!(runs.create(&run).await, Err(RepoError::AlreadyExists(_))));
    let claimed = |claim| match claim {
        Claim::Claimed(run) => run,
        other => panic!("{other:?}"),
    };
    let first = claimed(runs.claim(&run.id, "a").await.unwrap());
    assert_eq!((first.resumes, first.fruitless), (0, 1));
    let page = [("report.html", Bytes::from_static(b"page"))];
    assert!(runs.carry((&run.id, "a"), &[], |r| r.state = RunState::Training).await.unwrap().is_some());
    let second = claimed(runs.claim(&run.id, "b").await.unwrap());
    assert_eq!((second.resumes, second.fruitless, second.state), (1, 2, RunState::Training));
    // The first was taken for dead and lives: it writes nothing any more, its documents included.
    assert!(runs.carry((&run.id, "a"), &page, |r| r.state = RunState::Done).await.unwrap().is_none());
    assert_eq!(runs.document(&run.id, "report.html").await.unwrap(), None);
    assert!(runs.carry((&run.id, "b"), &page, |r| r.end(RunState::Done, Timestamp::now())).await.unwrap().is_some());
    assert_eq!(runs.document(&run.id, "report.html").await.unwrap(), Some(Bytes::from_static(b"page")));
    assert_eq!(runs.claim(&run.id, "c").await.unwrap(), Claim::Ended);
    assert!(runs.carry((&run.id, "b"), &[], |r| r.state = RunState::Failed).await.unwrap().is_none());
    assert!(matches!(runs.cancel(&run.id, Timestamp::now()).await, Err(RepoError::RunEnded)));
    assert_eq!(runs.claim(&RunId::generate(), "c").await.unwrap(), Claim::Missing);
}

async fn of_all_who_follow_the_last_run_one_appends(f: Fixture) {
    let (runs, staff): (Runs, CollectionId) = (runs(&f), "staff".parse().unwrap());
    let before = runs.last(&staff).await.unwrap();
    assert!(before.is_none());
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (runs, staff) = (runs.clone(), staff.clone());
        all.spawn(async move { runs.create_after(&run(), &staff, None).await.is_ok() });
    }
    let made = all.join_all().await;
    assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
    let last = runs.last(&staff).await.unwrap().unwrap();
    assert_eq!(runs.list(None, 10).await.unwrap().0.len(), 1);
    assert_eq!(Runs::open(&*f.store).await.unwrap().len(), 1, "who was too late leaves nothing");
    assert!(runs.create_after(&run(), &staff, None).await.is_err(), "counted from an older note");
    runs.create_after(&run(), &staff, Some(last.version)).await.unwrap();
    // A run over several collections is the last of each.
    let guests = runs.last(&"guests".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(guests.value, runs.last(&staff).await.unwrap().unwrap().value);
}

async fn runs_are_listed_until_they_end_and_page_by_page_ever_after(f: Fixture) {
    let runs = runs(&f);
    let all = [run(), run(), run()];
    for run in &all {
        runs.create(run).await.unwrap();
    }
    assert_eq!(Runs::open(&*f.store).await.unwrap().len(), 3);
    runs.cancel(&all[1].id, Timestamp::now()).await.unwrap();
    runs.unlist(&all[1].id).await.unwrap();
    let open: Vec<RunId> = Runs::open(&*f.store).await.unwrap().into_iter().map(|(_, id)| id).collect();
    assert_eq!(open, [all[0].id.clone(), all[2].id.clone()]);
    let (page, next) = runs.list(None, 2).await.unwrap();
    assert_eq!(page.iter().map(|r| &r.id).collect::<Vec<_>>(), [&all[0].id, &all[1].id]);
    let (page, next) = runs.list(next.as_deref(), 2).await.unwrap();
    assert_eq!((page.len(), &page[0].id, next), (1, &all[2].id, None));
}
