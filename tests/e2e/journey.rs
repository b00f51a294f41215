//! The main job from an empty directory: enrol three people, know them again, not know a stranger, forget one, and
//! remember the rest after a restart.

use serde_json::json;
use testkit::{Person, TestApp};

use crate::decision;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_an_empty_directory_to_people_known_again_after_a_restart() {
    let mut app = TestApp::start();
    assert!(app.data_dir().join("tls/cert.pem").exists(), "the certificate lies at its documented place");
    let client = app.client();
    drop(client.create_collection("staff").await);
    let known = [Person::Obama, Person::Biden, Person::Astronaut];
    for person in &known[..2] {
        drop(client.enrol("staff", person.id(), &[person.photo()]).await.expect(201));
    }

    // Nobody has enrolled the astronaut yet.
    let answer = client.identify("staff", &Person::Astronaut.photo()).await.ok();
    assert_eq!(decision(&answer).0, "no_match", "{answer}");

    let enrolled = client.enrol("staff", "astronaut", &[Person::Astronaut.photo()]).await.expect(201).json;
    assert_eq!(enrolled["subject"]["id"], "astronaut");
    assert_eq!(enrolled["faces"].as_array().map(Vec::len), Some(1));
    assert_eq!(enrolled["rejected_images"], json!([]));
    for person in known {
        for photo in person.others() {
            let answer = client.identify("staff", &photo).await.ok();
            assert_eq!(decision(&answer), ("match", person.id()), "{answer}");
        }
    }

    drop(client.delete("/v1/collections/staff/subjects/biden").await.ok());
    for photo in Person::Biden.others() {
        let answer = client.identify("staff", &photo).await.ok();
        assert_eq!(decision(&answer).0, "no_match", "{answer}");
    }

    let key = app.admin_key();
    app.restart();
    assert_eq!(app.admin_key(), key, "a restart keeps the admin key");
    let client = app.client();
    for (person, expected) in [(Person::Obama, "match"), (Person::Astronaut, "match"), (Person::Biden, "no_match")] {
        let answer = client.identify("staff", &person.others()[0]).await.ok();
        assert_eq!(decision(&answer).0, expected, "{}: {answer}", person.id());
    }
    let gone = client.get("/v1/collections/staff/subjects/biden").await;
    assert!(matches!(gone.status, 404 | 410), "{}", gone.text());
}
