//! Templates of faces by every model that a collection writes: the one that answers, one that is being prepared, one that
//! is kept to come back. Called by enrolments.

use domain::{ErrorCode, FaceTemplates, Problem, TenantId};
use vision::Rgb8;

use super::{Desk, resolved::Resolved};
use crate::pipeline::Context;

/// The templates of each crop, in order. A model beside the one that answers and cannot be loaded here is left out: an
/// enrolment does not wait for a promotion, which finds such faces by itself before it switches.
///
/// # Errors
/// `inference_failed`, `overloaded` or `deadline_exceeded`.
pub(super) async fn of(
    desk: &Desk,
    tenant: &TenantId,
    resolved: &Resolved,
    crops: &[Rgb8],
    context: &Context,
) -> Result<Vec<FaceTemplates>, Problem> {
    let crops: Vec<&Rgb8> = crops.iter().collect();
    let answering = resolved.served.pipeline.embed(&crops, context).await?;
    let mut all: Vec<FaceTemplates> = answering.into_iter().map(FaceTemplates::from).collect();
    for model in resolved.collection.serving().written().skip(1) {
        let further = match desk.shelf.get(tenant, model).await {
            Ok(served) => served.pipeline.embed(&crops, context).await?,
            Err(problem) => {
                tracing::warn!(contract = %model.contract, detail = problem.detail, "a face is enrolled without a template of this model");
                continue;
            }
        };
        if further.len() != all.len() {
            return Err(Problem::new(ErrorCode::InferenceFailed, "the embedder gave no output for some faces"));
        }
        all.iter_mut().zip(further).for_each(|(face, template)| face.put(template));
    }
    Ok(all)
}
