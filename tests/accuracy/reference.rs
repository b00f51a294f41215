//! Parity with the reference pipeline on one photo of each of 39 people.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use domain::Landmarks;
use serde_json::Value;
use testkit::{AppOptions, Picture, TestApp, shared_or_skip};
use vision::{Alignment, Rgb8};

use crate::{cosine, pipeline::Models};

/// One face of the reference.
struct Reference {
    name: String,
    image: Bytes,
    box_width: f64,
    landmarks: [[f32; 2]; 5],
    embeddings: Value,
}

impl Reference {
    fn embedding(&self, model: &str) -> Vec<f32> {
        numbers(&self.embeddings[model])
    }

    /// The crop that the reference's own landmarks give.
    fn crop(&self) -> Rgb8 {
        let picture = Picture::decode(&self.image);
        vision::align(picture.pixels(), &Landmarks(self.landmarks), Alignment::Arcface112).expect("five points")
    }
}

#[expect(clippy::cast_possible_truncation, reason = "written with five digits")]
fn numbers(list: &Value) -> Vec<f32> {
    list.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number") as f32).collect()
}

fn references() -> Option<Vec<Reference>> {
    let (file, data): (PathBuf, PathBuf) = (shared_or_skip("reference/reference-faces.json")?, shared_or_skip("data")?);
    let json: Value = serde_json::from_slice(&fs::read(file).expect("the reference")).expect("JSON");
    let read = |face: &Value| {
        let name = face["image"].as_str().expect("a path").to_owned();
        let points: Vec<[f32; 2]> =
            face["landmarks"].as_array().expect("points").iter().map(|p| [0, 1].map(|i| numbers(p)[i])).collect();
        Reference {
            image: fs::read(data.join(&name)).expect("a photo of the reference").into(),
            name,
            box_width: face["box"][2].as_f64().expect("a width"),
            landmarks: points.try_into().expect("five points"),
            embeddings: face.clone(),
        }
    };
    let all: Vec<_> = json["faces"].as_array().expect("faces").iter().map(read).collect();
    assert_eq!(all.len(), 39);
    Some(all)
}

/// Largest distance of a point to the reference's, as a share of the box's width.
fn landmark_error(face: &Value, reference: &Reference) -> f64 {
    let points = face["landmarks"].as_array().expect("points");
    let distances = points.iter().zip(reference.landmarks).map(|(p, r)| {
        let p = numbers(p);
        f64::from(p[0] - r[0]).hypot(f64::from(p[1] - r[1])) / reference.box_width
    });
    distances.fold(0.0, f64::max)
}

#[tokio::test]
async fn landmarks_and_embeddings_of_the_service_are_the_references() {
    let Some(references) = references() else { return };
    // The reference enlarges small pictures to 640, which the service does only if told to.
    let canvas = ("VISAVIS__WORKER__DETECTOR_CANVAS_LEAST".to_owned(), "640".to_owned());
    let app = TestApp::start_with(AppOptions { environment: vec![canvas], ..AppOptions::default() });
    let client = app.client();
    let (mut near, mut worst, mut told) = (0, 1.0f64, Vec::new());
    for reference in &references {
        let answer = client.embeddings(reference.image.clone()).await.ok();
        let face = &answer["items"][0]["faces"][0];
        assert!(face.is_object(), "{}: no face", reference.name);
        let similarity = cosine(&numbers(&face["embedding"]["values"]), &reference.embedding("sface"));
        let distance = landmark_error(face, reference);
        if similarity >= 0.99 && distance <= 0.03 {
            near += 1;
        } else {
            told.push(format!("{}: cosine {similarity:.4}, landmarks {:.1} %", reference.name, distance * 100.0));
        }
        worst = worst.min(similarity);
    }
    eprintln!("parity: {near} of 39 within 3 % and 0.99, least cosine {worst:.4}; others: {told:#?}");
    assert!(near >= 37, "{near} of 39; {told:#?}");
    assert!(worst >= 0.97, "least cosine {worst}; {told:#?}");
}

/// Cosines to the reference, with the reference's landmarks and the crops changed by `change`.
async fn with_given_landmarks(model: &str, change: impl Fn(Rgb8) -> Rgb8) -> Option<Vec<f64>> {
    let references = references()?;
    let models = Models::with(model).await;
    let crops: Vec<Rgb8> = references.iter().map(|r| change(r.crop())).collect();
    let embeddings = models.embed(&crops).await;
    Some(references.iter().zip(&embeddings).map(|(r, e)| cosine(e, &r.embedding(model))).collect())
}

fn least(cosines: &[f64]) -> f64 {
    cosines.iter().copied().fold(1.0, f64::min)
}

#[tokio::test]
async fn with_the_references_landmarks_sface_agrees() {
    let Some(cosines) = with_given_landmarks("sface", |c| c).await else { return };
    eprintln!("sface, landmarks given: least cosine {:.5}", least(&cosines));
    assert!(least(&cosines) >= 0.998, "{cosines:?}");
}

#[tokio::test]
async fn with_the_references_landmarks_w600k_mbf_agrees() {
    let Some(cosines) = with_given_landmarks("w600k_mbf", |c| c).await else { return };
    eprintln!("w600k_mbf, landmarks given: least cosine {:.5}", least(&cosines));
    assert!(least(&cosines) >= 0.998, "{cosines:?}");
}

/// The bound above is tight enough to notice exchanged channels: with them, next to no photo would keep it.
#[tokio::test]
async fn exchanged_red_and_blue_would_be_noticed() {
    let swap = |mut crop: Rgb8| {
        crop.data_mut().as_chunks_mut::<3>().0.iter_mut().for_each(|p| p.swap(0, 2));
        crop
    };
    for model in ["sface", "w600k_mbf"] {
        let Some(cosines) = with_given_landmarks(model, swap).await else { return };
        let kept = cosines.iter().filter(|c| **c >= 0.998).count();
        let mean = cosines.iter().sum::<f64>() / 39.0;
        eprintln!("{model}, red and blue exchanged: mean cosine {mean:.4}, {kept} of 39 at 0.998");
        assert!(kept <= 2, "{model}: {cosines:?}");
    }
}
