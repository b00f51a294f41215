//! The repositories over both engines, as the gateway, the worker and the gallery use them.

use std::time::Duration;

use bytes::Bytes;
use domain::{ApiKey, Consent, ErrorCode, JobId, JobKind, JobRecord, JobState, KeyId, Problem, Subject, Timestamp};
use visavis_store::{
    ApiKeys, Attempt, Begun, ChangedKey, Changes, Commit, EnrolSubject, Enrolment, Idempotency, IdempotencySlot, Jobs,
    Lookup, Outcome, Pepper, Revision, Rotation, Space, StoredReply,
};

use crate::common::fixture::*;

on_both_engines!(
    an_enrolment_takes_effect_once_and_whole,
    an_erased_subject_leaves_nothing_but_the_moment_and_may_come_back,
    an_erasure_takes_along_what_is_being_added_meanwhile,
    records_change_only_at_the_version_the_caller_saw,
    subjects_and_collections_are_listed_page_by_page,
    a_deleted_collection_is_empty_when_made_again,
    a_deletion_that_broke_off_is_finished_by_the_next_deletion_or_creation,
    withdrawal_erases_unless_another_consent_permits,
    subject_ids_appear_in_no_key_of_the_store,
    api_keys_belong_to_their_tenant,
    jobs_end_once_and_expire,
    a_repeated_request_gets_the_first_ones_answer,
);

async fn an_enrolment_takes_effect_once_and_whole(f: Fixture) {
    let e = enrolment("anna", 2);
    let Outcome::Committed(revision) = f.enrol(&e).await else { panic!("not committed") };
    assert_eq!(f.enrol(&e).await, Outcome::AlreadyDone(e.reply.clone()), "delivered twice");
    assert_eq!(f.subjects.done(&id("anna"), &e.job_id).await.unwrap(), Some(e.reply.clone()));
    assert_eq!(f.enrol(&enrolment("anna", 1)).await, Outcome::SubjectExists);
    assert_eq!(f.count().await, (1, 2));

    let more = Enrolment {
        subject: EnrolSubject::Existing(id("anna"), None),
        consent: None,
        required_consent: Some(e.consent.as_ref().unwrap().id.clone()),
        ..enrolment("anna", 1)
    };
    assert!(matches!(f.enrol(&more).await, Outcome::Committed(_)));
    assert_eq!(f.subjects.faces(&id("anna")).await.unwrap().len(), 3);
    let stale = Enrolment { subject: EnrolSubject::Existing(id("anna"), Some(Revision(1))), ..enrolment("anna", 1) };
    assert_eq!(code(f.subjects.enrol(&stale).await), ErrorCode::PreconditionFailed);
    let gone = Enrolment { subject: EnrolSubject::Existing(id("bert"), None), ..enrolment("bert", 1) };
    assert_eq!(f.enrol(&gone).await, Outcome::SubjectGone);
    assert_eq!(f.consents.get(&gone.consent.as_ref().unwrap().id).await.unwrap(), None);
    assert_eq!(f.consents.list(None, 10).await.unwrap().0.len(), 1);

    let Changes::Since(changes) = f.store.changes(f.templates.space(), Revision(revision.0 - 1), 1).await.unwrap()
    else {
        panic!("trimmed")
    };
    let told: Vec<_> = changes[0].keys.iter().map(|k| ChangedKey::parse(k)).collect();
    let handle = f.subjects.handle(&id("anna"));
    assert!(told.contains(&ChangedKey::Subject { handle }));
    for (face, template) in &e.faces {
        assert!(told.contains(&ChangedKey::Template { handle, face_id: face.id.clone() }));
        let key = format!("v/{handle}/{}", face.id);
        assert_eq!(f.templates.template(&key).await.unwrap().unwrap().templates, *template);
    }
    assert_eq!(ChangedKey::parse("meta"), ChangedKey::Meta);
    assert_eq!(ChangedKey::parse("v/nonsense"), ChangedKey::Other);
    let (rows, more) = f.templates.scan_templates(None, 2).await.unwrap();
    assert!(more && rows.len() == 2);
    let (rest, more) = f.templates.scan_templates(Some(&rows[1].key), 2).await.unwrap();
    assert!(!more && rest.len() == 1 && rest[0].handle == handle);
    assert_eq!(f.templates.subject_by_handle(handle).await.unwrap().unwrap().id, id("anna"));
    assert_eq!(f.templates.scan_subjects(None, 5).await.unwrap().0[0].handle, handle);
}

