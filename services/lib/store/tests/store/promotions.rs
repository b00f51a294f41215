//! Templates of several models for one face, and the write that switches between models, over both engines.

use domain::{CalibrationPoint, CalibrationTable, ContractId, ErrorCode, JobId, ModelId, Template};
use visavis_store::{
    ChangeError, Enrolment, ModelOrigin, ModelRecord, Models, Outcome, PromotionPhase, PromotionRecord, Promotions,
    RepoError, TemplateRow,
};

use crate::common::fixture::*;

on_both_engines!(
    a_face_gets_a_further_template_only_as_it_was_seen,
    an_enrolment_that_saw_other_models_is_told_so,
    an_erasure_reaches_the_templates_of_every_model,
    the_models_of_a_collection_change_in_one_write,
    an_export_tells_the_templates_of_the_model_that_answers,
    models_say_whom_they_were_trained_on,
);

fn other() -> ContractId {
    ContractId::from_bytes([9; 16])
}

fn of_other() -> Template {
    Template::from_embedding(other(), &[0.1, 0.2, 0.3]).unwrap()
}

fn table() -> CalibrationTable {
    let points = [(1e-2, 0.3), (1e-3, 0.4)].map(|(fmr, score)| CalibrationPoint { fmr, score });
    CalibrationTable::new("t", points.to_vec()).unwrap()
}

fn model() -> ModelId {
    ModelId::new("m").unwrap()
}

async fn rows(f: &Fixture) -> Vec<TemplateRow> {
    f.templates.scan_templates(None, 100).await.unwrap().0
}

/// Every row with a template of the other model beside its own.
async fn with_other(f: &Fixture) -> Vec<TemplateRow> {
    let mut rows = rows(f).await;
    rows.iter_mut().for_each(|r| r.templates.put(of_other()));
    rows
}

async fn version(f: &Fixture) -> visavis_store::Revision {
    f.collections.get(&f.tenant, &"staff".parse().unwrap()).await.unwrap().unwrap().version
}

async fn a_face_gets_a_further_template_only_as_it_was_seen(f: Fixture) {
    assert!(matches!(f.enrol(&enrolment("anna", 2)).await, Outcome::Committed(_)));
    assert!(matches!(f.enrol(&enrolment("bert", 1)).await, Outcome::Committed(_)));
    let (seen, now) = (with_other(&f).await, version(&f).await);
    // Gone between reading and writing: it stays gone, the others are written all the same.
    f.subjects.delete_subject(&id("bert"), None, NOW).await.unwrap();
    assert_eq!(f.templates.rewrite(&seen, now).await.unwrap(), 2);
    let after = rows(&f).await;
    assert_eq!(after.len(), 2);
    for row in &after {
        assert!(row.templates.of(contract()).is_some() && row.templates.of(other()) == Some(&of_other()));
    }
    // What was written meanwhile is not overwritten with what was seen before.
    assert_eq!(f.templates.rewrite(&seen, now).await.unwrap(), 0);
    let mut changed = collection("staff");
    changed.name = Some("renamed".into());
    f.collections.update(&f.tenant, &changed, None).await.unwrap();
    let stale = f.templates.rewrite(&after, now).await;
    assert!(matches!(stale, Err(RepoError::VersionMismatch)), "{stale:?}");
}

async fn an_enrolment_that_saw_other_models_is_told_so(f: Fixture) {
    let before = version(&f).await;
    let promotions = Promotions::new(f.store.clone(), &f.tenant, &"staff".parse().unwrap());
    let begin = |c: &mut domain::Collection, _| {
        c.prepare(model(), other(), table())?;
        Ok(PromotionRecord::new(JobId::generate(), (Some(model()), other()), PromotionPhase::Preparing))
    };
    promotions.change(None, begin).await.unwrap();
    let stale = Enrolment { collection: Some(before), ..enrolment("anna", 1) };
    assert_eq!(f.enrol(&stale).await, Outcome::CollectionChanged);
    assert_eq!(f.count().await, (0, 0));
    let current = Enrolment { collection: Some(version(&f).await), ..stale };
    assert!(matches!(f.enrol(&current).await, Outcome::Committed(_)));
    f.collections.delete(&f.tenant, &"staff".parse().unwrap(), None).await.unwrap();
    assert_eq!(f.enrol(&Enrolment { job_id: JobId::generate(), ..current }).await, Outcome::CollectionGone);
}

async fn an_erasure_reaches_the_templates_of_every_model(f: Fixture) {
    assert!(matches!(f.enrol(&enrolment("anna", 1)).await, Outcome::Committed(_)));
    assert!(matches!(f.enrol(&enrolment("bert", 1)).await, Outcome::Committed(_)));
    f.templates.rewrite(&with_other(&f).await, version(&f).await).await.unwrap();
    let handle = f.subjects.handle(&id("anna"));
    f.subjects.delete_subject(&id("anna"), None, NOW).await.unwrap();
    let left: Vec<String> = f.all_keys().await.into_iter().filter(|k| k.contains(&handle.to_string())).collect();
    assert_eq!(left, [format!("x/{handle}")], "the moment of the erasure alone");
    let face = rows(&f).await.remove(0).face_id;
    f.subjects.delete_face(&id("bert"), &face, None).await.unwrap();
    assert!(rows(&f).await.is_empty());
}

