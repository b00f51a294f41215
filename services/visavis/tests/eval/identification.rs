//! `visavis eval identification`: people and strangers, failures counted against, and a gallery of hundreds where there
//! are pictures for it.

use std::fs;

use serde_json::Value;

use super::{Photos, assert_names_no_folder, evaluated, file, json, lfw, text_of};

#[test]
fn people_strangers_and_failures_by_hand() {
    let photos = Photos::new();
    fs::copy(photos.path().join("empty.png"), photos.path().join("empty2.png")).unwrap();
    fs::copy(photos.path().join("empty.png"), photos.path().join("empty3.png")).unwrap();
    let enrol =
        "image,subject,cohort\nobama/0.png,Obama,a\nobama/1.png,Obama,a\nbiden/0.png,Biden,b\nempty.png,Ghost,b\n";
    // Mated: three found, one whose probe fails, one who has no template. Strangers: two with a name that is not
    // enrolled, one without a name, one whose probe fails.
    let probes = "subject,image,cohort\nObama,obama/2.png,\nBiden,biden/1.png,\nBiden,biden/2.png,\nBiden,empty2.png,\n\
                  Ghost,astronaut/0.png,\nAstronaut,astronaut/1.png,a\n,astronaut/2.png,b\nNobody,empty3.png,\n";
    let enrol = file(photos.path(), "enrol.csv", enrol);
    let probes = file(photos.path(), "probes.csv", probes);
    let out = photos.path().join("out");
    let said = evaluated(&["identification", "--enrol", &enrol, "--probes", &probes, "--report", &text_of(&out)]);
    assert!(said.contains("Not enrolled, hence strangers: Astronaut, Nobody."), "{said}");

    let r = json(&out.join("report.json"));
    assert_eq!(r["schema"], "visavis.eval.identification/1");
    let s = &r["report"]["searches"];
    let counts =
        ["mated", "non_mated", "mated_failed", "mates_missing", "non_mated_failed"].map(|k| s[k].as_u64().unwrap());
    assert_eq!(counts, [5, 3, 1, 1, 1]);
    let e = &r["enrolment"];
    assert_eq!(
        ["subjects", "images", "failed_images", "failed_subjects"].map(|k| e[k].as_u64().unwrap()),
        [3, 4, 1, 1]
    );
    let rank = |i: usize| r["report"]["ranks"][i]["value"].as_f64().unwrap();
    assert!((rank(0) - 0.6).abs() < 1e-12 && (rank(2) - 0.6).abs() < 1e-12, "three of five, however long the list");
    // Between the strangers' scores and the mates' everything is told apart but the two that came to nothing.
    let at = r["report"]["fnir_at_fpir"].as_array().unwrap().first().unwrap().clone();
    assert!((at["fnir"]["value"].as_f64().unwrap() - 0.4).abs() < 1e-12, "{at}");
    let stranger = r["worst"]["non_mated"][0].clone();
    // The lowest threshold that lets no stranger pass lies just above the best of them.
    let above = at["threshold"].as_f64().unwrap() - stranger["score"].as_f64().unwrap();
    assert!(above.abs() < 1e-9, "{above}");
    assert_eq!(r["worst"]["mated"].as_array().unwrap().len(), 3);
    let service: Vec<&Value> = r["service"]["points"].as_array().unwrap().iter().collect();
    assert!(service.iter().all(|p| p["fpir"]["value"] == 0.0), "the calibration keeps strangers out: {service:?}");
    // Ghost and Biden's failed probe are of cohort b, and so is one of the strangers.
    let b = r["cohorts"]["report"]["rows"][1].clone();
    assert_eq!((b["cohort"].as_str(), b["mated"].as_u64(), b["non_mated"].as_u64()), (Some("b"), Some(4), Some(1)));
    assert!((b["fnmr"]["value"].as_f64().unwrap() - 0.5).abs() < 1e-12, "{b}");

    let page = fs::read_to_string(out.join("report.html")).unwrap();
    for part in ["Obama: obama/2.png", "Open set: FNIR against FPIR", "CMC", "empty3.png", "Nobody"] {
        assert!(page.contains(part), "{part}");
    }
    assert_names_no_folder(&out, &[photos.path()]);
}

#[test]
fn a_gallery_of_people_with_a_single_photo_each() {
    let Some(folder) = lfw() else { return };
    let pictures = |person: &str| -> Vec<String> {
        let mut all: Vec<String> = fs::read_dir(folder.join(person))
            .unwrap()
            .map(|e| format!("{person}/{}", e.unwrap().file_name().into_string().unwrap()))
            .collect();
        all.sort();
        all
    };
    let mut people: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .filter(|e| e.path().is_dir())
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    people.sort();
    let (mut enrol, mut probes) = ("subject,image\n".to_owned(), "subject,image\n".to_owned());
    let (mut mates, mut strangers) = (0, 0);
    for person in people {
        match pictures(&person).as_slice() {
            [first, second, ..] if mates < 60 => {
                enrol += &format!("{person},{first}\n");
                probes += &format!("{person},{second}\n");
                mates += 1;
            }
            [only] if strangers < 60 => {
                probes += &format!(",{only}\n");
                strangers += 1;
            }
            _ => {}
        }
    }
    let work = tempfile::tempdir().unwrap();
    let (enrol, probes) = (file(work.path(), "enrol.csv", &enrol), file(work.path(), "probes.csv", &probes));
    let figures = work.path().join("out.json");
    let (images, to) = (text_of(&folder), text_of(&figures));
    evaluated(&["identification", "--enrol", &enrol, "--probes", &probes, "--images", &images, "--json", &to]);
    let r = json(&figures);
    let first = r["report"]["ranks"][0]["value"].as_f64().unwrap();
    assert!(first >= 0.95, "{}", r["report"]["ranks"]);
    let curve = r["report"]["curve"].as_array().unwrap();
    assert!(curve.len() > 20 && curve[0]["fpir"] == 0.0, "{}", curve.len());
}
