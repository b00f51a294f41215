//! Verify: one face against the templates of one subject, 1:1.

use std::sync::Arc;

use domain::{Decision, ErrorCode, Face, Problem, Purpose, SubjectId, Template, TenantId, Timestamp, decide};
use store::{Lookup, Subjects};
use wire::v1::{VerifyReply, VerifyRequest, reply::Outcome};

use super::{Desk, Done, cosine, purpose, resolved::Resolved, store_problem};
use crate::{
    choose::{choose, faces_needed},
    pipeline::Context,
    stages::search::{Scope, current, search},
};

pub(super) async fn run(
    desk: &Desk,
    tenant: &TenantId,
    request: VerifyRequest,
    context: &Context,
) -> Result<Done, Problem> {
    let resolved = desk.collection(tenant, &request.collection_id).await?;
    let collection = &resolved.collection;
    let purpose = purpose(collection, &request.purpose)?;
    let subject = SubjectId::new(&request.subject_id).map_err(|e| Problem::invalid("subject_id", e.to_string()))?;
    let threshold = resolved.threshold(request.threshold, desk.config.verification, 1)?;
    let subjects = desk.subjects(tenant, &collection.id);
    known(subjects.get(&subject).await.map_err(store_problem)?, &subject)?;

    let (face, template) = probe(&resolved, request, context).await?;
    desk.fence.check()?;
    let gallery = current(&desk.galleries, tenant, collection, context).await?;
    let at = desk.galleries.now();
    let scope = Scope { purpose: purpose.clone(), at, limit: 1, filter: None, subjects: Some(vec![subject.clone()]) };
    let hits = search(&desk.pipeline.cpu, &gallery, vec![template], scope, context).await?;
    let Some(best) = hits.into_iter().next().and_then(|h| h.hits.into_iter().next()) else {
        // It may have been erased between the look-up and the search.
        known(subjects.get(&subject).await.map_err(store_problem)?, &subject)?;
        permitted(&subjects, &subject, &purpose, at).await?;
        let detail = format!("subject {subject} has no enrolled face to compare with");
        return Err(Problem::new(ErrorCode::FaceNotFound, detail));
    };
    let score = cosine(best.score);
    let (decision, _) = decide(&[score], threshold.score, 0.0);
    if decision == Decision::Match {
        desk.seen.note(tenant, collection, &subject);
    }
    let reply = VerifyReply {
        face: face.as_ref().map(Into::into),
        decision: wire::v1::Decision::from(decision).into(),
        score,
        fmr_at_score: resolved.calibration.fmr_at(score),
        face_id: best.face_id.to_string(),
        threshold: Some(threshold.into()),
        revision: gallery.revision().0,
    };
    Ok(Done { outcome: Outcome::Verify(reply), model_version: Arc::clone(&resolved.served.version) })
}

/// `consent_required` unless a consent of the subject covers the purpose.
async fn permitted(subjects: &Subjects, subject: &SubjectId, purpose: &Purpose, at: Timestamp) -> Result<(), Problem> {
    let consents = subjects.consents(subject).await.map_err(store_problem)?;
    if consents.iter().any(|c| c.value.serves(std::slice::from_ref(purpose), at)) {
        return Ok(());
    }
    let detail = format!("subject {subject} has no consent in force for {purpose}");
    Err(Problem::new(ErrorCode::ConsentRequired, detail))
}

/// The face to compare: of the image, or the caller's own embedding.
async fn probe(
    resolved: &Resolved,
    request: VerifyRequest,
    context: &Context,
) -> Result<(Option<Face>, Template), Problem> {
    let selection = request.face_selection();
    if let Some(e) = &request.embedding {
        return Ok((None, resolved.probe(e)?));
    }
    let image = request.image.ok_or_else(|| Problem::invalid("/image", "an image or an embedding is needed"))?;
    let found = resolved.served.pipeline.detect(image.data, faces_needed(selection), context).await?;
    let chosen = choose(&found.faces, selection)?;
    let template = resolved.served.pipeline.embed_one(&chosen.crop, context).await?;
    Ok((Some(chosen.face.clone()), template))
}

/// `subject_not_found` or `erased` unless the subject is there.
fn known(lookup: Lookup, subject: &SubjectId) -> Result<(), Problem> {
    match lookup {
        Lookup::Found(_) => Ok(()),
        Lookup::Erased(at) => Err(Problem::new(ErrorCode::Erased, format!("subject {subject} was erased at {at}"))),
        Lookup::Absent => {
            Err(Problem::new(ErrorCode::SubjectNotFound, format!("there is no subject {subject} in the collection")))
        }
    }
}
