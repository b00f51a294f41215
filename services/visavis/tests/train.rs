//! `visavis models new` and `visavis train` as a user meets them: the real binary with the real engine, on photos of
//! three people and on faces that are made up.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Person, Picture};

fn visavis(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visavis"));
    command.args(args).env("VISAVIS__MODELS__CACHE_DIR", testkit::cache_dir());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn succeeded(args: &[&str]) -> String {
    let output = visavis(args).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

fn refused(args: &[&str]) -> String {
    let output = visavis(args).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", said(&output));
    said(&output)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Faces that are made up, aligned: a colour for each person, a brightness for each photo.
fn made_up(people: u8, photos: u8) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for person in 0..people {
        let own = folder.path().join(format!("p{person}"));
        fs::create_dir(&own).unwrap();
        for photo in 0..photos {
            let colour =
                [40 + 23 * person, 200 - 17 * person, 60 + 11 * (person % 4)].map(|c: u8| c.saturating_add(9 * photo));
            fs::write(own.join(format!("{photo}.png")), Picture::filled(112, 112, colour).png()).unwrap();
        }
    }
    folder
}

/// A quick run of a small network.
const QUICK: [&str; 10] = [
    "--set",
    "batch.size=8",
    "--set",
    "batch.micro=4",
    "--set",
    "split={ validation = 2, test = 2 }",
    "--set",
    "epochs=2",
    "--set",
    "checkpoint.seconds=0",
];

#[test]
fn a_new_model_has_a_manifest_and_the_weights_of_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let new = |name: &str, seed: &str| {
        let file = folder.path().join(name);
        let told = succeeded(&["models", "new", "mobilefacenet", "--out", text(&file), "--seed", seed, "--dim", "64"]);
        assert!(told.contains("64 values"), "{told}");
        (fs::read(&file).unwrap(), fs::read_to_string(file.with_extension("toml")).unwrap())
    };
    let (first, manifest) = new("a.onnx", "5");
    assert!(first == new("b.onnx", "5").0 && first != new("c.onnx", "6").0);
    assert!(manifest.contains("dim = 64") && manifest.contains("file = \"a.onnx\""), "{manifest}");
    assert!(refused(&["models", "new", "resnet", "--out", "x.onnx"]).contains("iresnet50"));
    assert!(refused(&["models", "new", "vit-t", "--out", "x.bin"]).contains(".onnx"));
}

#[test]
fn killed_in_the_middle_it_goes_on_and_ends_with_the_same_model() {
    let (data, out) = (made_up(8, 3), tempfile::tempdir().unwrap());
    let args = |to: &Path| {
        let first =
            ["train", "--aligned", "--init", "mobilefacenet", "--threads", "2", "--data", text(data.path()), "--out"];
        let args = first.iter().map(|s| (*s).to_owned()).chain([text(to).to_owned()]);
        args.chain(QUICK.iter().map(|s| (*s).to_owned())).collect::<Vec<String>>()
    };
    let start = |to: &Path| -> Child {
        let args = args(to);
        visavis(&args.iter().map(String::as_str).collect::<Vec<_>>())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let killed = out.path().join("killed");
    let mut child = start(&killed);
    let began = Instant::now();
    let steps = || {
        let lines = fs::read_to_string(killed.join("metrics.jsonl")).unwrap_or_default();
        lines.lines().filter(|l| l.starts_with("{\"step\"")).count()
    };
    while steps() < 2 {
        assert!(began.elapsed() < Duration::from_secs(300) && child.try_wait().unwrap().is_none(), "no step was made");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!killed.join("model").exists(), "it was killed before its end");
    let whole = out.path().join("whole");
    for to in [&killed, &whole] {
        assert!(start(to).wait().unwrap().success());
    }
    let model = |of: &Path| fs::read(of.join("model/model.onnx")).unwrap();
    assert!(model(&killed) == model(&whole));
    // The best weights may be early ones: the last ones and all that the optimiser remembers are here.
    let state = |of: &Path| fs::read(of.join("checkpoint.bin")).unwrap();
    assert!(state(&killed) == state(&whole));
    let record: Value = serde_json::from_slice(&fs::read(killed.join("run.json")).unwrap()).unwrap();
    assert_eq!((&record["recipe"]["threads"], record["done"].as_array().unwrap().len()), (&2.into(), 4));
    let manifest = fs::read_to_string(killed.join("model/model.toml")).unwrap();
    assert!(manifest.contains("mobilefacenet-from-scratch") && manifest.contains("commercial = false"), "{manifest}");
}

#[test]
fn photos_are_aligned_trained_on_and_the_model_serves() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for person in Person::ALL {
        let photos = std::iter::once(person.photo()).chain(person.others());
        for (i, photo) in photos.enumerate() {
            // A mirror makes three more people of three, as far as folders go.
            for (label, bytes) in [("", photo.clone()), ("-mirrored", Picture::decode(&photo).mirrored().png())] {
                let own = data.path().join(format!("{}{label}", person.id()));
                fs::create_dir_all(&own).unwrap();
                fs::write(own.join(format!("{i}.png")), bytes).unwrap();
            }
        }
    }
    fs::write(data.path().join("obama/empty.png"), Picture::filled(200, 200, [90; 3]).png()).unwrap();
    let (folder, run) = (text(data.path()), out.path().join("run"));
    let sheet = out.path().join("sheet.png");
    let told = succeeded(&["train", "preview", "--data", folder, "--out", text(&sheet), "--rows", "2"]);
    let sheet = Picture::decode(&fs::read(&sheet).unwrap());
    assert!(told.contains("salt_and_pepper") && sheet.pixels().height() == 2 * 116 + 4);

    let args = ["train", "--data", folder, "--recipe", "fine-tune-head", "--out", text(&run), "--set", "head.views=1"];
    let told = succeeded(&[&args[..], &QUICK].concat());
    assert!(told.contains("parity") && told.contains("difference") && told.contains("fewer than 20 photos"), "{told}");
    let report: Value = serde_json::from_slice(&fs::read(run.join("data.json")).unwrap()).unwrap();
    assert_eq!(report["unusable"][0]["sample"], "obama/empty.png");
    assert!(report["yaw"]["known"] == 18 && report["quality"]["median"].as_f64().unwrap() > 20.0, "{report}");
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("champion") && !page.contains(folder));

    // What came out is a model like any other.
    let pairs = out.path().join("pairs.csv");
    fs::write(&pairs, "left,right,same\nobama/0.png,obama/1.png,1\nobama/0.png,biden/0.png,0\n").unwrap();
    let model = run.join("model");
    let measured = succeeded(&[
        "eval",
        "verification",
        "--pairs",
        text(&pairs),
        "--images",
        folder,
        "--manifest-dir",
        text(&model),
        "--embedder",
        "sface-fine-tune-head",
    ]);
    assert!(measured.contains("sface-fine-tune-head"), "{measured}");
}

