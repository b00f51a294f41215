//! From the worker's reply to the documented answer. A reply of another version that cannot be read is `internal`.

use domain::{Candidate, EnrolledFace, ErrorCode, Face, FieldError, Problem, Quality};
use wire::{
    WireError,
    v1::{self, Reply, reply::Outcome},
};

use super::{
    Answer, CompareAnswer, CompareItem, DetectAnswer, DetectItem, EmbedAnswer, EmbedItem, EmbeddedFace, Embedding,
    EnrolAnswer, GateAnswer, IdentifyAnswer, IdentifyResult, ItemProblem, RejectedImage, VerifyAnswer,
};

/// The reply as an answer. The only image of a request that failed is the request's own problem.
pub(crate) fn answer(reply: Reply) -> Result<Answer, Problem> {
    let unreadable = |e: WireError| {
        tracing::error!(error = %e, worker = reply.worker, "reply");
        Problem::new(ErrorCode::Internal, "a worker's reply cannot be read; are gateway and worker of one version?")
    };
    let model_version = reply.model_version;
    match reply.outcome {
        Some(Outcome::Problem(p)) => Err(p.into()),
        Some(Outcome::Detect(r)) => {
            only(&r.items, |i| i.problem.as_ref())?;
            detect(r, model_version).map(Answer::Detect).map_err(unreadable)
        }
        Some(Outcome::Compare(r)) => {
            only(&r.items, |i| i.problem.as_ref())?;
            compare(r, model_version).map(Answer::Compare).map_err(unreadable)
        }
        Some(Outcome::Embed(r)) => {
            only(&r.items, |i| i.problem.as_ref())?;
            embed(r, model_version).map(Answer::Embed).map_err(unreadable)
        }
        Some(Outcome::Enrol(r)) => enrol(r, model_version).map(Answer::Enrol).map_err(unreadable),
        Some(Outcome::Identify(r)) => {
            only(&r.results, |i| i.problem.as_ref())?;
            identify(r, model_version).map(Answer::Identify).map_err(unreadable)
        }
        Some(Outcome::Verify(r)) => verify(r, model_version).map(Answer::Verify).map_err(unreadable),
        Some(Outcome::Gate(r)) if r.passed => {
            Ok(Answer::Gate(GateAnswer { reasons: r.reasons, generation: r.generation }))
        }
        Some(Outcome::Gate(r)) => Err(gate_failed(&r.reasons)),
        // Asked for by the service itself, never by a caller.
        Some(Outcome::CatchUp(_) | Outcome::Prepare(_)) | None => {
            Err(unreadable(WireError::Field { field: "outcome" }))
        }
    }
}

/// Why a model did not pass; the whole report is on its card.
fn gate_failed(reasons: &[String]) -> Problem {
    let error = |detail: &String| FieldError { pointer: "gate".to_owned(), detail: detail.clone() };
    let detail = "the model did not pass the gate; its card has the report";
    Problem { errors: reasons.iter().map(error).collect(), ..Problem::new(ErrorCode::GateFailed, detail) }
}

fn only<T>(items: &[T], problem: impl Fn(&T) -> Option<&v1::Problem>) -> Result<(), Problem> {
    match items {
        [one] => problem(one).map_or(Ok(()), |p| Err(p.clone().into())),
        _ => Ok(()),
    }
}

fn item_problem(p: Option<v1::Problem>) -> Option<ItemProblem> {
    let p = Problem::from(p?);
    Some(ItemProblem { code: p.code, detail: p.detail })
}

fn face(f: Option<v1::Face>) -> Result<Option<Face>, WireError> {
    f.map(Face::try_from).transpose()
}

fn needed<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Field { field })
}

fn detect(r: v1::DetectReply, model_version: String) -> Result<DetectAnswer, WireError> {
    let item = |i: v1::detect_reply::Item| {
        let faces = i.faces.into_iter().map(Face::try_from).collect::<Result<_, _>>()?;
        Ok(DetectItem { width: i.width, height: i.height, faces, problem: item_problem(i.problem) })
    };
    Ok(DetectAnswer { items: r.items.into_iter().map(item).collect::<Result<_, _>>()?, model_version })
}

