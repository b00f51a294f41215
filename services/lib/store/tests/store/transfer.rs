//! Whole subjects out of a store and into it, over both engines: pages, conditions, races.

use std::collections::BTreeMap;

use domain::{Collection, Consent, ConsentStatus, FaceId, RetainCrops, Timestamp};
use visavis_store::{CropOf, CropRecord, CropRecords, ImportOutcome, WholeSubject};

use crate::common::fixture::*;

on_both_engines!(
    pages_of_any_size_hold_everybody_once_and_whole,
    a_consent_that_is_on_record_stays_as_it_is,
    of_imports_at_once_one_creates,
    who_was_erased_later_than_made_stays_erased,
    crops_come_along_as_policy_and_consents_allow,
);

fn whole(id: &str, faces: usize) -> WholeSubject {
    let mut faces: Vec<_> = (0..faces).map(|_| face(id)).collect();
    faces.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    let consents = vec![consent(id, "access_control")];
    WholeSubject { subject: subject(id), consents, faces, crops: Vec::new(), seen_at: Some(NOW) }
}

fn created(faces: usize) -> ImportOutcome {
    ImportOutcome::Created { faces, left_out: 0, crops: Vec::new() }
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

/// With a crop of each face.
fn cropped(id: &str, faces: usize, consents: Vec<Consent>) -> WholeSubject {
    let one = WholeSubject { consents, ..whole(id, faces) };
    let record = CropRecord {
        key: "00".repeat(40),
        size: 7,
        alignment: "a".into(),
        side: 112,
        margin: 36,
        created_at: NOW,
        until: Some(NOW),
    };
    let crops = one.faces.iter().map(|(face, _)| (face.id.clone(), record.clone())).collect();
    WholeSubject { crops, ..one }
}

async fn crops_come_along_as_policy_and_consents_allow(f: Fixture) {
    let allowing = |id: &str, days: Option<u32>| Consent {
        training_allowed: true,
        expires_at: days.map(|n| NOW.plus(DAY * n)),
        ..consent(id, "access_control")
    };
    let ids = |whole: &WholeSubject| whole.faces.iter().map(|(face, _)| face.id.clone()).collect::<Vec<FaceId>>();
    let kept = |crops| ImportOutcome::Created { faces: 2, left_out: 0, crops };
    let one = cropped("no-policy", 2, vec![allowing("no-policy", None)]);
    assert_eq!(f.subjects.import(&one, NOW).await.unwrap(), kept(vec![]));

    let keeping = Collection { retain_crops: RetainCrops::Training, ..collection("staff") };
    f.collections.update(&f.tenant, &keeping, None).await.unwrap();
    let refusing = cropped("no-consent", 2, vec![consent("no-consent", "access_control")]);
    assert_eq!(f.subjects.import(&refusing, NOW).await.unwrap(), kept(vec![]));
    let elsewhere = Consent { purposes: vec!["marketing".parse().unwrap()], ..allowing("other", None) };
    let other = cropped("other", 2, vec![consent("other", "access_control"), elsewhere]);
    assert_eq!(f.subjects.import(&other, NOW).await.unwrap(), kept(vec![]), "that consent is no ground to be here");
    let ending = cropped(
        "ends",
        2,
        vec![allowing("ends", Some(2)), allowing("ends", Some(5)), consent("ends", "access_control")],
    );
    assert_eq!(f.subjects.import(&ending, NOW).await.unwrap(), kept(ids(&ending)));
    let records = CropRecords::new(f.store.clone(), &f.tenant, &"staff".parse().unwrap());
    let handle = f.subjects.handle(&ending.subject.id);
    let face = &ending.faces[0].0.id;
    let record = records.get(CropOf { handle, face }).await.unwrap().unwrap().value;
    assert_eq!(record.until, Some(NOW.plus(DAY * 5)), "as long as the consent that allows it longest");
    assert_eq!(records.count().await.unwrap(), 2);
    // They leave again with an export.
    let (page, _) = f.subjects.whole(None, 100).await.unwrap();
    let crops: Vec<_> = page.iter().map(|w| (w.subject.id.as_str(), w.crops.len())).filter(|(_, n)| *n > 0).collect();
    assert_eq!(crops, [("ends", 2)]);
    records.erase(&[CropOf { handle, face }]).await.unwrap();
    assert_eq!(records.count().await.unwrap(), 1);
}
