//! A batch of n gives what n single runs give.

use domain::Landmarks;
use serde_json::json;
use testkit::{Person, Picture, TestApp, encoded};
use vision::{Alignment, Rgb8};

use crate::{cosine, pipeline::Models};

/// Crops that differ: parts of the photos, laid on the template's points by scale alone.
fn crops(n: usize) -> Vec<Rgb8> {
    let pictures: Vec<Picture> = Person::ALL
        .into_iter()
        .flat_map(|p| [vec![p.photo()], p.others()].concat())
        .map(|b| Picture::decode(&b))
        .collect();
    let points = Alignment::Arcface112.points();
    let cut = |i: usize| {
        let picture = &pictures[i % pictures.len()];
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let (scale, shift) = (1.2 + 0.1 * (i % 7) as f32, 3.0 * i as f32);
        let moved = points.map(|[x, y]| [x * scale + shift, y * scale + shift / 2.0]);
        vision::align(picture.pixels(), &Landmarks(moved), Alignment::Arcface112).expect("five points")
    };
    (0..n).map(cut).collect()
}

#[tokio::test]
async fn embeddings_of_a_batch_are_those_of_singles() {
    let models = Models::with("sface").await;
    let crops = crops(19);
    let together = models.embed(&crops).await;
    for (i, crop) in crops.iter().enumerate() {
        let alone = models.embed(std::slice::from_ref(crop)).await;
        let difference = alone[0].iter().zip(&together[i]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Templates are half floats: the last bit of the largest value is 2⁻¹².
        assert!(difference <= 0.001, "face {i} differs by {difference}");
        assert!(cosine(&alone[0], &together[i]) > 0.99999, "face {i}");
    }
    let different = cosine(&together[0], &together[1]);
    assert!(different < 0.99, "the crops differ, or this test shows nothing: {different}");
}

#[tokio::test]
async fn images_sent_together_are_answered_as_if_sent_alone() {
    let client = TestApp::shared().client();
    let photos: Vec<_> = Person::ALL.into_iter().flat_map(|p| [vec![p.photo()], p.others()].concat()).collect();
    let body = json!({"images": photos.iter().map(encoded).collect::<Vec<_>>()});
    let together = client.post("/v1/embeddings", &body).await.ok();
    for (i, photo) in photos.iter().enumerate() {
        let alone = client.embeddings(photo.clone()).await.ok();
        let (one, many) = (&alone["items"][0]["faces"], &together["items"][i]["faces"]);
        let boxes = |faces: &serde_json::Value| {
            faces.as_array().map(|f| f.iter().map(|f| f["box"].clone()).collect::<Vec<_>>())
        };
        assert_eq!(boxes(one).map(|b| b.len()), boxes(many).map(|b| b.len()), "image {i}");
        let values = |v: &serde_json::Value| -> Vec<f32> {
            let list = v[0]["embedding"]["values"].as_array().expect("values");
            #[expect(clippy::cast_possible_truncation, reason = "it was a single-precision number")]
            list.iter().map(|x| x.as_f64().expect("a number") as f32).collect()
        };
        assert!(cosine(&values(one), &values(many)) > 0.9999, "image {i}");
    }
}