async fn an_erased_subject_leaves_nothing_but_the_moment_and_may_come_back(f: Fixture) {
    let e = enrolment("anna", 2);
    f.enrol(&e).await;
    f.enrol(&enrolment("bert", 1)).await;
    let Lookup::Found(found) = f.subjects.get(&id("anna")).await.unwrap() else { panic!("not found") };
    let wrong = Some(Revision(found.version.0 + 9));
    assert_eq!(code(f.subjects.delete_subject(&id("anna"), wrong, NOW).await), ErrorCode::PreconditionFailed);
    let removed = f.subjects.delete_subject(&id("anna"), Some(found.version), NOW).await.unwrap();
    assert_eq!((removed.subject, removed.faces.len(), removed.consents.len()), (found.value, 2, 1));

    let handle = f.subjects.handle(&id("anna")).to_string();
    let left: Vec<_> = f.all_keys().await.into_iter().filter(|k| k.contains(&handle)).collect();
    assert_eq!(left, [format!("x/{handle}")]);
    assert_eq!(f.subjects.get(&id("anna")).await.unwrap(), Lookup::Erased(NOW));
    assert_eq!(f.subjects.get(&id("carl")).await.unwrap(), Lookup::Absent);
    assert_eq!(f.consents.get(&e.consent.unwrap().id).await.unwrap(), None);
    assert_eq!(code(f.subjects.delete_subject(&id("anna"), None, NOW).await), ErrorCode::Erased);
    assert_eq!(code(f.subjects.update(&subject("anna"), None).await), ErrorCode::Erased);
    assert_eq!(code(f.subjects.delete_subject(&id("carl"), None, NOW).await), ErrorCode::SubjectNotFound);
    assert_eq!(f.count().await, (1, 1));

    assert!(matches!(f.enrol(&enrolment("anna", 1)).await, Outcome::Committed(_)));
    assert!(matches!(f.subjects.get(&id("anna")).await.unwrap(), Lookup::Found(_)));
}

async fn an_erasure_takes_along_what_is_being_added_meanwhile(f: Fixture) {
    for round in 0..10 {
        f.enrol(&enrolment("anna", 1)).await;
        let adding: Vec<_> = (0..4)
            .map(|_| {
                let existing = EnrolSubject::Existing(id("anna"), None);
                let e = Enrolment { subject: existing, ..enrolment("anna", 1) };
                let subjects = f.subjects.clone();
                tokio::spawn(async move { subjects.enrol(&e).await.unwrap() })
            })
            .collect();
        f.subjects.delete_subject(&id("anna"), None, NOW).await.unwrap();
        for a in adding {
            a.await.unwrap();
        }
        let handle = f.subjects.handle(&id("anna")).to_string();
        let left: Vec<_> = f.all_keys().await.into_iter().filter(|k| k.contains(&handle)).collect();
        assert_eq!(left, [format!("x/{handle}")], "round {round}");
    }
}

