//! Faces that one look at the picture does not show: lost in a large picture, or filling a small one to its edges.

use std::fs;

use testkit::{Person, Picture, shared_or_skip};

use crate::pipeline::Models;

#[tokio::test]
async fn a_small_face_in_a_large_picture_is_found_in_tiles() {
    let models = Models::with("sface").await;
    // A portrait of 120 pixels in the corner of 5.8 megapixels: on a canvas of 640 some ten pixels of it are left.
    let small = Picture::decode(&Person::Astronaut.photo()).at_most(160);
    let large = Picture::filled(2400, 2400, [90, 110, 100]).beside(&small);
    let found = models.analyse(large.png(), 0).await;
    assert_eq!(found.faces.len(), 1, "the face is found, and found once though tiles overlap");
    let x = found.faces[0].face.bounding_box.x;
    assert!(x >= 2400.0, "it lies where it was put, not at {x}");
    let nobody = models.analyse(Picture::filled(2400, 2400, [90, 110, 100]).png(), 0).await;
    assert_eq!(nobody.faces.len(), 0);
}

#[tokio::test]
async fn every_picture_of_one_person_has_a_face() {
    let Some(folder) = shared_or_skip("data/people") else { return };
    let models = Models::with("sface").await;
    let (mut pictures, mut without) = (0, Vec::new());
    for row in testkit::read_csv(&folder.join("MANIFEST.csv")).iter().filter(|r| r["path"].starts_with("dlib_")) {
        let image = fs::read(folder.join(&row["path"])).expect("a picture of the list");
        pictures += 1;
        if models.analyse(image.into(), 1).await.faces.is_empty() {
            without.push(row["path"].clone());
        }
    }
    eprintln!("tight crops: {} of {pictures} without a face", without.len());
    assert!(pictures > 40 && without.is_empty(), "{without:?}");
}
