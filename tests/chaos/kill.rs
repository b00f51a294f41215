//! kill -9 in the middle of enrolments.

use std::{collections::BTreeSet, sync::Arc};

use testkit::{Person, Picture, TestApp};
use tokio::{sync::mpsc, task::JoinSet};

const SUBJECTS: usize = 200;
/// Acknowledgements after which the power is cut.
const KILL_AFTER: usize = 70;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_every_acknowledged_enrolment_is_found_and_none_is_half_there() {
    let mut app = TestApp::start();
    let client = app.client();
    drop(client.create_collection("c").await);
    // Two faces a subject: half an enrolment would show.
    let portrait = Picture::decode(&Person::Astronaut.photo());
    let photos = Arc::new([portrait.resized(160, 160).png(), portrait.resized(170, 170).mirrored().png()]);

    let (acknowledged, mut acknowledgements) = mpsc::channel(SUBJECTS);
    let mut enrolments = JoinSet::new();
    for i in 0..SUBJECTS {
        let (client, photos, acknowledged) = (client.clone(), Arc::clone(&photos), acknowledged.clone());
        enrolments.spawn(async move {
            let id = format!("s{i:03}");
            let body = testkit::enrolment(&id, &photos[..]);
            let request = client.request("POST", "/v1/collections/c/subjects").header("x-deadline-ms", "60000");
            // No answer is no promise.
            if let Ok(answer) = client.try_send(request.json(&body)).await
                && answer.status == 201
            {
                assert_eq!(answer.json["faces"].as_array().map(Vec::len), Some(2), "{}", answer.text());
                acknowledged.send(id).await.expect("somebody counts");
            }
        });
    }
    drop(acknowledged);
    let mut kept = BTreeSet::new();
    while kept.len() < KILL_AFTER {
        kept.insert(acknowledgements.recv().await.expect("enrolments go on"));
    }
    app.kill();
    while let Some(id) = acknowledgements.recv().await {
        kept.insert(id);
    }
    while let Some(ended) = enrolments.join_next().await {
        ended.expect("no enrolment was acknowledged by halves");
    }
    assert!(kept.len() < SUBJECTS, "the kill came too late to prove anything");

    app.restart();
    let client = app.client();
    let listed = client.subjects("c").await;
    let lost: Vec<_> = kept.difference(&listed).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    for id in &listed {
        let faces = client.get(&format!("/v1/collections/c/subjects/{id}/faces")).await.ok();
        assert_eq!(faces["items"].as_array().map(Vec::len), Some(2), "{id} is half there: {faces}");
    }
    let embedded = client.embeddings(photos[0].clone()).await.ok();
    let probe = &embedded["items"][0]["faces"][0]["embedding"];
    for id in &kept {
        let body = serde_json::json!({"embedding": probe, "purpose": "access_control", "subject_ids": [id]});
        let found = client.post("/v1/collections/c/identify", &body).await.ok();
        let result = &found["results"][0];
        assert_eq!(
            (&result["decision"], &result["candidates"][0]["subject_id"]),
            (&"match".into(), &id.as_str().into())
        );
        assert_eq!(found["threshold"]["gallery_size"], 2, "{found}");
    }
    let stats = client.get("/v1/collections/c/stats").await.ok();
    assert_eq!(stats["subjects"], listed.len(), "{stats}");
    assert_eq!(stats["faces"], 2 * listed.len(), "{stats}");
}