async fn records_change_only_at_the_version_the_caller_saw(f: Fixture) {
    let e = enrolment("anna", 2);
    f.enrol(&e).await;
    let Lookup::Found(found) = f.subjects.get(&id("anna")).await.unwrap() else { panic!("not found") };
    let renamed = Subject { external_id: Some("7".into()), ..found.value };
    let version = f.subjects.update(&renamed, Some(found.version)).await.unwrap();
    assert_eq!(code(f.subjects.update(&renamed, Some(found.version)).await), ErrorCode::PreconditionFailed);
    assert_eq!(f.subjects.list(None, 5).await.unwrap().0[0].version, version);
    assert_eq!(code(f.subjects.update(&subject("bert"), None).await), ErrorCode::SubjectNotFound);

    let face = &e.faces[0].0;
    let seen = f.subjects.face(&id("anna"), &face.id).await.unwrap().unwrap();
    assert_eq!(seen.value, *face);
    let wrong = Some(Revision(1));
    assert_eq!(code(f.subjects.delete_face(&id("anna"), &face.id, wrong).await), ErrorCode::PreconditionFailed);
    f.subjects.delete_face(&id("anna"), &face.id, Some(seen.version)).await.unwrap();
    assert_eq!(code(f.subjects.delete_face(&id("anna"), &face.id, None).await), ErrorCode::FaceNotFound);
    assert_eq!(f.templates.scan_templates(None, 9).await.unwrap().0.len(), 1);
}

async fn subjects_and_collections_are_listed_page_by_page(f: Fixture) {
    for i in 0..7 {
        f.enrol(&enrolment(&format!("s{i}"), 0)).await;
        f.collections.create(&f.tenant, &collection(&format!("c{i}"))).await.unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = f.subjects.list(cursor.as_deref(), 3).await.unwrap();
        seen.extend(page.into_iter().map(|s| s.value.id.to_string()));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]);
    // One of another tenant, one deleted: neither appears, and a page is full all the same.
    f.collections.create(&"other".parse().unwrap(), &collection("c1")).await.unwrap();
    f.collections.delete(&f.tenant, &"c1".parse().unwrap(), None).await.unwrap();
    let (page, next) = f.collections.list(&f.tenant, None, 3).await.unwrap();
    assert_eq!(page.iter().map(|c| c.value.id.as_str()).collect::<Vec<_>>(), ["c0", "c2", "c3"]);
    let (page, next) = f.collections.list(&f.tenant, next.as_deref(), 9).await.unwrap();
    assert_eq!(page.iter().map(|c| c.value.id.as_str()).collect::<Vec<_>>(), ["c4", "c5", "c6", "staff"]);
    assert_eq!(next, None);
}

async fn a_deleted_collection_is_empty_when_made_again(f: Fixture) {
    let staff = "staff".parse().unwrap();
    assert_eq!(code(f.collections.create(&f.tenant, &collection("staff")).await), ErrorCode::Conflict);
    let e = enrolment("anna", 3);
    f.enrol(&e).await;
    f.enrol(&enrolment("bert", 1)).await;
    f.subjects.delete_subject(&id("bert"), None, NOW).await.unwrap();
    let found = f.collections.get(&f.tenant, &staff).await.unwrap().unwrap();
    let version = f.collections.update(&f.tenant, &found.value, Some(found.version)).await.unwrap();
    let stale = f.collections.delete(&f.tenant, &staff, Some(found.version)).await;
    assert_eq!(code(stale), ErrorCode::PreconditionFailed);
    f.collections.delete(&f.tenant, &staff, Some(version)).await.unwrap();
    assert_eq!(f.all_keys().await, Vec::<String>::new());
    assert_eq!(f.consents.get(&e.consent.as_ref().unwrap().id).await.unwrap(), None);
    assert_eq!(f.enrol(&enrolment("carl", 1)).await, Outcome::CollectionGone);
    assert_eq!(code(f.consents.record(&consent("carl", "a")).await), ErrorCode::CollectionNotFound);
    assert_eq!(code(f.collections.delete(&f.tenant, &staff, None).await), ErrorCode::CollectionNotFound);
    f.collections.create(&f.tenant, &collection("staff")).await.unwrap();
    assert_eq!(f.count().await, (0, 0));
    assert_eq!(f.subjects.get(&id("bert")).await.unwrap(), Lookup::Absent);
}

