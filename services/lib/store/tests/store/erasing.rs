//! Erasing many subjects, and reaching what was kept of them elsewhere, over both engines.

use std::time::Duration;

use bytes::Bytes;
use domain::{ErrorCode, JobId, JobKind, JobRecord, JobState, Problem, Progress, Timestamp};
use evidence::SubjectOutcome;
use visavis_store::{
    Attempt, Begun, EnrolSubject, Enrolment, Idempotency, IdempotencySlot, ItemResult, Jobs, Lookup, Mention, Mentions,
    NewItem, Note, Outcome, Reach, StoredReply, Whom,
};

use crate::common::fixture::*;

on_both_engines!(
    many_are_erased_at_once_and_each_outcome_is_told,
    what_an_erasure_noted_keeps_a_repetition_from_counting_again,
    an_enrolment_accepted_before_the_erasure_comes_to_nothing,
    results_problems_items_and_answers_go_with_whom_they_tell_of,
    what_is_kept_of_somebody_just_erased_is_cleared_again,
    many_subjects_are_found_among_all_mentions,
);

fn mention(f: &Fixture, subject: &str) -> Mention {
    Mention { collection: "staff".parse().unwrap(), handle: f.subjects.handle(&id(subject)) }
}

fn job(kind: JobKind, items: Option<u32>) -> JobRecord {
    JobRecord {
        id: JobId::generate(),
        kind,
        state: JobState::Queued,
        key: "k".parse().unwrap(),
        created_at: NOW,
        updated_at: NOW,
        expires_at: NOW.plus(DAY),
        problem: None,
        progress: items.map(|items| Progress { items, ..Progress::default() }),
    }
}

async fn many_are_erased_at_once_and_each_outcome_is_told(f: Fixture) {
    for (name, faces) in [("anna", 2), ("bert", 1), ("carl", 1)] {
        f.enrol(&enrolment(name, faces)).await;
    }
    f.subjects.record_consent(&consent("dora", "access_control")).await.unwrap();
    f.subjects.delete_subject(&id("carl"), None, NOW).await.unwrap();
    let ids: Vec<_> = ["anna", "carl", "dora", "nobody"].map(id).into();
    let later = NOW.plus(Duration::from_secs(5));
    let erased = f.subjects.erase_many(&ids, None, later).await.unwrap();
    let told: Vec<_> = erased.iter().map(|e| (e.outcome, e.faces, e.consents)).collect();
    assert_eq!(
        told,
        [
            (SubjectOutcome::Erased, 2, 1),
            (SubjectOutcome::AlreadyErased, 0, 0),
            (SubjectOutcome::NotEnrolled, 0, 1),
            (SubjectOutcome::NotEnrolled, 0, 0)
        ]
    );
    assert_eq!((erased[0].erased_at, erased[1].erased_at), (later, NOW), "since when each is erased");
    assert_eq!(f.count().await, (1, 1));
    assert!(matches!(f.subjects.get(&id("anna")).await.unwrap(), Lookup::Erased(at) if at == later));
    assert!(matches!(f.subjects.get(&id("bert")).await.unwrap(), Lookup::Found(_)));
    assert!(f.consents.list(None, 10).await.unwrap().0.iter().all(|c| c.value.subject_id == id("bert")));
    let handles: Vec<_> = erased.iter().map(|e| e.handle).collect();
    assert_eq!(f.subjects.left_of(&handles).await.unwrap(), (handles.clone(), 0));
    // Whoever comes back is somebody new.
    f.enrol(&enrolment("anna", 1)).await;
    let (gone, left) = f.subjects.left_of(&handles).await.unwrap();
    assert_eq!((gone, left), (handles[1..].to_vec(), 0));
}

async fn what_an_erasure_noted_keeps_a_repetition_from_counting_again(f: Fixture) {
    f.enrol(&enrolment("anna", 2)).await;
    let ids = [id("anna")];
    let note = Note { key: "e/1/000000", write: &|erased| Ok(Bytes::from(format!("{} faces", erased[0].faces))) };
    assert_eq!(f.subjects.erase_many(&ids, Some(&note), NOW).await.unwrap().len(), 1);
    assert_eq!(f.subjects.erase_many(&ids, Some(&note), NOW).await.unwrap(), []);
    assert_eq!(f.subjects.notes("e/1/").await.unwrap(), [("e/1/000000".to_owned(), Bytes::from("2 faces"))]);
    f.subjects.drop_notes("e/1/").await.unwrap();
    assert_eq!(f.subjects.notes("e/").await.unwrap(), []);
}