#[test]
fn what_cannot_be_trained_is_said_in_a_sentence() {
    let (data, out) = (made_up(1, 3), tempfile::tempdir().unwrap());
    let run = out.path().join("run");
    let with = |more: &[&str]| {
        let args = ["train", "--aligned", "--data", text(data.path()), "--out", text(&run), "--init", "mobilefacenet"];
        refused(&[&args[..], more].concat())
    };
    assert!(with(&[]).contains("training tells people apart"));
    assert!(with(&["--set", "optimiser.learning_rat=1"]).contains("learning_rat"));
    assert!(with(&["--recipe", "best"]).contains("fine-tune-tail"));
    assert!(with(&["--recipe", "nowhere.toml"]).contains("nowhere.toml"));
    fs::write(data.path().join("p0/0.png"), Picture::filled(100, 100, [9; 3]).png()).unwrap();
    fs::remove_file(data.path().join("p0/1.png")).unwrap();
    fs::remove_file(data.path().join("p0/2.png")).unwrap();
    let told = with(&[]);
    assert!(told.contains("none of the 1 photos") && told.contains("112×112"), "{told}");
    let nobody = tempfile::tempdir().unwrap();
    assert!(refused(&["train", "--data", text(nobody.path())]).contains("a folder for each person"));
    assert!(refused(&["train", "--data", text(nobody.path()), "--init", "nothing"]).contains("nothing"));
}
