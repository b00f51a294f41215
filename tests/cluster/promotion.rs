//! A model takes another's place with two gateways and two workers, while people are looked for and enrolled: nobody is
//! told an error, no template is ever compared with one of another model, and the way back is open at once.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use domain::{CollectionId, TenantId};
use serde_json::json;
use store::Templates;
use testkit::{Client, Cluster, ClusterOptions};

use crate::{
    ALONE,
    candidates::{Candidate, changed, emptied},
    decision,
    evidence::export,
    inside,
    switching::{LONG, beside, done, enrol, never_across_models, place, promote, refused, somebody, staff},
};

/// Two gateways and two workers with a place for objects, and the folder of all of it; trainers where asked for.
pub async fn cluster(trainers: usize) -> (Cluster, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let [place, general] = ["objects", "general"].map(|name| folder.path().join(name).display().to_string());
    general_set(&folder.path().join("general"));
    let settings = [
        ("VISAVIS__OBJECTS__URL", place.as_str()),
        ("VISAVIS__GATE__GENERAL_SET", general.as_str()),
        ("VISAVIS__GATE__GENERAL_MARGIN", "0.6"),
        ("VISAVIS__GATE__REQUIRE_BETTER", "false"),
        // A few people made up from three: what is measured on them jumps.
        ("VISAVIS__GATE__HELD_OUT_MARGIN", "0.6"),
        ("VISAVIS__GATE__RESAMPLES", "200"),
        ("VISAVIS__GATEWAY__MAX_DEADLINE_MS", "120000"),
        ("VISAVIS__GATEWAY__DEFAULT_DEADLINE_MS", "60000"),
    ];
    let environment = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let start = move || Cluster::start(ClusterOptions { environment, trainers, ..ClusterOptions::default() });
    (tokio::task::spawn_blocking(start).await.expect("a cluster"), folder)
}

/// People who are in no collection, with a folder each.
fn general_set(folder: &Path) {
    for n in 30..40 {
        let person = folder.join(n.to_string());
        std::fs::create_dir_all(&person).expect("a folder");
        for (i, photo) in somebody(n).iter().enumerate() {
            std::fs::write(person.join(format!("{i}.png")), photo).expect("a photo");
        }
    }
}

/// How many templates each face has, and how many faces there are.
pub async fn generations(cluster: &Cluster) -> BTreeMap<usize, usize> {
    let (tenant, collection): (TenantId, CollectionId) =
        ("default".parse().expect("an id"), "staff".parse().expect("an id"));
    let templates = Templates::new(inside::store(cluster).await, &tenant, &collection);
    let (rows, more) = templates.scan_templates(None, 1_000).await.expect("the store");
    assert!(!more);
    let mut counts = BTreeMap::new();
    rows.iter().for_each(|r| *counts.entry(r.templates.iter().count()).or_default() += 1);
    counts
}

/// One that was damaged is refused with a report, and nothing changes.
async fn a_damaged_one_is_refused(client: &Client, damaged: &Candidate) {
    drop(damaged.register(client, "damaged").await.expect(201));
    refused(&promote(client, "damaged").await.expect(409));
    let card = client.get("/v1/models/damaged/card").await.ok();
    let found = &card["evaluations"][0];
    assert_eq!((&found["passed"], &found["report"]["passed"]), (&json!(false), &json!(false)), "{card}");
    assert_eq!(found["report"]["general"]["subjects"], 10, "{card}");
    assert!(found["report"]["held_out"]["verification"]["differences"].as_array().is_some_and(|d| d.len() >= 3));
    let page = client.get("/v1/models/damaged/report.html?collection_id=staff").await.expect(200);
    assert!(page.text().contains("refused") && page.text().contains("tar_at_fmr"), "{}", page.text());
    assert_eq!(place(client, "damaged").await["state"], "evaluated");
}

