//! A model takes another's place in one process, with the embedded store and queue: while people are looked for, and back.

use serde_json::json;
use testkit::{AppOptions, TestApp};

use crate::{
    candidates::{changed, emptied},
    decision,
    switching::{beside, done, enrol, never_across_models, promote, refused, somebody, staff},
};

/// A few people made up from three: what is measured on them jumps.
const GATE: [(&str, &str); 4] =
    [("REQUIRE_BETTER", "false"), ("HELD_OUT_MARGIN", "0.9"), ("LEAST_SUBJECTS", "3"), ("RESAMPLES", "100")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_takes_anothers_place_in_one_process_and_gives_it_back() {
    let made = tokio::task::spawn_blocking(|| (changed("mild", 0.02), emptied("damaged")));
    let gate = GATE.map(|(k, v)| (format!("VISAVIS__GATE__{k}"), v.to_owned()));
    let waits = ["MAX", "DEFAULT"].map(|k| (format!("VISAVIS__GATEWAY__{k}_DEADLINE_MS"), "110000".to_owned()));
    let environment = gate.into_iter().chain(waits).collect();
    let app = TestApp::start_with(AppOptions { environment, ..AppOptions::default() });
    let client = app.client();
    let (mild, damaged) = made.await.expect("candidates");
    staff(&client, 4).await;

    drop(damaged.register(&client, "damaged").await.expect(201));
    refused(&promote(&client, "damaged").await.expect(409));
    drop(mild.register(&client, "mild").await.expect(201));
    let late = somebody(5);
    let (seen, place) = beside(&client, async {
        drop(promote(&client, "mild").await.expect(202));
        drop(enrol(&client, "late", &late).await.expect(201));
        done(&client, "mild").await
    })
    .await;
    assert_eq!((&place["state"], &place["promotion"]["switched"]), (&json!("champion"), &json!(true)), "{place}");
    let versions = ["yunet+sface", "yunet+mild@mild"];
    never_across_models(&seen, &versions);
    let found = client.identify("staff", &late[1]).await.ok();
    assert_eq!((decision(&found), &found["model_version"]), (("match", "late"), &json!("yunet+mild@mild")), "{found}");

    let (seen, found) = beside(&client, async {
        let back = client.post("/v1/models/mild/rollback", &json!({"collection_id": "staff"})).await.ok();
        assert_eq!(back["collections"][0]["state"], "retired", "{back}");
        client.identify("staff", &late[1]).await.ok()
    })
    .await;
    assert_eq!((decision(&found), &found["model_version"]), (("match", "late"), &json!("yunet+sface")), "{found}");
    never_across_models(&seen, &versions);
    drop(client.delete("/v1/collections/staff/subjects/late").await.expect(204));
    assert_ne!(decision(&client.identify("staff", &late[1]).await.ok()).1, "late");
}
