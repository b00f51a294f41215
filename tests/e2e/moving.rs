//! A collection moves from one service to another, each with a data directory and keys of its own: everybody is known
//! there, as they were here.

use serde_json::{Value, json};
use testkit::{Client, Person, TestApp, encoded, enrolment};

use crate::{
    crops::{crops_in, keeping, kept, trainable},
    decision,
};

const KEY: &str = "c09d1f7be2a4836550f1c7d89ab3e46f127085ed94bc63af0e5d2871f6c3b9a4";

async fn export(client: &Client, collection: &str) -> bytes::Bytes {
    let path = format!("/v1/collections/{collection}/export");
    client.send(client.request("POST", &path).header("visavis-export-key", KEY)).await.expect(200).bytes
}

async fn import(client: &Client, collection: &str, file: bytes::Bytes) -> Vec<Value> {
    let request = client.request("POST", &format!("/v1/collections/{collection}/import"));
    let request = request.header("visavis-export-key", KEY).header("content-type", "application/vnd.visavis.export");
    let answer = client.send(request.body(file)).await.expect(200);
    answer.text().lines().map(|l| serde_json::from_str(l).expect("a line of JSON")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_known_at_another_service_after_their_collection_moved() {
    let there = TestApp::start();
    let (from, to) = (crate::caller(), there.client());
    drop(from.create_collection("moving").await);
    for (person, site) in Person::ALL.into_iter().zip(["north", "south", "north"]) {
        let mut body = enrolment(person.id(), &[person.photo()]);
        body["metadata"] = json!({"site": site});
        body["consent"]["notice"] = json!({"version": "3", "lang": "en"});
        drop(from.post("/v1/collections/moving/subjects", &body).await.expect(201));
    }
    let file = export(&from, "moving").await;
    drop(to.create_collection("arrived").await);
    // So that the gallery there is loaded and has to follow.
    let nobody = to.identify("arrived", &Person::Biden.others()[0]).await.ok();
    assert_eq!(decision(&nobody).0, "no_match");

    let lines = import(&to, "arrived", file.clone()).await;
    assert_eq!(lines.last().expect("a summary")["summary"]["created"], 3, "{lines:?}");
    for person in Person::ALL {
        for photo in person.others() {
            let (here, there) = (from.identify("moving", &photo).await.ok(), to.identify("arrived", &photo).await.ok());
            assert_eq!(decision(&there), ("match", person.id()), "{there}");
            let score = |a: &Value| a["results"][0]["candidates"][0]["score"].clone();
            assert_eq!(score(&here), score(&there), "the template is the same to the last bit");
        }
        let path = |c: &str| format!("/v1/collections/{c}/subjects/{}", person.id());
        assert_eq!(to.get(&path("arrived")).await.ok(), from.get(&path("moving")).await.ok());
        let consents = |c: &str| format!("/v1/consents?collection_id={c}&subject_id={}", person.id());
        let (mut old, new) = (from.get(&consents("moving")).await.ok(), to.get(&consents("arrived")).await.ok());
        old["items"][0]["collection_id"] = "arrived".into();
        assert_eq!(new, old);
    }
    let filter = json!({"image": encoded(&Person::Obama.photo()), "filter": {"site": "south"}});
    let south = to.post("/v1/collections/arrived/identify", &filter).await.ok();
    assert_ne!(decision(&south).1, "obama", "labels came along and filter");

    // Erased there, and not brought back by the file that knew them.
    drop(to.delete("/v1/collections/arrived/subjects/biden").await.expect(204));
    let lines = import(&to, "arrived", file).await;
    let biden = lines.iter().find(|l| l["subject_id"] == "biden").expect("a line about each");
    assert_eq!(biden["problem"]["code"], "erased");
    assert_eq!(lines.last().expect("a summary")["summary"]["skipped"], 2);
    let gone = to.identify("arrived", &Person::Biden.others()[0]).await.ok();
    assert_eq!(decision(&gone).0, "no_match");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_compreface_become_a_job_that_enrols_their_pictures() {
    let folder = tempfile::tempdir().expect("a folder");
    let row = |name: &str, photo: bytes::Bytes| json!({"subject": name, "image": encoded(&photo)["b64"]}).to_string();
    let rows = [
        row("Barack Obama", Person::Obama.photo()),
        row("Barack Obama", Person::Obama.others()[0].clone()),
        row("biden", Person::Biden.photo()),
    ];
    std::fs::write(folder.path().join("rows.ndjson"), rows.join("\n")).expect("rows");
    let mut convert = std::process::Command::new(testkit::binary());
    convert.current_dir(&folder).args(["convert", "compreface", "rows.ndjson", "--collection", "converted"]);
    convert.args(["--purposes", "access_control", "--method", "signed_form", "--out", "jobs"]);
    let output = convert.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let client = crate::caller();
    drop(client.create_collection("converted").await);
    let body: Value = serde_json::from_slice(&std::fs::read(folder.path().join("jobs/job-0001.json")).expect("a body"))
        .expect("JSON");
    let job = client.post("/v1/jobs", &body).await.expect(202).json;
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    // The stream of events ends with the job.
    let events = client.get(&format!("{path}/events")).await.expect(200).text();
    assert!(events.contains("\"succeeded\":2"), "{events}");
    let found = client.identify("converted", &Person::Obama.others()[1]).await.ok();
    let (decision, id) = decision(&found);
    assert_eq!((decision, id.len()), ("match", 35), "a name that is no id gets one: {found}");
    let subject = client.get(&format!("/v1/collections/converted/subjects/{id}")).await.ok();
    assert_eq!((&subject["external_id"], subject["faces"].as_array().map(Vec::len)), (&json!("Barack Obama"), Some(2)));
    assert_eq!(client.get("/v1/collections/converted/subjects/biden").await.status, 200);
}

/// To the last pixel, under keys of the other service; and only where policy and consent allow it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crops_move_along_where_they_may_be_kept() {
    let (mut from, mut to) = (TestApp::start(), TestApp::start());
    let (here, there) = (from.client(), to.client());
    keeping(&here, "kept").await;
    let body = trainable("astronaut", &[Person::Astronaut.photo()]);
    let enrolled = here.post("/v1/collections/kept/subjects", &body).await.expect(201).json;
    let face = enrolled["faces"][0]["id"].as_str().expect("an id").to_owned();
    drop(here.enrol("kept", "silent", &[Person::Biden.photo()]).await.expect(201));
    let file = export(&here, "kept").await;
    // A picture's beginning, as it is and in base64.
    for beginning in [&b"\x89PNG"[..], b"iVBORw0KGgo"] {
        assert!(memchr::memmem::find(&file, beginning).is_none(), "a picture lies in the file");
    }

    drop(there.create_collection("plain").await);
    let lines = import(&there, "plain", file.clone()).await;
    assert_eq!(lines.last().expect("a summary")["summary"]["crops"], 0, "{lines:?}");
    let objects = to.data_dir().join("objects");
    assert_eq!(crops_in(&objects).len(), 0, "this collection keeps none");
    keeping(&there, "kept").await;
    let lines = import(&there, "kept", file.clone()).await;
    let summary = &lines.last().expect("a summary")["summary"];
    assert_eq!((&summary["created"], &summary["crops"]), (&json!(2), &json!(1)), "{lines:?}");
    // Again: nobody is there twice, and what is there is not written over.
    let lines = import(&there, "kept", file).await;
    assert_eq!(lines.last().expect("a summary")["summary"]["skipped"], 2);
    assert_eq!(crops_in(&objects).len(), 1);

    for app in [&mut from, &mut to] {
        app.terminate();
        assert_eq!(app.wait(), Some(0), "a clean end");
    }
    let (old, new) = (kept(from.data_dir(), "astronaut", &face).await, kept(to.data_dir(), "astronaut", &face).await);
    assert!(old.data() == new.data() && old.width() == new.width(), "another picture");
    to.restart();
    drop(to.client().delete("/v1/collections/kept/subjects/astronaut").await.expect(204));
    assert_eq!(crops_in(&objects).len(), 0, "an erasure finds it");
}
