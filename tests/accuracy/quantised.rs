//! A real quantisation of the real embedder by the real binary on a handful of photos: the file it makes, the
//! templates that are made with it, and what is said when it cannot be done.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use ::models::{Catalogue, Manifest};
use tempfile::TempDir;
use testkit::{Fixture, Person, binary, cache_dir, fixture};

use crate::{cosine, models, pipeline::Models};

/// Photos the ranges are found on. The shown figures are from hundreds; for these few the bound is wider.
const CALIBRATION: [Fixture; 5] =
    [Fixture::Obama2, Fixture::Obama3, Fixture::ObamaPartial, Fixture::Biden, Fixture::Astronaut];

/// Least cosine of the two embeddings of a photo. Measured 0.99 with five photos.
const AGREES: f64 = 0.975;

fn visavis(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).arg("--cache-dir").arg(cache_dir());
    command.output().expect("the binary runs")
}

fn quantise(photos: &Path, out: &Path) -> Output {
    let path = |p: &Path| p.to_str().expect("a plain path").to_owned();
    visavis(&["models", "quantize", "--calibration", &path(photos), "--out", &path(out)])
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

fn photos() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (i, photo) in CALIBRATION.into_iter().enumerate() {
        let ending = if photo == Fixture::Astronaut { "png" } else { "jpg" };
        fs::write(folder.path().join(format!("{i}.{ending}")), fixture(photo)).expect("a photo");
    }
    fs::write(folder.path().join("notes.txt"), "no photo").expect("a file");
    fs::write(folder.path().join("broken.jpg"), "no photo either").expect("a file");
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedder_in_8_bits_is_a_quarter_the_size_and_gives_nearly_the_same_embeddings() {
    // The models are in the cache before the binary looks for them.
    let float = Models::with("sface").await;
    let (photos, made) = (photos(), tempfile::tempdir().expect("a folder"));
    let [first, second] = ["first.onnx", "second.onnx"].map(|name| made.path().join(name));
    for out in [&first, &second] {
        let done = quantise(photos.path(), out);
        assert!(done.status.success(), "{}", said(&done));
        assert!(said(&done).contains("on 5 samples"), "one photo is unusable, one file is none: {}", said(&done));
    }
    let bytes = fs::read(&first).expect("the model");
    assert!(bytes == fs::read(&second).expect("the model"), "the same photos give the same file");
    assert!((9_000_000..11_000_000).contains(&bytes.len()), "{}", bytes.len());

    let manifest = Manifest::from_path(&first.with_extension("toml")).expect("its manifest");
    assert_eq!((manifest.name.as_str(), manifest.licence.as_str()), ("sface-int8", "Apache-2.0"));
    let mut catalogue = Catalogue::built_in().expect("the built-in manifests");
    let shipped = catalogue.embedder("sface").expect("sface").clone();
    assert_ne!(manifest.contract(), shipped.contract(), "templates of the two are never compared");
    assert_eq!(
        manifest.calibration("yunet").expect("a table").points(),
        shipped.calibration("yunet").expect("one").points()
    );
    catalogue.add(manifest);
    let narrow = Models::of(models::load_from(catalogue, "sface-int8").await).await;
    for photo in [Person::Obama.photo(), Person::Biden.photo(), Person::Astronaut.photo(), fixture(Fixture::Obama)] {
        let (a, b) = (float.analyse(photo.clone(), 1).await, narrow.analyse(photo, 1).await);
        let (a, b) = (&a.faces[0].template, &b.faces[0].template);
        assert!(a.score(b).is_none());
        let alike = cosine(&a.to_f32(), &b.to_f32());
        assert!(alike > AGREES, "{alike}");
    }
}

#[test]
fn a_quantisation_that_cannot_be_done_says_why_and_leaves_no_file() {
    let empty = tempfile::tempdir().expect("a folder");
    let out = empty.path().join("out.onnx");
    let faceless = tempfile::tempdir().expect("a folder");
    let grey = testkit::Picture::decode(&fixture(Fixture::Astronaut)).cropped(0, 300, 60, 60);
    fs::write(faceless.path().join("grey.png"), grey.png()).expect("a picture");
    let cases = [
        (empty.path(), out.clone(), "there are no photos"),
        (faceless.path(), out.clone(), "none holds a face"),
        (Path::new("/no/such/folder"), out.clone(), "/no/such/folder"),
        (faceless.path(), empty.path().join("out.txt"), "ends in .onnx"),
    ];
    for (photos, out, why) in cases {
        let done = quantise(photos, &out);
        assert!(!done.status.success() && said(&done).contains(why), "{why}: {}", said(&done));
        assert!(!out.exists() && !out.with_extension("toml").exists());
    }
}

#[test]
fn asking_for_8_bits_without_the_file_names_the_command() {
    let cache = tempfile::tempdir().expect("a folder");
    let done = Command::new(binary())
        .args(["models", "fetch", "--offline", "--precision", "int8", "--cache-dir"])
        .arg(cache.path())
        .output()
        .expect("the binary runs");
    assert!(!done.status.success());
    assert!(said(&done).contains("visavis models quantize --calibration DIR --embedder sface"), "{}", said(&done));
}
