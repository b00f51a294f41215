//! Who is due to be erased, who was seen, who may be trained on, on both engines and on a clock of the test's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use domain::{Collection, Consent, Due, DueReason, Retention, SubjectId, Timestamp};
use visavis_store::{Enrolled, Enrolment, Lease, Lookup, Outcome};

use crate::common::fixture::*;

on_both_engines!(
    everybody_due_is_found_page_by_page_with_the_reason,
    a_subject_that_was_seen_is_idle_only_later,
    whoever_consents_again_meanwhile_is_kept,
    consents_of_nobody_enrolled_go_with_their_end_and_the_key_with_the_last,
    only_samples_whose_latest_consent_allows_it_are_for_training,
    one_process_at_a_time_holds_a_lease,
    tenants_are_known_by_their_collections,
);

fn policy(max_age_days: Option<u32>, idle_days: Option<u32>) -> Collection {
    Collection { retention: Retention { max_age_days, idle_days }, ..collection("staff") }
}

fn after(days: u32) -> Timestamp {
    NOW.plus(DAY * days)
}

fn until(consent: Consent, end: Timestamp) -> Consent {
    Consent { expires_at: Some(end), ..consent }
}

/// Enrols with this consent.
async fn enrolled(f: &Fixture, who: &str, consent: Consent) {
    let e = Enrolment { consent: Some(consent), ..enrolment(who, 1) };
    assert!(matches!(f.enrol(&e).await, Outcome::Committed(_)));
}

/// Everybody due, in pages of two.
async fn due(f: &Fixture, collection: &Collection, now: Timestamp) -> Vec<Due> {
    let (mut all, mut after, mut looked_at) = (Vec::new(), None, 0);
    loop {
        let page = f.subjects.due(collection, now, after, 2).await.unwrap();
        looked_at += page.looked_at;
        all.extend(page.due);
        after = page.next;
        if after.is_none() {
            assert_eq!(looked_at, f.count().await.0);
            all.sort_by(|a, b| a.subject_id.cmp(&b.subject_id));
            return all;
        }
    }
}

fn names(due: &[Due]) -> Vec<&str> {
    due.iter().map(|d| d.subject_id.as_str()).collect()
}

async fn everybody_due_is_found_page_by_page_with_the_reason(f: Fixture) {
    for n in 0..5 {
        let who = format!("s{n}");
        enrolled(&f, &who, until(consent(&who, "access_control"), after(10 + n))).await;
        // Of somebody who was never enrolled: between the others in the order of the keys, and in nobody's way.
        f.consents.record(&until(consent(&format!("other{n}"), "access_control"), after(1))).await.unwrap();
    }
    f.consents.record(&consent("s0", "access_control")).await.unwrap();
    f.consents.record(&consent("s1", "marketing")).await.unwrap();
    assert_eq!(due(&f, &policy(None, None), after(9)).await, []);
    let expired = due(&f, &policy(None, None), after(12)).await;
    assert_eq!(names(&expired), ["s1", "s2"], "another purpose is no ground, another consent for this one is");
    assert!(expired.iter().all(|d| d.reasons == [DueReason::ConsentExpired]));
    let old = due(&f, &policy(Some(12), Some(11)), after(12)).await;
    assert_eq!(names(&old), ["s0", "s1", "s2", "s3", "s4"]);
    assert_eq!(old[0].reasons, [DueReason::MaxAge, DueReason::Idle]);
    assert_eq!(old[1].reasons, DueReason::ALL);

    let staff = policy(None, None);
    for (who, gone) in [("s1", true), ("s2", true), ("s3", false), ("s1", false), ("nobody", false)] {
        let done = f.subjects.delete_due(&staff, &id(who), after(12)).await.unwrap();
        assert_eq!(done.is_some(), gone, "{who}");
    }
    assert_eq!(f.count().await, (3, 3));
    assert_eq!(f.subjects.get(&id("s1")).await.unwrap(), Lookup::Erased(after(12)));
}