async fn an_enrolment_accepted_before_the_erasure_comes_to_nothing(f: Fixture) {
    let (before, after) = (NOW, NOW.plus(Duration::from_secs(2)));
    let erased_at = NOW.plus(Duration::from_secs(1));
    f.subjects.erase_many(&[id("anna")], None, erased_at).await.unwrap();
    let waited = Enrolment { accepted_at: Some(before), ..enrolment("anna", 1) };
    assert_eq!(f.enrol(&waited).await, Outcome::Erased(erased_at));
    assert_eq!(f.consents.list(None, 10).await.unwrap().0, [], "its consent is not kept either");
    let anew = Enrolment { accepted_at: Some(after), ..enrolment("anna", 1) };
    assert!(matches!(f.enrol(&anew).await, Outcome::Committed(_)));
    // One that is there gets no faces from before either.
    f.subjects.delete_subject(&id("anna"), None, after).await.unwrap();
    let more = Enrolment { subject: EnrolSubject::Existing(id("anna"), None), consent: None, ..waited };
    assert_eq!(f.enrol(&more).await, Outcome::Erased(after));
}

async fn results_problems_items_and_answers_go_with_whom_they_tell_of(f: Fixture) {
    let (jobs, mentions) = (Jobs::new(f.store.clone(), &f.tenant), Mentions::new(f.store.clone(), &f.tenant));
    let (anna, bert) = (mention(&f, "anna"), mention(&f, "bert"));
    let (told, failed) = (job(JobKind::Identify, None), job(JobKind::Enrol, None));
    jobs.create(&told).await.unwrap();
    jobs.create(&failed).await.unwrap();
    let both = [anna.clone(), bert.clone()];
    jobs.finish_about(&told.id, Ok("anna or bert".into()), &both, NOW).await.unwrap();
    let why = Problem::new(ErrorCode::ConsentRequired, "anna has no consent");
    jobs.finish_about(&failed.id, Err(why), std::slice::from_ref(&anna), NOW).await.unwrap();

    let bulk = job(JobKind::BulkEnrol, Some(3));
    let item = |m: &Mention, text: &str| NewItem { bytes: Bytes::from(text.to_owned()), about: Some(m.clone()) };
    let items = vec![item(&anna, "anna's pictures"), item(&bert, "bert's pictures"), item(&anna, "more of anna")];
    jobs.create_bulk(&bulk, items).await.unwrap();
    let result = |index, m: &Mention| ItemResult {
        index,
        reply: Bytes::from(format!("result {index}")),
        succeeded: true,
        about: vec![m.clone()],
    };
    jobs.finish_items(&bulk.id, &[result(0, &anna), result(1, &bert)], NOW).await.unwrap();

    let idem = Idempotency::new(f.store.clone());
    let slot = IdempotencySlot::new(&f.tenant, &"k".parse().unwrap(), "one");
    let (mine, now) = (JobId::generate(), NOW);
    let attempt = Attempt { fingerprint: "f", job_id: &mine, now, takeover_after: DAY };
    assert_eq!(idem.begin(&slot, &attempt).await.unwrap(), Begun::Begun);
    let reply = StoredReply { status: 201, headers: vec![], body: "anna is enrolled".into() };
    idem.complete_about(&slot, &mine, (&reply, std::slice::from_ref(&anna)), NOW).await.unwrap();

    let whom = [anna.handle];
    assert_eq!(mentions.count(&anna.collection, Whom::Subjects(&whom)).await.unwrap(), 5);
    // What stays enrolled keeps its open items.
    let kept = mentions.erase(&anna.collection, Whom::Subjects(&whom), Reach::Kept, NOW).await.unwrap();
    assert_eq!((kept.results, kept.answers, kept.items), (2, 1, 0));
    assert_eq!(jobs.item(&bulk.id, 2).await.unwrap().unwrap(), "more of anna");
    let rest = mentions.erase(&anna.collection, Whom::Subjects(&whom), Reach::Everything, NOW).await.unwrap();
    assert_eq!((rest.results, rest.answers, rest.items), (0, 0, 1));
    assert_eq!(mentions.count(&anna.collection, Whom::Subjects(&whom)).await.unwrap(), 0);

    assert_eq!(jobs.result(&told.id).await.unwrap(), None);
    let problem = jobs.get(&failed.id).await.unwrap().unwrap().value.problem.unwrap();
    assert_eq!(problem.code, ErrorCode::ConsentRequired);
    assert!(!problem.detail.contains("anna"));
    let (rows, _) = jobs.item_results(&bulk.id, None, 10).await.unwrap();
    let rows: Vec<_> = rows.iter().map(|(i, r)| (*i, std::str::from_utf8(r).unwrap())).collect();
    assert_eq!(rows, [(0, ""), (1, "result 1"), (2, "")]);
    let record = jobs.get(&bulk.id).await.unwrap().unwrap().value;
    assert_eq!(record.progress, Some(Progress { items: 3, succeeded: 2, failed: 1 }));
    assert_eq!(record.state, JobState::Succeeded, "the last item that was open is done for");
    assert_eq!(jobs.item(&bulk.id, 2).await.unwrap(), None);
    let again = Attempt { job_id: &JobId::generate(), ..attempt };
    assert_eq!(idem.begin(&slot, &again).await.unwrap(), Begun::Erased, "not done twice, not told either");
    assert_eq!(mentions.count(&bert.collection, Whom::Everybody).await.unwrap(), 2, "bert's are still there");
}