async fn a_deletion_that_broke_off_is_finished_by_the_next_deletion_or_creation(f: Fixture) {
    let staff = "staff".parse().unwrap();
    for again in [false, true] {
        f.enrol(&enrolment("anna", 2)).await;
        // As after a crash: the record is gone, the rest is still there.
        f.store.commit(f.templates.space(), Commit::new().erase("meta")).await.unwrap();
        assert!(f.collections.list(&f.tenant, None, 9).await.unwrap().0.is_empty());
        if again {
            assert_eq!(code(f.collections.delete(&f.tenant, &staff, None).await), ErrorCode::CollectionNotFound);
            assert_eq!(f.all_keys().await, Vec::<String>::new());
        }
        f.collections.create(&f.tenant, &collection("staff")).await.unwrap();
        assert_eq!(f.all_keys().await, ["meta"]);
        assert_eq!(f.collections.list(&f.tenant, None, 9).await.unwrap().0.len(), 1);
    }
}

async fn withdrawal_erases_unless_another_consent_permits(f: Fixture) {
    let e = enrolment("anna", 2);
    f.enrol(&e).await;
    let first = &e.consent.as_ref().unwrap().id;
    let (second, elsewhere) = (consent("anna", "access_control"), consent("anna", "time_keeping"));
    f.consents.record(&second).await.unwrap();
    f.subjects.record_consent(&elsewhere).await.unwrap();
    assert_eq!(code(f.consents.record(&second).await), ErrorCode::Conflict);
    assert_eq!(f.subjects.consents(&id("anna")).await.unwrap().len(), 3);

    let withdrawn = f.consents.withdraw(first, NOW).await.unwrap();
    assert_eq!((withdrawn.faces_erased, withdrawn.consent.value.withdrawn_at), (0, Some(NOW)));
    assert_eq!(f.consents.withdraw(first, NOW.plus(DAY)).await.unwrap().consent, withdrawn.consent);
    let needs = |consent: &Consent| Enrolment {
        subject: EnrolSubject::Existing(id("anna"), None),
        consent: None,
        required_consent: Some(consent.id.clone()),
        ..enrolment("anna", 1)
    };
    assert_eq!(f.enrol(&needs(e.consent.as_ref().unwrap())).await, Outcome::ConsentChanged);
    assert_eq!(f.enrol(&needs(&consent("anna", "never_recorded"))).await, Outcome::ConsentChanged);
    assert!(matches!(f.enrol(&needs(&second)).await, Outcome::Committed(_)));

    let last = f.consents.withdraw(&second.id, NOW).await.unwrap();
    assert_eq!(last.faces_erased, 3, "the consent that is left does not permit the collection's purpose");
    assert_eq!(f.count().await, (1, 0));
    assert!(f.templates.scan_templates(None, 9).await.unwrap().0.is_empty());
    assert_eq!(f.consents.get(&second.id).await.unwrap(), Some(last.consent));
    let listed = f.consents.list(None, 2).await.unwrap();
    assert_eq!(f.consents.list(listed.1.as_deref(), 2).await.unwrap().0.len(), 1);
    let unknown = f.consents.withdraw(&"nope".parse().unwrap(), NOW).await;
    assert_eq!(code(unknown), ErrorCode::ConsentNotFound);
}

async fn subject_ids_appear_in_no_key_of_the_store(f: Fixture) {
    f.enrol(&enrolment("conspicuous-name", 2)).await;
    f.consents.record(&consent("conspicuous-name", "x")).await.unwrap();
    for space in [Space::system(), Space::tenant(&f.tenant), f.templates.space().clone()] {
        let keys = f.store.keys(&space, "", None, 1_000).await.unwrap().keys;
        assert!(!keys.is_empty() && keys.iter().all(|k| !k.contains("conspicuous")), "{keys:?}");
    }
    // The secret is made once: another start gives the same handles.
    let again = Pepper::load(&*f.store).await.unwrap();
    let staff = "staff".parse().unwrap();
    assert_eq!(again.handle(&f.tenant, &staff, &id("a")), f.pepper.handle(&f.tenant, &staff, &id("a")));
}

