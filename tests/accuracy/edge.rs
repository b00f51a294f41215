//! Unusual and hostile files through the API: the expected faces or a fitting refusal, never a 5xx, memory bounded.

use std::{fs, path::Path};

use testkit::{Answer, Client, Memory, Row, TestApp, forget_peak, read_csv, shared_or_skip};

/// Pixels that the service takes by default.
const MAX_PIXELS: u64 = 40_000_000;
/// What refusing a picture by its header may cost: far from the 900 MB and more that it promises.
const REFUSAL_MIB: u64 = 32;
/// What the whole pack may cost on top of the idle service, one file at a time.
const PACK_MIB: u64 = 400;

/// Memory of the idle service, once the peak of its start is forgotten.
fn still(app: &TestApp) -> Option<Memory> {
    forget_peak(app.pid());
    app.memory()
}

async fn ask(client: &Client, folder: &Path, row: &Row) -> Answer {
    client.detect(fs::read(folder.join(&row["file"])).expect("a file of the list").into()).await
}

/// What is wrong with an answer, if anything is.
fn judge(row: &Row, answer: &Answer) -> Option<String> {
    let said = || Some(format!("{} ({}): {} {}", row["file"], row["expected"], answer.status, answer.text()));
    if let Some(class) = row["expected"].strip_prefix("error:") {
        let fitting = match class {
            "corrupt_image" => (422, "image_undecodable"),
            "empty_input" => (400, "invalid_request"),
            "unsupported_format" => (415, "unsupported_media_type"),
            "image_too_large" => (413, "image_too_large"),
            _ => return Some(format!("unknown class {class}")),
        };
        let fine = answer.status == fitting.0 && answer.json["code"] == fitting.1;
        return if fine { None } else { said() };
    }
    if answer.status == 200 {
        let found = answer.json["items"][0]["faces"].as_array().map_or(usize::MAX, Vec::len);
        let bound = |name: &str| row[name].parse::<usize>().unwrap_or_default();
        return if (bound("faces_min")..=bound("faces_max")).contains(&found) { None } else { said() };
    }
    let pixels = row["opencv_decodes_to"].split('x').filter_map(|n| n.parse::<u64>().ok()).product::<u64>();
    let fitting = match answer.json["code"].as_str() {
        Some("image_too_large") => answer.status == 413 && pixels > MAX_PIXELS,
        Some("unsupported_media_type") => answer.status == 415 && row["note"].contains("unsupported-format error"),
        _ => false,
    };
    if fitting { None } else { said() }
}

#[tokio::test]
async fn every_file_gives_its_faces_or_a_fitting_refusal_in_bounded_memory() {
    let Some(folder) = shared_or_skip("data/edge") else { return };
    let rows = read_csv(&folder.join("expected.csv"));
    assert_eq!(rows.len(), 49);
    // A service of its own: its memory is nobody else's doing.
    let app = TestApp::start();
    let client = app.client();
    let (idle, mut wrong) = (still(&app), Vec::new());
    for row in rows.iter().filter(|r| r["expected"] == "error:image_too_large") {
        for _ in 0..4 {
            wrong.extend(judge(row, &ask(&client, &folder, row).await));
        }
    }
    let bombs = app.memory();
    for row in &rows {
        wrong.extend(judge(row, &ask(&client, &folder, row).await));
    }
    let pack = app.memory();
    assert!(wrong.is_empty(), "{wrong:#?}");
    if let (Some(idle), Some(bombs), Some(pack)) = (idle, bombs, pack) {
        let [idle, bombs, pack] = [idle.resident, bombs.peak, pack.peak].map(|b| b >> 20);
        eprintln!("memory in MiB: idle {idle}, peak of the refused bombs {bombs}, of the whole pack {pack}");
        assert!(bombs < idle + REFUSAL_MIB && pack < idle + PACK_MIB, "idle {idle}, bombs {bombs}, pack {pack} MiB");
    }
    drop(client.get("/readyz").await.expect(200));
}
