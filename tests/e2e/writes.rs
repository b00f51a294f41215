//! Writes that may be repeated and writes that must not cross: idempotency keys, entity tags, lists.

use serde_json::{Value, json};
use testkit::{Person, enrolment};

use crate::{caller, collection_with};

#[tokio::test]
async fn the_same_key_gives_the_same_answer_and_enrols_once() {
    let client = collection_with("idempotent", &[]).await;
    let body = enrolment("anna", &[Person::Astronaut.photo()]);
    let send = async |body: &Value| {
        let request = client.request("POST", "/v1/collections/idempotent/subjects");
        client.send(request.header("idempotency-key", "enrol-anna").json(body)).await
    };
    let first = send(&body).await.expect(201);
    let again = send(&body).await.expect(201);
    assert_eq!(again.json, first.json);
    assert_eq!(again.header("idempotency-replayed"), "true");
    let faces = client.get("/v1/collections/idempotent/subjects/anna/faces").await.ok();
    assert_eq!(faces["items"].as_array().map(Vec::len), Some(1));

    let other = send(&enrolment("bert", &[Person::Astronaut.photo()])).await.expect(422);
    assert!(other.problem("idempotency_key_reused").contains("new key"));
}

#[tokio::test]
async fn without_a_key_a_second_enrolment_conflicts() {
    let client = collection_with("conflicts", &[Person::Astronaut]).await;
    let answer = client.enrol("conflicts", "astronaut", &[Person::Astronaut.photo()]).await.expect(409);
    assert!(answer.problem("conflict").contains("astronaut"));
    let again = client.post("/v1/collections", &json!({"id": "conflicts", "purposes": ["a"]})).await.expect(409);
    assert!(again.problem("conflict").contains("exists already"), "{}", again.text());
}

#[tokio::test]
async fn a_change_made_against_an_old_version_is_refused() {
    let client = collection_with("tagged", &[]).await;
    let path = "/v1/collections/tagged";
    let patch = async |tag: &str, body: Value| {
        let request = client.request("PATCH", path).header("if-match", tag).json(&body);
        client.send(request).await
    };
    let first = client.get(path).await.expect(200);
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let changed = patch(&tag, json!({"name": "North gate"})).await.expect(200);
    assert_eq!(changed.json["name"], "North gate");
    assert_ne!(changed.header("etag"), tag);
    let stale = patch(&tag, json!({"name": "South gate"})).await.expect(412);
    assert!(stale.problem("precondition_failed").contains("read the resource again"));
    let now = client.get(path).await.expect(200);
    assert_eq!(now.json["name"], "North gate");
    assert_eq!(now.header("etag"), changed.header("etag"));
    let stale = client.send(client.request("DELETE", path).header("if-match", tag)).await.expect(412);
    assert!(!stale.problem("precondition_failed").is_empty());
    drop(client.send(client.request("DELETE", path).header("if-match", now.header("etag"))).await.ok());
    drop(client.get(path).await.expect(404));
}

#[tokio::test]
async fn lists_are_cut_into_pages_without_loss_or_repetition() {
    let client = caller();
    for i in 0..5 {
        drop(client.create_collection(&format!("page-{i}")).await);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/collections?limit=2{cursor}")).await.ok();
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 2);
        seen.extend(
            items.iter().filter_map(|c| c["id"].as_str()).filter(|id| id.starts_with("page-")).map(str::to_owned),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["page-0", "page-1", "page-2", "page-3", "page-4"]);
}

#[tokio::test]
async fn a_subject_is_changed_and_given_further_faces() {
    let client = collection_with("further", &[Person::Obama]).await;
    let path = "/v1/collections/further/subjects/obama";
    let patched = client.patch(path, &json!({"external_id": "HR-7", "metadata": {"site": "north"}})).await.ok();
    assert_eq!((&patched["external_id"], &patched["metadata"]["site"]), (&json!("HR-7"), &json!("north")));
    let more = json!({"images": Person::Obama.others().iter().map(testkit::encoded).collect::<Vec<_>>()});
    drop(client.post(&format!("{path}/faces"), &more).await.expect(201));
    let faces = client.get(&format!("{path}/faces")).await.ok();
    let faces = faces["items"].as_array().expect("items");
    assert_eq!(faces.len(), 1 + Person::Obama.others().len());
    let one = faces[0]["id"].as_str().expect("an id");
    drop(client.delete(&format!("{path}/faces/{one}")).await.ok());
    let left = client.get(&format!("{path}/faces")).await.ok();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(faces.len() - 1));
    assert!(!left.to_string().contains(one));
    let candidate = client.identify("further", &Person::Obama.photo()).await.ok();
    assert_eq!(candidate["results"][0]["candidates"][0]["external_id"], "HR-7", "{candidate}");
}