/// Who has no retained crop keeps a model from being promoted, unless the collection's policy leaves such people behind.
async fn somebody_would_be_left_behind(client: &Client) {
    drop(client.enrol("staff", "silent", &[somebody(22)[0].clone()]).await.expect(201));
    let refused = promote(client, "mild").await.expect(409);
    assert!(refused.problem("conflict").contains("1 enrolled faces have no retained crop"), "{}", refused.text());
    let leave = json!({"promotion": {"without_crops": "leave"}});
    drop(client.patch("/v1/collections/staff", &leave).await.expect(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_model_takes_anothers_place_and_gives_it_back_and_nobody_is_told_an_error() {
    let _alone = ALONE.lock().await;
    let people = 20;
    let made = tokio::task::spawn_blocking(|| (changed("mild", 0.02), emptied("damaged")));
    let (cluster, _objects) = cluster(0).await;
    let client = cluster.client();
    let (mild, damaged) = made.await.expect("candidates");
    staff(&client, people).await;
    a_damaged_one_is_refused(&client, &damaged).await;

    drop(mild.register(&client, "mild").await.expect(201));
    somebody_would_be_left_behind(&client).await;
    let late = somebody(people);
    let (seen, place) = beside(&client, async {
        let begun = promote(&client, "mild").await.expect(202).json;
        assert_eq!(begun["collections"][0]["generation"], 1, "{begun}");
        drop(enrol(&client, "late", &late).await.expect(201));
        done(&client, "mild").await
    })
    .await;
    assert_eq!((&place["state"], &place["promotion"]["switched"]), (&json!("champion"), &json!(true)), "{place}");
    never_across_models(&seen, &["yunet+sface", "yunet+mild@mild"]);
    let faces = 2 * (people + 1);
    let of_both = BTreeMap::from([(1, 1), (2, faces)]);
    assert_eq!(generations(&cluster).await, of_both, "every face with a crop has a template of each model");
    let left = client.get("/v1/models/mild/left-behind?collection_id=staff").await.ok();
    assert_eq!(left["items"], json!([{"subject_id": "silent"}]), "{left}");

    let found = client.identify("staff", &late[1]).await.ok();
    assert_eq!((decision(&found), &found["model_version"]), (("match", "late"), &json!("yunet+mild@mild")), "{found}");
    // Embeddings are the deployment's own: never compared with the collection's.
    let own = client.embeddings(late[1].clone()).await.ok()["items"][0]["faces"][0]["embedding"].clone();
    let answer = client.post("/v1/collections/staff/identify", &json!({"embedding": own})).await.expect(409);
    drop(answer.problem("collection_model_mismatch"));

    rolled_back(&cluster, &client, &late).await;
}

/// Back at once, with everybody enrolled since; and a subject that is erased leaves no template of either model.
async fn rolled_back(cluster: &Cluster, client: &Client, late: &[Bytes; 2]) {
    drop(enrol(client, "after", &somebody(21)).await.expect(201));
    let (seen, ()) = beside(client, async {
        let back = client.post("/v1/models/mild/rollback", &json!({"collection_id": "staff"})).await.ok();
        assert_eq!(back["collections"][0]["state"], "retired", "{back}");
        for (photo, id) in [(&late[1], "late"), (&somebody(21)[1], "after")] {
            let found = client.identify("staff", photo).await.ok();
            assert_eq!((decision(&found), &found["model_version"]), (("match", id), &json!("yunet+sface")), "{found}");
        }
    })
    .await;
    never_across_models(&seen, &["yunet+sface", "yunet+mild@mild"]);
    drop(client.delete("/v1/collections/staff/subjects/late").await.expect(204));
    let left = generations(cluster).await;
    assert_eq!(left, BTreeMap::from([(1, 1), (2, 2 * 21)]), "p0 to p19 and after; and who was left behind");
    // What is kept is in use: its file stays until it is retired.
    drop(client.delete("/v1/models/mild").await.expect(409).problem("conflict"));
    drop(client.post("/v1/models/mild/retire", &json!({"collection_id": "staff"})).await.expect(200));
    drop(done(client, "mild").await);
    assert_eq!(generations(cluster).await, BTreeMap::from([(1, 1 + 2 * 21)]), "templates of the retired one are gone");
    drop(client.delete("/v1/models/mild").await.expect(204));
    drop(client.get("/v1/models/mild").await.expect(404).problem("model_not_found"));
    let trail = export(client).await.concat();
    for action in ["POST /v1/models", "/promote", "/rollback", "switch of the model"] {
        assert!(trail.contains(action), "{action} is not in the trail");
    }
}

/// `cargo test -p visavis-tests --test cluster promotion -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a hundred people; takes a few minutes"]
async fn a_hundred_people_move_to_another_model_though_the_worker_that_moves_them_is_killed() {
    let _alone = ALONE.lock().await;
    let people = 100;
    let made = tokio::task::spawn_blocking(|| changed("mild", 0.02));
    let (mut cluster, _objects) = cluster(0).await;
    let client = cluster.client();
    let mild = made.await.expect("a candidate");
    staff(&client, people).await;
    drop(mild.register(&client, "mild").await.expect(201));
    drop(promote(&client, "mild").await.expect(202));
    // In the middle of it, whichever worker it is.
    let began = Instant::now();
    for worker in [0, 1] {
        loop {
            let place = place(&client, "mild").await;
            let embedded = place["promotion"]["embedded"].as_u64().unwrap_or(0);
            if embedded > 20 * (worker + 1) || place["promotion"]["phase"] == "done" {
                println!("worker {worker} is killed after {embedded} faces");
                break;
            }
            assert!(began.elapsed() < LONG, "{place}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let killed = usize::try_from(worker).expect("a number");
        tokio::task::block_in_place(|| {
            cluster.worker_mut(killed).kill();
            cluster.worker_mut(killed).restart();
        });
    }
    let place = done(&client, "mild").await;
    assert_eq!(place["state"], "champion", "{place}");
    assert_eq!(generations(&cluster).await, BTreeMap::from([(2, 2 * people)]));
    for n in [0, 50, 99] {
        let found = client.identify("staff", &somebody(n)[1]).await.ok();
        assert_eq!(found["model_version"], "yunet+mild@mild", "{found}");
        assert_eq!(found["results"][0]["candidates"][0]["subject_id"], format!("p{n}"), "{found}");
    }
}
