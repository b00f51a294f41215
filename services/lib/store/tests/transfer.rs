//! Whole subjects out of a store and into it, over both engines: pages, conditions, races.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;

use common::fixture::*;
use domain::{ConsentStatus, Timestamp};
use visavis_store::{ImportOutcome, WholeSubject};

on_both_engines!(
    pages_of_any_size_hold_everybody_once_and_whole,
    a_consent_that_is_on_record_stays_as_it_is,
    of_imports_at_once_one_creates,
    who_was_erased_later_than_made_stays_erased,
);

fn whole(id: &str, faces: usize) -> WholeSubject {
    let mut faces: Vec<_> = (0..faces).map(|_| face(id)).collect();
    faces.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    WholeSubject { subject: subject(id), consents: vec![consent(id, "access_control")], faces, seen_at: Some(NOW) }
}

fn created(faces: usize) -> ImportOutcome {
    ImportOutcome::Created { faces, left_out: 0 }
}

async fn pages_of_any_size_hold_everybody_once_and_whole(f: Fixture) {
    // Of somebody who is not enrolled.
    f.consents.record(&consent("nobody", "access_control")).await.unwrap();
    let mut expected = BTreeMap::new();
    // More records of one subject than are read at once, and subjects without any.
    for (n, faces) in [1, 0, 130, 2, 1, 0, 3].into_iter().enumerate() {
        let one = whole(&format!("s{n}"), faces);
        assert_eq!(f.subjects.import(&one, NOW).await.unwrap(), created(faces));
        expected.insert(one.subject.id.to_string(), one);
    }
    for limit in [1, 2, 3, 7, 100] {
        let (mut got, mut after) = (BTreeMap::new(), None::<String>);
        loop {
            let (page, next) = f.subjects.whole(after.as_deref(), limit).await.unwrap();
            assert!(page.len() <= limit);
            for one in page {
                assert!(got.insert(one.subject.id.to_string(), one).is_none(), "somebody twice by {limit}");
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert!(got == expected, "by {limit}: {:?}", got.keys());
    }
}

async fn a_consent_that_is_on_record_stays_as_it_is(f: Fixture) {
    let one = whole("anna", 1);
    f.consents.record(&one.consents[0]).await.unwrap();
    f.consents.withdraw(&one.consents[0].id, NOW).await.unwrap();
    assert_eq!(f.subjects.import(&one, NOW).await.unwrap(), ImportOutcome::ConsentRequired);
    // With another one it may come, and the withdrawn one is withdrawn still.
    let more =
        WholeSubject { consents: vec![one.consents[0].clone(), consent("anna", "access_control")], ..one.clone() };
    assert_eq!(f.subjects.import(&more, NOW).await.unwrap(), created(1));
    let kept = f.consents.get(&one.consents[0].id).await.unwrap().unwrap().value;
    assert_eq!(kept.status(NOW), ConsentStatus::Withdrawn);
    assert_eq!(f.subjects.consents(&one.subject.id).await.unwrap().len(), 2);
}

async fn of_imports_at_once_one_creates(f: Fixture) {
    let one = whole("anna", 2);
    let imports = (0..4).map(|_| {
        let (subjects, one) = (f.subjects.clone(), one.clone());
        tokio::spawn(async move { subjects.import(&one, NOW).await.unwrap() })
    });
    let mut outcomes = Vec::new();
    for import in imports.collect::<Vec<_>>() {
        outcomes.push(import.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|o| **o == created(2)).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|o| **o == ImportOutcome::Exists).count(), 3, "{outcomes:?}");
    assert!(f.consents.get(&one.consents[0].id).await.unwrap().is_some(), "the losers took the consent's entry along");
}

async fn who_was_erased_later_than_made_stays_erased(f: Fixture) {
    let one = whole("anna", 1);
    assert_eq!(f.subjects.import(&one, NOW).await.unwrap(), created(1));
    let erased = NOW.plus(DAY);
    f.subjects.delete_subject(&one.subject.id, None, erased).await.unwrap();
    assert_eq!(f.subjects.import(&one, erased).await.unwrap(), ImportOutcome::Erased(erased));
    let mut anew = whole("anna", 1);
    anew.subject.created_at = Timestamp::from_millis(erased.as_millis() + 1);
    assert_eq!(f.subjects.import(&anew, erased.plus(DAY)).await.unwrap(), created(1));
}