async fn what_is_kept_of_somebody_just_erased_is_cleared_again(f: Fixture) {
    let (jobs, mentions) = (Jobs::new(f.store.clone(), &f.tenant), Mentions::new(f.store.clone(), &f.tenant));
    f.enrol(&enrolment("anna", 1)).await;
    f.enrol(&enrolment("bert", 1)).await;
    let about = [mention(&f, "anna"), mention(&f, "bert")];
    let told = job(JobKind::Identify, None);
    jobs.create(&told).await.unwrap();
    f.subjects.delete_subject(&id("anna"), None, NOW).await.unwrap();
    mentions.erase(&about[0].collection, Whom::Subjects(&[about[0].handle]), Reach::Everything, NOW).await.unwrap();
    // The worker that had seen her a moment before keeps its result now.
    jobs.finish_about(&told.id, Ok("anna".into()), &about, NOW).await.unwrap();
    assert_eq!(mentions.settle(&about[1..], NOW).await.unwrap().results, 0, "bert is there");
    assert_eq!(mentions.settle(&about, NOW).await.unwrap().results, 1);
    assert_eq!(jobs.result(&told.id).await.unwrap(), None);
}

async fn many_subjects_are_found_among_all_mentions(f: Fixture) {
    let (jobs, mentions) = (Jobs::new(f.store.clone(), &f.tenant), Mentions::new(f.store.clone(), &f.tenant));
    let all: Vec<Mention> = (0..150).map(|i| mention(&f, &format!("s{i}"))).collect();
    let bulk = job(JobKind::BulkEnrol, Some(150));
    let items = all.iter().map(|m| NewItem { bytes: Bytes::from_static(b"x"), about: Some(m.clone()) });
    jobs.create_bulk(&bulk, items.collect()).await.unwrap();
    let some: Vec<_> = all[10..110].iter().map(|m| m.handle).collect();
    let collection = &all[0].collection;
    assert_eq!(mentions.count(collection, Whom::Subjects(&some)).await.unwrap(), 100);
    let gone = mentions.erase(collection, Whom::Subjects(&some), Reach::Everything, NOW).await.unwrap();
    assert_eq!(gone.items, 100);
    assert_eq!(jobs.open_items(&bulk.id, (0, 1), 200).await.unwrap().len(), 50);
    let progress = jobs.get(&bulk.id).await.unwrap().unwrap().value.progress.unwrap();
    assert_eq!((progress.succeeded, progress.failed), (0, 100));
    assert_eq!(
        mentions.erase(collection, Whom::Everybody, Reach::Everything, Timestamp::now()).await.unwrap().items,
        50
    );
}