async fn a_subject_that_was_seen_is_idle_only_later(f: Fixture) {
    let staff = policy(None, Some(10));
    for who in ["anna", "bert"] {
        f.enrol(&enrolment(who, 1)).await;
    }
    let all: Vec<SubjectId> = ["anna", "never-enrolled"].map(id).to_vec();
    assert_eq!(f.subjects.saw(&all, after(4)).await.unwrap(), 1);
    let later = after(4).plus(Duration::from_secs(3600));
    assert_eq!(f.subjects.saw(&all, later).await.unwrap(), 0, "once a day");
    assert_eq!(names(&due(&f, &staff, after(10)).await), ["bert"]);
    assert_eq!(names(&due(&f, &staff, after(15)).await), ["anna", "bert"]);
    assert_eq!(f.subjects.saw(&all, after(5)).await.unwrap(), 1);
    assert_eq!(names(&due(&f, &staff, after(15)).await), ["bert"]);
    assert_eq!(f.subjects.delete_due(&staff, &id("anna"), after(15)).await.unwrap(), None);
    // Nothing is left of it that tells of the day.
    f.subjects.delete_subject(&id("anna"), None, after(15)).await.unwrap();
    assert_eq!(f.subjects.saw(&all, after(16)).await.unwrap(), 0, "not even noted late");
    let handle = f.subjects.handle(&id("anna")).to_string();
    let left: Vec<_> = f.all_keys().await.into_iter().filter(|k| k.contains(&handle)).collect();
    assert_eq!(left, [format!("x/{handle}")]);
}

async fn whoever_consents_again_meanwhile_is_kept(f: Fixture) {
    let staff = policy(None, None);
    for round in 0..10u32 {
        let who = format!("s{round}");
        enrolled(&f, &who, until(consent(&who, "access_control"), after(1))).await;
        let again = consent(&who, "access_control");
        let consents = f.consents.clone();
        let recording = tokio::spawn(async move { consents.record(&again).await.is_ok() });
        let erased = f.subjects.delete_due(&staff, &id(&who), after(2)).await.unwrap();
        assert!(recording.await.unwrap());
        // Whichever came first: nobody is erased over a consent that was there.
        match f.subjects.get(&id(&who)).await.unwrap() {
            Lookup::Found(_) => assert_eq!((erased, f.subjects.faces(&id(&who)).await.unwrap().len()), (None, 1)),
            Lookup::Erased(_) => assert!(erased.is_some_and(|d| d.removed.consents.len() == 1), "{who}"),
            Lookup::Absent => panic!("{who} was never there"),
        }
        assert_eq!(f.subjects.delete_due(&staff, &id(&who), after(2)).await.unwrap(), None);
    }
}

/// Whose consents are to go, in pages of two, with how many.
async fn unenrolled(f: &Fixture, collection: &Collection, now: Timestamp) -> Vec<(String, usize)> {
    let (mut all, mut after) = (BTreeMap::new(), None::<String>);
    loop {
        let page = f.subjects.unenrolled_due(collection, now, after.as_deref(), 2).await.unwrap();
        for found in page.due {
            *all.entry(found.subject_id.to_string()).or_default() += found.consents;
        }
        after = page.next;
        if after.is_none() {
            return all.into_iter().collect();
        }
    }
}

async fn consents_of_nobody_enrolled_go_with_their_end_and_the_key_with_the_last(f: Fixture) {
    let staff = policy(None, None);
    enrolled(&f, "anna", until(consent("anna", "access_control"), after(1))).await;
    for n in 1..=5 {
        f.consents.record(&until(consent("bert", "access_control"), after(n))).await.unwrap();
    }
    f.consents.record(&consent("cora", "access_control")).await.unwrap();
    let withdrawn = until(consent("dave", "access_control"), after(3));
    f.consents.record(&withdrawn).await.unwrap();
    f.consents.withdraw(&withdrawn.id, after(1)).await.unwrap();
    assert_eq!(unenrolled(&f, &staff, NOW).await, []);
    assert_eq!(unenrolled(&f, &staff, after(3)).await, [("bert".into(), 3), ("dave".into(), 1)]);
    assert_eq!(unenrolled(&f, &policy(Some(1), None), after(2)).await.len(), 3, "no longer than subjects");

    let erase = async |who: &str, now| f.subjects.erase_unenrolled(&staff, &id(who), now).await.unwrap();
    assert_eq!(
        (erase("anna", after(9)).await, erase("cora", after(9)).await, erase("nobody", after(9)).await),
        (0, 0, 0)
    );
    assert_eq!(
        (erase("bert", after(3)).await, erase("bert", after(3)).await, erase("dave", after(3)).await),
        (3, 0, 1)
    );
    assert_eq!(f.consents.get(&withdrawn.id).await.unwrap(), None);
    let (listed, _) = f.consents.list(None, 100).await.unwrap();
    assert_eq!(listed.len(), 4, "anna's, two of bert's, cora's");
    let below = async |who: &str| {
        let h = f.subjects.handle(&id(who)).to_string();
        f.all_keys().await.into_iter().filter(|k| k.contains(&h)).count()
    };
    assert_eq!((below("bert").await, below("dave").await), (3, 0), "two and the guard; nothing at all");
    // Whoever is enrolled meanwhile keeps them.
    let basis = f.subjects.consents(&id("bert")).await.unwrap()[0].value.id.clone();
    let e = Enrolment { consent: None, required_consent: Some(basis), ..enrolment("bert", 1) };
    assert!(matches!(f.enrol(&e).await, Outcome::Committed(_)));
    assert_eq!((unenrolled(&f, &staff, after(9)).await, erase("bert", after(9)).await), (vec![], 0));
}