async fn the_models_of_a_collection_change_in_one_write(f: Fixture) {
    let promotions = Promotions::new(f.store.clone(), &f.tenant, &"staff".parse().unwrap());
    let record = |phase| PromotionRecord::new(JobId::new("j").unwrap(), (Some(model()), other()), phase);
    let (begun, _) = promotions
        .change(None, |c, before| {
            assert_eq!(before, None);
            c.prepare(model(), other(), table())?;
            Ok(record(PromotionPhase::Preparing))
        })
        .await
        .unwrap();
    assert_eq!(begun.value.serving().building.unwrap().contract, other());
    let stored = promotions.get().await.unwrap().unwrap();
    let next = PromotionRecord { phase: PromotionPhase::Embedding, ..stored.value.clone() };
    assert!(promotions.advance(&next, stored.version).await.unwrap());
    assert!(!promotions.advance(&next, stored.version).await.unwrap(), "somebody was quicker");

    // Nothing of it happens where any of it is refused.
    let refused = promotions.change(None, |c, _| {
        c.prepare(model(), other(), table())?;
        Ok(record(PromotionPhase::Preparing))
    });
    let refused = refused.await.unwrap_err();
    assert!(matches!(&refused, ChangeError::Refused(p) if p.code == ErrorCode::Conflict), "{refused}");
    assert_eq!(promotions.get().await.unwrap().unwrap().value, next);
    let stale = promotions.change(Some(visavis_store::Revision(1)), |_, _| Ok(record(PromotionPhase::Done)));
    assert!(matches!(stale.await, Err(ChangeError::Repo(RepoError::VersionMismatch))));

    let (switched, _) = promotions
        .change(Some(begun.version), |c, _| {
            c.switch(other(), NOW)?;
            Ok(PromotionRecord { switched: true, ..record(PromotionPhase::Tidying) })
        })
        .await
        .unwrap();
    assert_eq!((switched.value.contract, switched.value.serving().active.generation), (other(), 1));
}

async fn an_export_tells_the_templates_of_the_model_that_answers(f: Fixture) {
    assert!(matches!(f.enrol(&enrolment("anna", 1)).await, Outcome::Committed(_)));
    assert!(matches!(f.enrol(&enrolment("left", 1)).await, Outcome::Committed(_)));
    let handle = f.subjects.handle(&id("anna"));
    let hers: Vec<TemplateRow> = with_other(&f).await.into_iter().filter(|r| r.handle == handle).collect();
    f.templates.rewrite(&hers, version(&f).await).await.unwrap();
    let contracts = async || {
        let (whole, _) = f.subjects.whole(None, 10).await.unwrap();
        let of = |name: &str| whole.iter().find(|w| w.subject.id == id(name)).unwrap().faces[0].1.contract();
        (of("anna"), of("left"))
    };
    assert_eq!(contracts().await, (contract(), contract()));
    let mut switched = collection("staff");
    switched.contract = other();
    f.collections.update(&f.tenant, &switched, None).await.unwrap();
    assert_eq!(contracts().await, (other(), contract()), "who was left behind goes with what there is");
}

async fn models_say_whom_they_were_trained_on(f: Fixture) {
    let models = Models::new(f.store.clone(), &f.tenant);
    let record = |id: &str, lineage| ModelRecord {
        id: ModelId::new(id).unwrap(),
        name: "mine".into(),
        contract: other(),
        manifest: String::new(),
        sha256: String::new(),
        bytes: 1,
        key: "00".into(),
        origin: ModelOrigin::Upload,
        parent: None,
        lineage,
        collections: Default::default(),
        created_at: NOW,
        created_by: "key".into(),
    };
    let told = serde_json::json!({"trained_on": {"staff": ["h1", "h2"]}});
    models.create(&record("one", told)).await.unwrap();
    models.create(&record("two", serde_json::Value::Null)).await.unwrap();
    let (staff, guests) = ("staff".parse().unwrap(), "guests".parse().unwrap());
    assert_eq!(models.trained_on(&staff, |h| h == "h2").await.unwrap(), ["mine@one"]);
    assert!(models.trained_on(&staff, |h| h == "h3").await.unwrap().is_empty());
    assert!(models.trained_on(&guests, |_| true).await.unwrap().is_empty());
    let one = models.get(&ModelId::new("one").unwrap()).await.unwrap().unwrap().value;
    assert_eq!((one.trained_on(&staff).map(|t| t.len()), one.trained_on(&guests)), (Some(2), Some(vec![])));
    let again = models.create(&record("one", serde_json::Value::Null)).await;
    assert_eq!(code(again), ErrorCode::Conflict);
    models.delete(&one.id, None).await.unwrap();
    assert_eq!(code(models.delete(&one.id, None).await), ErrorCode::ModelNotFound);
}
