//! Compare: one source face against the best-matching face of each target image.

use domain::{Decision, ErrorCode, Problem, ResolvedThreshold, Template, decide};
use futures::future::join_all;
use wire::v1::{CompareReply, CompareRequest, Image, compare_reply::Item};

use super::Desk;
use crate::{
    choose::{choose, faces_needed},
    pipeline::Context,
};

pub(super) async fn run(desk: &Desk, request: CompareRequest, context: &Context) -> Result<CompareReply, Problem> {
    let selection = request.face_selection();
    let threshold = desk.threshold(request.threshold, desk.config.verification, 1)?;
    let source = request.source.ok_or_else(|| Problem::invalid("/source", "a source image is needed"))?;
    let found = desk.pipeline.detect(source.data, faces_needed(selection), context).await;
    let found = found.map_err(|p| about("source", p))?;
    let chosen = choose(&found.faces, selection).map_err(|p| about("source", p))?;
    let source = desk.pipeline.embed_one(&chosen.crop, context).await?;
    let targets = request.targets.into_iter().map(|image| one(desk, image, &source, &threshold, context));
    let items = join_all(targets).await;
    Ok(CompareReply { source_face: Some((&chosen.face).into()), items, threshold: Some(threshold.into()) })
}

async fn one(desk: &Desk, image: Image, source: &Template, threshold: &ResolvedThreshold, context: &Context) -> Item {
    match compared(desk, image, source, threshold, context).await {
        Ok(item) => item,
        Err(problem) => Item { problem: Some(problem.into()), ..Item::default() },
    }
}

async fn compared(
    desk: &Desk,
    image: Image,
    source: &Template,
    threshold: &ResolvedThreshold,
    context: &Context,
) -> Result<Item, Problem> {
    let analysis = desk.pipeline.analyse(image.data, 0, context).await?;
    let scored = analysis.faces.iter().filter_map(|f| Some((f, f64::from(source.score(&f.template)?))));
    let best = scored.max_by(|a, b| a.1.total_cmp(&b.1));
    let (face, score) = best.ok_or_else(|| Problem::new(ErrorCode::NoFace, "no face was found in the target image"))?;
    let (decision, _): (Decision, _) = decide(&[score], threshold.score, 0.0);
    Ok(Item {
        face: Some((&face.face).into()),
        score,
        fmr_at_score: desk.calibration.fmr_at(score),
        decision: wire::v1::Decision::from(decision).into(),
        problem: None,
    })
}

/// Says which of several images a problem is about.
fn about(which: &str, mut problem: Problem) -> Problem {
    problem.detail = format!("{which}: {}", problem.detail);
    problem
}