async fn api_keys_belong_to_their_tenant(f: Fixture) {
    let keys = ApiKeys::new(f.store.clone());
    assert!(keys.is_empty().await.unwrap());
    let key = |id: &str, tenant: &str| {
        ApiKey::new(id.parse().unwrap(), tenant.parse().unwrap(), Default::default(), "old".into())
    };
    let rotation = |secret: &str, grace| Rotation { secret_sha256: secret.into(), now: NOW, grace };
    for (id, tenant) in [("k1", "acme"), ("k2", "other"), ("k3", "acme"), ("k4", "acme")] {
        keys.create(&key(id, tenant)).await.unwrap();
    }
    assert_eq!(code(keys.create(&key("k1", "other")).await), ErrorCode::Conflict);
    assert!(!keys.is_empty().await.unwrap());
    let (page, next) = keys.list(&f.tenant, None, 2).await.unwrap();
    assert_eq!(page.iter().map(|k| k.value.id.as_str()).collect::<Vec<_>>(), ["k1", "k3"]);
    let (page, next) = keys.list(&f.tenant, next.as_deref(), 2).await.unwrap();
    assert_eq!((page[0].value.id.as_str(), page.len(), next), ("k4", 1, None));
    let k2: KeyId = "k2".parse().unwrap();
    assert_eq!(code(keys.rotate(&f.tenant, &k2, rotation("new", Duration::ZERO)).await), ErrorCode::KeyNotFound);
    assert_eq!(code(keys.delete(&f.tenant, &k2).await), ErrorCode::KeyNotFound);
    let k1: KeyId = "k1".parse().unwrap();
    let rotated = keys.rotate(&f.tenant, &k1, rotation("new", Duration::ZERO)).await.unwrap();
    assert_eq!(rotated.value.former, None, "without grace the former secret is gone");
    let overlapping = keys.rotate(&f.tenant, &k1, rotation("newer", Duration::from_secs(60))).await.unwrap();
    let former = overlapping.value.former.clone().unwrap();
    assert_eq!((former.secret_sha256.as_str(), former.until), ("new", NOW.plus(Duration::from_secs(60))));
    let rotated = keys.rotate(&f.tenant, &k1, rotation("new", Duration::ZERO)).await.unwrap();
    assert_eq!(keys.get(&"k1".parse().unwrap()).await.unwrap(), Some(rotated.clone()));
    assert_eq!((rotated.value.secret_sha256.as_str(), rotated.value.rotated_at), ("new", Some(NOW)));
    keys.delete(&f.tenant, &"k1".parse().unwrap()).await.unwrap();
    assert_eq!(keys.get(&"k1".parse().unwrap()).await.unwrap(), None);
}

async fn jobs_end_once_and_expire(f: Fixture) {
    let jobs = Jobs::new(f.store.clone(), &f.tenant);
    let job = |id: &str, expires_at| JobRecord {
        id: id.parse().unwrap(),
        kind: JobKind::Enrol,
        state: JobState::Queued,
        key: "k".parse().unwrap(),
        created_at: NOW,
        updated_at: NOW,
        expires_at,
        problem: None,
        progress: None,
    };
    let name = |s: &str| s.parse::<JobId>().unwrap();
    for id in ["a", "b", "c"] {
        jobs.create(&job(id, NOW.plus(DAY))).await.unwrap();
    }
    jobs.create(&job("old", Timestamp::from_millis(1))).await.unwrap();
    assert_eq!(jobs.get(&name("old")).await.unwrap(), None);
    assert_eq!(code(jobs.create(&job("a", NOW)).await), ErrorCode::Conflict);
    assert_eq!(jobs.start(&name("a"), NOW).await.unwrap().state, JobState::Running);
    let done = jobs.finish(&name("a"), Ok("reply".into()), NOW.plus(DAY)).await.unwrap();
    assert_eq!((done.state, done.updated_at), (JobState::Succeeded, NOW.plus(DAY)));
    assert_eq!(jobs.result(&name("a")).await.unwrap().unwrap(), "reply");
    assert_eq!(code(jobs.cancel(&name("a"), NOW).await), ErrorCode::Conflict);
    assert_eq!(jobs.cancel(&name("b"), NOW).await.unwrap().state, JobState::Cancelled);
    assert_eq!(jobs.cancel(&name("b"), NOW).await.unwrap().state, JobState::Cancelled);
    assert_eq!(jobs.finish(&name("b"), Ok("late".into()), NOW).await.unwrap().state, JobState::Cancelled);
    assert_eq!(jobs.start(&name("b"), NOW).await.unwrap().state, JobState::Cancelled);
    assert_eq!(jobs.result(&name("b")).await.unwrap(), None);
    let failed = jobs.finish(&name("c"), Err(Problem::new(ErrorCode::NoFace, "none")), NOW).await.unwrap();
    assert_eq!((failed.state, failed.problem.map(|p| p.code)), (JobState::Failed, Some(ErrorCode::NoFace)));
    assert_eq!(code(jobs.finish(&name("z"), Ok(Bytes::new()), NOW).await), ErrorCode::JobNotFound);
    let (page, next) = jobs.list(None, 2).await.unwrap();
    assert_eq!((page.len(), next.as_deref()), (2, Some("b")));
    assert_eq!(jobs.list(next.as_deref(), 2).await.unwrap().0[0].value.id, name("c"));
}

