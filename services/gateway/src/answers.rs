//! What callers get: the worker's reply as documented JSON. The same objects answer a request at once and appear
//! under `result` of a job.

use domain::{
    Candidate, ContractId, Decision, EnrolledFace, ErrorCode, Face, FaceId, Problem, Quality, ResolvedThreshold,
    Subject,
};
use serde::Serialize;
use utoipa::ToSchema;
use wire::{
    WireError,
    v1::{self, Reply, reply::Outcome},
};

/// One of the results.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// Of detection.
    Detect(DetectAnswer),
    /// Of comparison.
    Compare(CompareAnswer),
    /// Of embedding.
    Embed(EmbedAnswer),
    /// Of enrolment.
    Enrol(EnrolAnswer),
    /// Of identification.
    Identify(IdentifyAnswer),
    /// Of verification.
    Verify(VerifyAnswer),
}

/// What is wrong with one item of several.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemProblem {
    /// The code.
    code: ErrorCode,
    /// For a person.
    detail: String,
}

/// Faces per image.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetectAnswer {
    /// One per image, in order.
    items: Vec<DetectItem>,
    /// Models that answered.
    model_version: String,
}

/// Faces of one image.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetectItem {
    /// Width of the upright image in pixels.
    width: u32,
    /// Height of the upright image in pixels.
    height: u32,
    /// Faces, best first.
    faces: Vec<Face>,
    /// Set when this image failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ItemProblem>,
}

/// The source against each target.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompareAnswer {
    /// The source's face.
    source_face: Face,
    /// One per target, in order.
    items: Vec<CompareItem>,
    /// What counted as a match.
    threshold: ResolvedThreshold,
    /// Models that answered.
    model_version: String,
}

/// The source against one target.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompareItem {
    /// The target's face.
    #[serde(skip_serializing_if = "Option::is_none")]
    face: Option<Face>,
    /// Comparison score: cosine, higher is more alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// How often a stranger scores as high.
    #[serde(skip_serializing_if = "Option::is_none")]
    fmr_at_score: Option<f64>,
    /// `match` or `no_match`.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    /// Set when this target failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ItemProblem>,
}

/// Embeddings per image.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbedAnswer {
    /// One per image, in order.
    items: Vec<EmbedItem>,
    /// Models that answered.
    model_version: String,
}

/// Embeddings of one image's faces.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbedItem {
    /// Width of the upright image in pixels.
    width: u32,
    /// Height of the upright image in pixels.
    height: u32,
    /// Faces with their embeddings, best first.
    faces: Vec<EmbeddedFace>,
    /// Set when this image failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ItemProblem>,
}

/// A face and its embedding.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddedFace {
    /// The face.
    #[serde(flatten)]
    face: Face,
    /// Its embedding.
    embedding: Embedding,
}

/// A unit vector and the contract that made it; comparable only within the contract.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Embedding {
    /// Model file, normalisation and alignment.
    contract: ContractId,
    /// Unit length.
    values: Vec<f32>,
}

/// What an enrolment stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EnrolAnswer {
    /// The subject.
    pub subject: Subject,
    /// Faces enrolled by this request.
    pub faces: Vec<EnrolledFace>,
    /// Images that were not enrolled, with the reason.
    rejected_images: Vec<RejectedImage>,
    /// Revision of the collection from which on the faces are found.
    revision: u64,
    /// The consent recorded or relied on.
    #[serde(skip_serializing_if = "Option::is_none")]
    consent_id: Option<String>,
    /// Models that answered.
    model_version: String,
}

/// An image that was not enrolled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RejectedImage {
    /// Which image, from 0.
    index: u32,
    /// Why, as a code.
    reason: ErrorCode,
    /// Why, for a person.
    detail: String,
    /// The face's quality, where one was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<Quality>,
}

/// Who is seen.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentifyAnswer {
    /// One per searched face or embedding.
    results: Vec<IdentifyResult>,
    /// What counted as a match.
    threshold: ResolvedThreshold,
    /// Revision of the collection that was searched.
    revision: u64,
    /// Whether every template was looked at.
    exact: bool,
    /// Models that answered.
    model_version: String,
}

/// Who one face is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentifyResult {
    /// Which image or embedding, from 0.
    image_index: u32,
    /// The face; absent when an embedding was searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    face: Option<Face>,
    /// Whether somebody was recognised; absent when this image failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    /// The most alike subjects, best first.
    candidates: Vec<Candidate>,
    /// Lead of the first subject over the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<f64>,
    /// Set when this image failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ItemProblem>,
}

/// Whether it is the subject.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifyAnswer {
    /// `match` or `no_match`.
    decision: Decision,
    /// Best comparison score over the subject's faces.
    score: f64,
    /// How often a stranger scores as high.
    fmr_at_score: f64,
    /// The subject's face that scored best.
    face_id: FaceId,
    /// The probe's face; absent when an embedding was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    face: Option<Face>,
    /// What counted as a match.
    threshold: ResolvedThreshold,
    /// Revision of the collection that was used.
    revision: u64,
    /// Models that answered.
    model_version: String,
}

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
        None => Err(unreadable(WireError::Field { field: "outcome" })),
    }
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
