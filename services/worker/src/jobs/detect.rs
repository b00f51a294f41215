//! Detect: faces of each image, item by item.

use domain::Problem;
use futures::future::join_all;
use wire::v1::{DetectReply, DetectRequest, Image, detect_reply::Item};

use super::Desk;
use crate::pipeline::Context;

pub(super) async fn run(desk: &Desk, request: DetectRequest, context: &Context) -> Result<DetectReply, Problem> {
    let max_faces = request.max_faces as usize;
    let items = join_all(request.images.into_iter().map(|image| one(desk, image, max_faces, context))).await;
    Ok(DetectReply { items })
}

async fn one(desk: &Desk, image: Image, max_faces: usize, context: &Context) -> Item {
    match desk.pipeline.detect(image.data, max_faces, context).await {
        Ok(found) => Item {
            width: found.width,
            height: found.height,
            faces: found.faces.iter().map(|f| (&f.face).into()).collect(),
            problem: None,
        },
        Err(problem) => Item { problem: Some(problem.into()), ..Item::default() },
    }
}
