//! Imports that are refused: of files that were changed or made to harm, with other keys, from callers who may not.

use reqwest::Method;
use serde_json::{Value, json};
use transfer::{ExportKey, Sealer};

use crate::{
    app::{Answer, App, answer, consent, contract, image},
    transfers::calls::{KEY, MEDIA_TYPE, export, import, lines},
};

/// A service with a filled collection and an empty one, and the lines of the first one's export.
async fn prepared() -> (App, Vec<String>) {
    let app = App::start().await;
    app.collection("staff").await;
    for id in ["anna", "bert", "cora", "dave"] {
        app.subject("staff", id).await;
    }
    app.collection("empty").await;
    let file = String::from_utf8(export(&app, "staff").await).unwrap();
    (app, file.lines().map(str::to_owned).collect())
}

async fn imported(app: &App, lines: &[String]) -> Answer {
    import(app, "empty/import", format!("{}\n", lines.join("\n")).into_bytes()).await
}

async fn enrolled(app: &App) -> Value {
    app.get("/v1/collections/empty/stats").await.expect(200)["subjects"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_changed_cut_or_mixed_is_told_and_nothing_wrong_is_kept() {
    let (app, lines) = prepared().await;
    let without = |n: usize| lines.iter().enumerate().filter(|(i, _)| *i != n).map(|(_, l)| l.clone()).collect();
    let mut changed = lines.clone();
    let at = changed[3].len() / 2;
    let other = if &changed[3][at..=at] == "A" { "B" } else { "A" };
    changed[3].replace_range(at..=at, other);
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    let removed: Vec<String> = without(3);
    // Lines 1 and 2 are header and manifest, so line 3 is the first subject.
    for (file, done, words) in [
        (changed, 1, "line 4"),
        (removed, 1, "line 4"),
        (swapped, 0, "line 3"),
        (lines[..lines.len() - 1].to_vec(), 4, "cut off after line 6"),
        ([&lines[..], &lines[2..3]].concat(), 4, "something follows"),
        (lines[..1].to_vec(), 0, "cut off after line 1"),
    ] {
        let refused = imported(&app, &file).await;
        refused.problem(400, "invalid_request", words);
        if file.len() > 1 {
            refused.problem(400, "invalid_request", &format!("{done} subjects were created"));
        }
        assert_eq!(enrolled(&app).await, done, "{words}");
        app.delete("/v1/collections/empty").await.expect(204);
        app.collection("empty").await;
    }
    // Half a line at the end is no line.
    let mut half = lines.clone();
    let last = half.last_mut().unwrap();
    last.truncate(last.len() - 5);
    imported(&app, &half).await.problem(400, "invalid_request", "line 7");
    assert_eq!(imported(&app, &lines).await.status, 200, "what was imported before it is passed over");
    assert_eq!(enrolled(&app).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_types_and_headers_are_checked_before_anything_is_read() {
    let (app, lines) = prepared().await;
    let file = format!("{}\n", lines.join("\n"));
    let with = |key: &str, kind: &str| {
        let request = app.call(Method::POST, "/v1/collections/empty/import").header("content-type", kind);
        let request = if key.is_empty() { request } else { request.header("visavis-export-key", key) };
        answer(request.body(file.clone()))
    };
    let other = KEY.replace('8', "9");
    for (key, words) in
        [("", "is missing"), ("secret", "64 digits"), (&"00".repeat(32), "not random"), (&other, "sealed with the key")]
    {
        let refused = with(key, MEDIA_TYPE).await;
        assert_eq!(refused.problem(400, "invalid_request", words).pointer(), "visavis-export-key");
        assert!(key.is_empty() || !refused.body.to_string().contains(key), "the key is shown");
    }
    with(KEY, "application/json").await.problem(415, "unsupported_media_type", MEDIA_TYPE);
    let export = app.call(Method::POST, "/v1/collections/staff/export");
    answer(export).await.problem(400, "invalid_request", "is missing");
    import(&app, "none/import", Vec::new()).await.problem(404, "collection_not_found", "none");
    import(&app, "empty/import", Vec::new()).await.problem(400, "invalid_request", "not an export");
    import(&app, "empty/import", b"{}\n".to_vec()).await.problem(400, "invalid_request", "not an export");
    import(&app, "empty/import?on_conflict=merge", Vec::new()).await.problem(400, "invalid_request", "on_conflict");
    let request = app.call(Method::POST, "/v1/collections/empty/import").header("visavis-export-key", KEY);
    let request = request.header("content-type", MEDIA_TYPE).header("idempotency-key", "one").body("");
    answer(request).await.problem(400, "invalid_request", "can be repeated");
    assert_eq!(enrolled(&app).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_moves_people_needs_the_scopes_of_all_that_moves() {
    let (app, _) = prepared().await;
    for (path, scopes) in [
        ("staff/export", ["keys", "subjects:read", "consents"]),
        ("empty/import", ["keys", "subjects:write", "consents"]),
    ] {
        for without in scopes {
            let key = app.key_with(&scopes.into_iter().filter(|s| *s != without).collect::<Vec<_>>()).await;
            let request = app.call_as(&key, Method::POST, &format!("/v1/collections/{path}"));
            let request = request.header("visavis-export-key", KEY).header("content-type", MEDIA_TYPE);
            answer(request).await.problem(403, "forbidden", without);
        }
        let key = app.key_with(&scopes).await;
        let request = app.call_as(&key, Method::POST, &format!("/v1/collections/{path}"));
        let request = request.header("visavis-export-key", KEY).header("content-type", MEDIA_TYPE);
        assert_ne!(request.send().await.unwrap().status(), 403, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collections_own_policy_holds_for_those_who_come() {
    let (app, lines_of_file) = prepared().await;
    let file = format!("{}\n", lines_of_file.join("\n")).into_bytes();
    app.post("/v1/collections", json!({"id": "shop", "purposes": ["advertising"]})).await.expect(201);
    let (subjects, summary) = lines(import(&app, "shop/import", file.clone()).await);
    assert_eq!((&summary["created"], &summary["failed"]), (&json!(0), &json!(4)));
    assert!(subjects.iter().all(|s| s["problem"]["code"] == "consent_required"), "{subjects:?}");
    assert!(subjects[0]["problem"]["detail"].as_str().unwrap().contains("advertising"));
    assert_eq!(app.get("/v1/collections/shop/stats").await.expect(200)["subjects"], 0);
    // Nor is a consent of theirs left behind that could be found.
    assert_eq!(app.get("/v1/consents").await.expect(200)["items"].as_array().unwrap().len(), 4);
}

/// A file made with the right key by somebody who means harm.
fn made(contract: &str, subjects: &[Value]) -> Vec<u8> {
    let (mut sealer, mut file) = Sealer::new(ExportKey::parse(KEY).unwrap()).unwrap();
    let now = "2026-01-01T00:00:00Z";
    let collection = json!({"id": "far", "purposes": ["access_control"], "contract": contract, "created_at": now, "updated_at": now});
    let manifest = json!({"created_at": now, "contract": contract, "collection": collection, "revision": 7});
    file.extend(sealer.line(&manifest).unwrap());
    file.extend(subjects.iter().flat_map(|s| sealer.line(s).unwrap()));
    let trailer = json!({"subjects": subjects.len(), "faces": 0, "revision": 7, "finished_at": now});
    file.extend(sealer.last(&trailer).unwrap());
    file
}

fn subject(id: &str, contract: &str, template: &str) -> Value {
    let now = "2026-01-01T00:00:00Z";
    let face = json!({"id": "f1", "subject_id": id, "box": {"x": 1, "y": 1, "width": 9, "height": 9},
        "landmarks": [[1, 1], [1, 1], [1, 1], [1, 1], [1, 1]], "detection_score": 0.9,
        "pose": {"yaw": 0, "pitch": 0, "roll": 0},
        "quality": {"score": 90, "level": "high", "reasons": [], "components": {"sharpness": 1, "illumination": 1,
            "symmetry": 1, "frontality": 1, "completeness": 1, "detection": 1, "inter_eye_distance": 60}},
        "contract": contract, "created_at": now, "template": template});
    let mut given = consent();
    for (name, value) in [
        ("id", format!("c-{id}")),
        ("collection_id", "far".into()),
        ("subject_id", id.into()),
        ("obtained_at", now.into()),
        ("recorded_at", now.into()),
    ] {
        given[name] = value.into();
    }
    given["training_allowed"] = false.into();
    json!({"subject": {"id": id, "created_at": now, "updated_at": now}, "consents": [given], "faces": [face]})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_opens_is_still_not_trusted() {
    let app = App::start().await;
    app.collection("empty").await;
    let (here, far) = (contract().to_string(), "ab".repeat(16));
    // Half floats: 0.6 and 0.8; the second of length two; the third of three values.
    let (good, long, three) = ("zThmOg==", "zTxmPg==", "zThmOgAA");
    let refused = import(&app, "empty/import", made(&far, &[])).await;
    refused.problem(409, "collection_model_mismatch", &here).problem(409, "collection_model_mismatch", &far);

    let mut huge = subject("huge", &here, good);
    huge["faces"][0]["detection_score"] = json!(1e300);
    let mut named = subject("named", &here, good);
    named["subject"]["id"] = "../etc".into();
    let mut labels = subject("labels", &here, good);
    labels["subject"]["metadata"] = json!({"note": "x".repeat(513)});
    let mut twice = subject("twice", &here, good);
    twice["faces"] = json!([twice["faces"][0], twice["faces"][0]]);
    let mut low = subject("low", &here, good);
    low["faces"][0]["quality"]["level"] = "low".into();
    let file = [
        subject("good", &here, good),
        huge,
        named,
        labels,
        twice,
        low,
        subject("other", &far, good),
        subject("long", &here, long),
        subject("three", &here, three),
        subject("text", &here, "not base64!"),
        json!({"subject": 1}),
    ];
    let (results, summary) = lines(import(&app, "empty/import", made(&here, &file)).await);
    let told: Vec<_> = results
        .iter()
        .map(|r| (r["subject_id"].as_str().unwrap_or("?"), r["problem"]["code"].as_str().unwrap_or("created")))
        .collect();
    let mut expected = vec![
        ("good", "created"),
        ("huge", "invalid_request"),
        ("?", "invalid_request"),
        ("labels", "invalid_request"),
        ("twice", "invalid_request"),
        ("low", "low_quality"),
        ("other", "collection_model_mismatch"),
        ("long", "invalid_request"),
        ("three", "collection_model_mismatch"),
        ("text", "invalid_request"),
        ("?", "invalid_request"),
    ];
    let mut told = told;
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
    assert_eq!((&summary["created"], &summary["failed"]), (&json!(1), &json!(10)));
    assert!(results.iter().all(|r| !r.to_string().contains("zTh")), "a template is shown");
    assert_eq!(app.get("/v1/collections/empty/subjects").await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn length_is_bounded_by_line_and_in_all() {
    let app = App::start_with(|c| c.limits.import_bytes = 20 << 20).await;
    app.collection("empty").await;
    let (here, long) = (contract().to_string(), "x".repeat(17 << 20));
    let mut file = made(&here, &[]);
    file.truncate(file.len() - 9);
    file.extend(long.as_bytes());
    import(&app, "empty/import", file).await.problem(413, "payload_too_large", "longer than");
    let announced = vec![b'x'; 21 << 20];
    import(&app, "empty/import", announced).await.problem(413, "payload_too_large", "20971520 bytes");
    // Neither kept what followed from being answered.
    let body = json!({"id": "anna", "consent": consent(), "image": image("face")});
    app.post("/v1/collections/empty/subjects", body).await.expect(201);
}
