//! What one tenant holds is of no use to another: ids, cursors, entity tags, idempotency keys, positions in a stream; and
//! the same names may mean something else to each.

use serde_json::{Value, json};
use testkit::{Person, encoded, enrolment};

use crate::world::{World, app};

#[tokio::test]
async fn what_one_tenant_holds_is_of_no_use_to_another() {
    let world = World::of(["hooli", "initech"]).await;
    let (acme, globex) = (&world.acme, &world.globex);
    let (collection, subject) = (world.id("collection"), world.id("subject"));
    // A second one of everything.
    drop(acme.create_collection("acme-guests").await);
    drop(acme.enrol(collection, "acme-bert", &[Person::Biden.photo()]).await.expect(201));
    let detect =
        acme.request("POST", "/v1/detect").header("prefer", "respond-async").json(&json!({"image": world.photo}));
    let job = acme.send(detect).await.expect(202).header("location").to_owned();
    drop(acme.get(&format!("{job}/events")).await.ok());
    let before = world.state().await;

    // A filter in the query.
    let filtered = format!("/v1/consents?collection_id={collection}&subject_id={subject}");
    assert_eq!(acme.get(&filtered).await.ok()["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(globex.get(&filtered).await.ok()["items"], json!([]));

    // A cursor leads on in the caller's own lists alone.
    for path in ["/v1/api-keys", "/v1/collections", "/v1/consents", "/v1/jobs"] {
        let page = acme.get(&format!("{path}?limit=1")).await.ok();
        let cursor = page["next_cursor"].as_str().unwrap_or_else(|| panic!("{path} has two or more: {page}"));
        let rest = globex.get(&format!("{path}?cursor={cursor}")).await.ok();
        for of_the_first in ["hooli", "acme", "spare"] {
            assert!(!rest.to_string().contains(of_the_first), "{path}: {rest}");
        }
    }

    // An entity tag.
    let path = format!("/v1/collections/{collection}");
    let tag = acme.get(&path).await.expect(200).header("etag").to_owned();
    let delete = globex.request("DELETE", &path).header("if-match", tag);
    drop(globex.send(delete).await.expect(404));

    // A position in a stream of events.
    let path = format!("/v1/jobs/{}/events", world.id("job"));
    let follow = globex.request("GET", &path).header("last-event-id", "1");
    drop(globex.send(follow).await.expect(404));

    // An idempotency key: the same one for the same request is another tenant's own.
    let body = json!({"id": "shared-name", "purposes": ["access_control"], "name": "whose"});
    for client in [acme, globex] {
        let request = client.request("POST", "/v1/collections").header("idempotency-key", "the-same");
        let answer = client.send(request.json(&body)).await.expect(201);
        assert_eq!(answer.header("idempotency-replayed"), "", "each has made its own");
    }
    drop(acme.delete("/v1/collections/shared-name").await.expect(204));
    assert_eq!(world.state().await, before);
    drop(globex.get("/v1/collections/shared-name").await.expect(200));
}

#[tokio::test]
async fn collections_and_subjects_of_the_same_name_are_others_in_another_tenant() {
    let world = World::of(["umbrella", "wayne"]).await;
    let (acme, globex) = (&world.acme, &world.globex);
    // The same ids and the same face, enrolled by both; then another person under the same id.
    drop(globex.create_collection("acme-staff").await);
    let path = "/v1/collections/acme-staff/subjects";
    drop(globex.post(path, &enrolment("acme-anna", &[Person::Obama.photo()])).await.expect(201));
    let search = json!({"image": encoded(&Person::Astronaut.photo()), "purpose": "access_control"});
    let decision = |answer: &Value| answer["results"][0]["decision"].clone();
    let (mine, theirs) =
        ("/v1/collections/acme-staff/identify", "/v1/collections/acme-staff/subjects/acme-anna/verify");
    assert_eq!(decision(&acme.post(mine, &search).await.ok()), "match");
    assert_eq!(decision(&globex.post(mine, &search).await.ok()), "no_match", "acme's gallery is not searched");
    let verified = globex.post(theirs, &search).await.ok();
    assert_eq!(verified["decision"], "no_match", "{verified}");

    // Erasing one leaves the other, in the store and in the gallery.
    drop(globex.delete(&format!("{path}/acme-anna")).await.expect(204));
    drop(globex.get(&format!("{path}/acme-anna")).await.expect(410));
    drop(acme.get(&format!("{path}/acme-anna")).await.expect(200));
    assert_eq!(decision(&acme.post(mine, &search).await.ok()), "match");
    drop(globex.delete("/v1/collections/acme-staff").await.expect(204));
    let stats = acme.get("/v1/collections/acme-staff/stats").await.ok();
    assert_eq!((&stats["subjects"], &stats["faces"]), (&json!(1), &json!(1)));
    assert_eq!(decision(&acme.post(mine, &search).await.ok()), "match");

    // Each is counted under its own name.
    for tenant in ["umbrella", "wayne"] {
        let label = format!("tenant=\"{tenant}\"");
        assert!(app().metric("visavis_tenant_requests_total", &label).await > 0.0, "{tenant}");
    }
}