async fn a_repeated_request_gets_the_first_ones_answer(f: Fixture) {
    let idem = Idempotency::new(f.store.clone());
    let slot = IdempotencySlot::new(&f.tenant, &"key".parse().unwrap(), "order-1");
    let (one, two): (JobId, JobId) = ("one".parse().unwrap(), "two".parse().unwrap());
    let at = |job_id, now| Attempt { fingerprint: "print", job_id, now, takeover_after: Duration::from_secs(30) };
    assert_eq!(idem.begin(&slot, &at(&one, NOW)).await.unwrap(), Begun::Begun);
    assert_eq!(idem.begin(&slot, &at(&two, NOW)).await.unwrap(), Begun::InProgress);
    let other = Attempt { fingerprint: "another", ..at(&two, NOW) };
    assert_eq!(idem.begin(&slot, &other).await.unwrap(), Begun::Reused);
    let another_key = IdempotencySlot::new(&f.tenant, &"key2".parse().unwrap(), "order-1");
    assert_eq!(idem.begin(&another_key, &other).await.unwrap(), Begun::Begun);

    let late = NOW.plus(Duration::from_secs(31));
    assert!(idem.renew(&slot, &one, late).await.unwrap());
    assert!(!idem.renew(&slot, &two, late).await.unwrap(), "not its slot");
    let later = late.plus(Duration::from_secs(29));
    assert_eq!(idem.begin(&slot, &at(&two, later)).await.unwrap(), Begun::InProgress, "renewed");
    let late = late.plus(Duration::from_secs(31));
    assert_eq!(idem.begin(&slot, &at(&two, late)).await.unwrap(), Begun::TakenOver(one.clone()));
    assert_eq!(idem.begin(&slot, &at(&two, late)).await.unwrap(), Begun::InProgress);
    let reply = StoredReply { status: 201, headers: vec![("etag".into(), "\"4\"".into())], body: "{}".into() };
    idem.complete(&slot, &two, &reply, late).await.unwrap();
    assert_eq!(idem.begin(&slot, &at(&two, late)).await.unwrap(), Begun::InProgress, "not its job");
    idem.complete(&slot, &one, &reply, late).await.unwrap();
    assert_eq!(idem.begin(&slot, &at(&two, late)).await.unwrap(), Begun::Replay(reply.clone()));
    idem.abandon(&slot, &one).await.unwrap();
    assert_eq!(idem.begin(&slot, &at(&two, late)).await.unwrap(), Begun::Replay(reply), "an answer stays");
    assert!(!idem.renew(&slot, &one, late).await.unwrap(), "it has ended");

    idem.abandon(&another_key, &two).await.unwrap();
    assert_eq!(idem.begin(&another_key, &at(&one, NOW)).await.unwrap(), Begun::Begun);
}