fn compare(r: v1::CompareReply, model_version: String) -> Result<CompareAnswer, WireError> {
    let item = |i: v1::compare_reply::Item| {
        let fine = i.problem.is_none();
        Ok(CompareItem {
            decision: if fine { Some(i.decision().try_into()?) } else { None },
            score: fine.then_some(i.score),
            fmr_at_score: fine.then_some(i.fmr_at_score),
            face: face(i.face)?,
            problem: item_problem(i.problem),
        })
    };
    Ok(CompareAnswer {
        source_face: needed(r.source_face, "compare.source_face")?.try_into()?,
        items: r.items.into_iter().map(item).collect::<Result<_, _>>()?,
        threshold: needed(r.threshold, "compare.threshold")?.try_into()?,
        model_version,
    })
}

fn embed(r: v1::EmbedReply, model_version: String) -> Result<EmbedAnswer, WireError> {
    let one = |f: v1::embed_reply::FaceEmbedding| {
        let e = needed(f.embedding, "embed.embedding")?;
        let contract = e.contract.parse().map_err(|_| WireError::Field { field: "embed.contract" })?;
        let face = needed(f.face, "embed.face")?.try_into()?;
        Ok(EmbeddedFace { face, embedding: Embedding { contract, values: e.values } })
    };
    let item = |i: v1::embed_reply::Item| {
        let faces = i.faces.into_iter().map(one).collect::<Result<_, _>>()?;
        Ok(EmbedItem { width: i.width, height: i.height, faces, problem: item_problem(i.problem) })
    };
    Ok(EmbedAnswer { items: r.items.into_iter().map(item).collect::<Result<_, _>>()?, model_version })
}

fn enrol(r: v1::EnrolReply, model_version: String) -> Result<EnrolAnswer, WireError> {
    let rejected = |i: v1::enrol_reply::RejectedImage| {
        let p = Problem::from(needed(i.problem, "enrol.rejected.problem")?);
        let quality = i.quality.map(Quality::from);
        Ok(RejectedImage { index: i.index, reason: p.code, detail: p.detail, quality })
    };
    Ok(EnrolAnswer {
        subject: needed(r.subject, "enrol.subject")?.try_into()?,
        faces: r.faces.into_iter().map(EnrolledFace::try_from).collect::<Result<_, _>>()?,
        rejected_images: r.rejected.into_iter().map(rejected).collect::<Result<_, _>>()?,
        revision: r.revision,
        consent_id: r.consent_id,
        model_version,
    })
}

fn identify(r: v1::IdentifyReply, model_version: String) -> Result<IdentifyAnswer, WireError> {
    let result = |i: v1::identify_reply::Result| {
        Ok(IdentifyResult {
            image_index: i.image_index,
            decision: if i.problem.is_none() { Some(i.decision().try_into()?) } else { None },
            face: face(i.face)?,
            candidates: i.candidates.into_iter().map(Candidate::try_from).collect::<Result<_, _>>()?,
            margin: i.margin,
            problem: item_problem(i.problem),
        })
    };
    Ok(IdentifyAnswer {
        results: r.results.into_iter().map(result).collect::<Result<_, _>>()?,
        threshold: needed(r.threshold, "identify.threshold")?.try_into()?,
        revision: r.revision,
        exact: r.exact,
        model_version,
    })
}

fn verify(r: v1::VerifyReply, model_version: String) -> Result<VerifyAnswer, WireError> {
    Ok(VerifyAnswer {
        decision: r.decision().try_into()?,
        score: r.score,
        fmr_at_score: r.fmr_at_score,
        face_id: r.face_id.parse().map_err(|_| WireError::Field { field: "verify.face_id" })?,
        face: face(r.face)?,
        threshold: needed(r.threshold, "verify.threshold")?.try_into()?,
        revision: r.revision,
        model_version,
    })
}