async fn only_samples_whose_latest_consent_allows_it_are_for_training(f: Fixture) {
    let training = |who: &str, allowed: bool| Consent { training_allowed: allowed, ..consent(who, "access_control") };
    enrolled(&f, "yes", training("yes", true)).await;
    enrolled(&f, "no", training("no", false)).await;
    enrolled(&f, "ends", until(training("ends", true), after(1))).await;
    enrolled(&f, "back", training("back", true)).await;
    let later = Consent { obtained_at: after(1), ..training("back", false) };
    let all = async |now| {
        let (mut found, mut at) = (BTreeSet::new(), None);
        loop {
            let (rows, next) = f.subjects.trainable(now, at, 3).await.unwrap();
            found.extend(rows.into_iter().map(|r| (r.handle, r.face_id)));
            at = next;
            if at.is_none() {
                return found;
            }
        }
    };
    let of = async |names: &[&str]| {
        let mut faces = BTreeSet::new();
        for who in names {
            let (handle, known) = (f.subjects.handle(&id(who)), f.subjects.faces(&id(who)).await.unwrap());
            faces.extend(known.into_iter().map(|face| (handle, face.value.id)));
        }
        faces
    };
    assert_eq!(all(NOW).await, of(&["yes", "ends", "back"]).await);
    assert_eq!(all(after(1)).await, of(&["yes", "back"]).await);
    f.consents.record(&later).await.unwrap();
    assert_eq!(all(after(1)).await, of(&["yes"]).await, "the later consent says no");
    f.consents.withdraw(&later.id, after(2)).await.unwrap();
    assert_eq!(all(after(2)).await, of(&["yes", "back"]).await);
    let consents = f.subjects.consents(&id("yes")).await.unwrap();
    f.consents.withdraw(&consents[0].value.id, after(2)).await.unwrap();
    assert_eq!(all(after(2)).await, of(&["back"]).await);
}

async fn one_process_at_a_time_holds_a_lease(f: Fixture) {
    let length = Duration::from_secs(30);
    let [one, two] = ["one", "two"].map(|holder| Lease::new(f.store.clone(), "sweep", holder, length));
    let at = |s: u64| NOW.plus(Duration::from_secs(s));
    assert!(one.take(at(0)).await.unwrap() && !two.take(at(29)).await.unwrap());
    assert!(one.take(at(20)).await.unwrap() && !two.take(at(49)).await.unwrap(), "taken for longer");
    assert!(two.take(at(50)).await.unwrap() && !one.take(at(51)).await.unwrap(), "it ran out");
    two.give_back().await.unwrap();
    assert!(one.take(at(51)).await.unwrap());
    two.give_back().await.unwrap();
    assert!(!two.take(at(52)).await.unwrap(), "nobody gives back another's");
    let racing: Vec<_> = (0..8)
        .map(|n| {
            let lease = Lease::new(f.store.clone(), "race", &format!("p{n}"), length);
            tokio::spawn(async move { lease.take(NOW).await.unwrap() })
        })
        .collect();
    let mut held = 0;
    for one in racing {
        held += usize::from(one.await.unwrap());
    }
    assert_eq!(held, 1);
}

async fn tenants_are_known_by_their_collections(f: Fixture) {
    let names = async || f.collections.tenants().await.unwrap().into_iter().map(|t| t.to_string()).collect::<Vec<_>>();
    assert_eq!(names().await, ["acme"]);
    let other = "umbrella".parse().unwrap();
    f.collections.create(&other, &collection("staff")).await.unwrap();
    assert_eq!(names().await, ["acme", "umbrella"]);
    assert_eq!(Enrolled::of(&*f.store, &other).await.unwrap(), None);
    let counted = Enrolled { subjects: 7, counted_at: NOW };
    counted.note(&*f.store, &other).await.unwrap();
    assert_eq!(Enrolled::of(&*f.store, &other).await.unwrap(), Some(counted));
    assert_eq!(Enrolled::of(&*f.store, &f.tenant).await.unwrap(), None);
}
