//! What callers get: the worker's reply as documented JSON. The same objects answer a request at once and appear
//! under `result` of a job.

mod from_wire;

use domain::{
    Candidate, ContractId, Decision, EnrolledFace, ErrorCode, Face, FaceId, Quality, ResolvedThreshold, Subject,
};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use from_wire::answer;

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
    /// Of a promotion's gate.
    Gate(GateAnswer),
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

/// A model that passed: its promotion has begun.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GateAnswer {
    /// On what grounds.
    reasons: Vec<String>,
    /// Number of the gallery's generation that is being built.
    generation: u32,
}
