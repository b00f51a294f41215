//! Embed: embeddings of the faces of each image, item by item.

use domain::{Problem, Template};
use futures::future::join_all;
use wire::v1::{EmbedReply, EmbedRequest, Embedding, Image, embed_reply::FaceEmbedding, embed_reply::Item};

use super::Desk;
use crate::pipeline::Context;

pub(super) async fn run(desk: &Desk, request: EmbedRequest, context: &Context) -> Result<EmbedReply, Problem> {
    let max_faces = request.max_faces as usize;
    let items = join_all(request.images.into_iter().map(|image| one(desk, image, max_faces, context))).await;
    Ok(EmbedReply { items })
}

async fn one(desk: &Desk, image: Image, max_faces: usize, context: &Context) -> Item {
    match desk.pipeline.analyse(image.data, max_faces, context).await {
        Ok(analysis) => {
            let face = |f: &crate::AnalysedFace| FaceEmbedding {
                face: Some((&f.face).into()),
                embedding: Some(embedding(&f.template)),
            };
            let faces = analysis.faces.iter().map(face).collect();
            Item { width: analysis.width, height: analysis.height, faces, problem: None }
        }
        Err(problem) => Item { problem: Some(problem.into()), ..Item::default() },
    }
}

fn embedding(t: &Template) -> Embedding {
    Embedding { contract: t.contract().to_string(), values: t.to_f32() }
}
