//! What making a subject and adding faces have in common: the consent rule and the job for the worker.
//! The worker checks both again when it commits.

use domain::{Collection, Consent, ConsentDraft, ErrorCode, Metadata, Problem, Purpose, Subject, SubjectId, Timestamp};
use serde::Deserialize;
use store::{Subjects, Versioned};
use utoipa::ToSchema;
use wire::v1;

use super::parameters::FaceSelection;
use crate::{
    extract::Parameters,
    problem::{ApiProblem, Result},
};

/// A person to be enrolled.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolParams {
    /// Its id; made if absent.
    pub id: Option<SubjectId>,
    /// The caller's own reference.
    #[schema(max_length = 200)]
    external_id: Option<String>,
    /// The caller's own labels.
    #[serde(default)]
    metadata: Metadata,
    /// The person's consent; needed unless one is on record.
    pub consent: Option<ConsentDraft>,
    /// Which face counts where an image shows several; the dominant one unless said.
    pub face_selection: Option<FaceSelection>,
}

impl Parameters for EnrolParams {
    const TEXT: &'static [&'static str] = &["id", "external_id", "face_selection"];
}

impl EnrolParams {
    /// Checks what the types cannot, but for the consent.
    pub fn check(&self) -> Result<(), Problem> {
        check(self.external_id.as_ref(), &self.metadata)
    }

    /// The enrolment of a new subject under `id`.
    pub fn enrolment(self, id: SubjectId, consent: Option<Consent>, images: Vec<v1::Image>) -> Enrolment {
        let (now, Self { external_id, metadata, face_selection, .. }) = (Timestamp::now(), self);
        let subject = Subject { id, external_id, metadata, created_at: now, updated_at: now };
        let face_selection = face_selection.unwrap_or_default();
        Enrolment { subject: (&subject).into(), create: true, consent, images, face_selection }
    }
}

/// What a caller says of a subject.
pub(super) fn check(external_id: Option<&String>, metadata: &Metadata) -> Result<(), Problem> {
    if external_id.is_some_and(|e| e.is_empty() || e.chars().count() > 200) {
        return Err(Problem::invalid("/external_id", "has 1 to 200 characters"));
    }
    metadata.check("/metadata")
}

/// An enrolment of a new subject or of further faces.
pub(super) struct Enrolment {
    pub subject: v1::Subject,
    pub create: bool,
    pub consent: Option<Consent>,
    pub images: Vec<v1::Image>,
    pub face_selection: FaceSelection,
}

impl Enrolment {
    /// The job.
    pub fn request(self, collection: &Collection) -> v1::EnrolRequest {
        v1::EnrolRequest {
            collection_id: collection.id.to_string(),
            subject: Some(self.subject),
            create: self.create,
            consent: self.consent.as_ref().map(Into::into),
            images: self.images,
            face_selection: self.face_selection.wire(),
        }
    }
}

/// The subject's consents on record, where none comes with the request.
pub(super) async fn on_record(
    subjects: &Subjects,
    subject: &SubjectId,
    draft: Option<&ConsentDraft>,
) -> Result<Vec<Versioned<Consent>>> {
    if draft.is_some() { Ok(Vec::new()) } else { Ok(subjects.consents(subject).await?) }
}

/// The consent that comes with the request, checked; or, if none does, the certainty that one is on record.
pub(super) fn consent(
    collection: &Collection,
    subject: &SubjectId,
    draft: Option<ConsentDraft>,
    on_record: &[Versioned<Consent>],
) -> Result<Option<Consent>> {
    let now = Timestamp::now();
    if let Some(draft) = draft {
        return Ok(Some(given(collection, subject, draft, now)?));
    }
    if on_record.iter().any(|c| c.value.serves(&collection.purposes, now)) {
        return Ok(None);
    }
    let detail = format!(
        "no consent in force for subject {subject} covers a purpose of the collection ({}); send one with the request (consent: {{purposes, method}}) \
         or record it at POST /v1/consents first",
        list(&collection.purposes.iter().collect::<Vec<_>>())
    );
    Err(ApiProblem::new(ErrorCode::ConsentRequired, detail))
}

/// The consent that comes with the request, checked.
pub(super) fn given(
    collection: &Collection,
    subject: &SubjectId,
    draft: ConsentDraft,
    now: Timestamp,
) -> Result<Consent, Problem> {
    draft.check("/consent", &collection.consent, now)?;
    let consent = draft.record(collection.id.clone(), subject.clone(), now);
    covers(&consent.purposes, collection)?;
    Ok(consent)
}

/// Consent is given purpose by purpose: one that covers none of the collection's gives no ground to be in it.
fn covers(given: &[Purpose], collection: &Collection) -> Result<(), Problem> {
    if collection.purposes.iter().any(|p| given.contains(p)) {
        return Ok(());
    }
    let purposes = list(&collection.purposes.iter().collect::<Vec<_>>());
    let detail = format!("the consent covers no purpose of collection {}, which is for {purposes}", collection.id);
    Err(Problem {
        errors: Problem::invalid("/consent/purposes", format!("name one or more of {purposes}")).errors,
        ..Problem::new(ErrorCode::ConsentRequired, detail)
    })
}

fn list(purposes: &[&Purpose]) -> String {
    purposes.iter().map(|p| p.as_str()).collect::<Vec<_>>().join(", ")
}
