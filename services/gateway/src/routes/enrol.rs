//! What making a subject and adding faces have in common: the consent rule and the job for the worker.
//! The worker checks both again when it commits.

use domain::{Collection, Consent, ConsentDraft, ErrorCode, Problem, Purpose, SubjectId, Timestamp};
use store::Subjects;
use wire::v1;

use super::parameters::FaceSelection;
use crate::problem::{ApiProblem, Result};

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

/// The consent that comes with the request, checked; or, if none does, the certainty that one is on record.
pub(super) async fn consent(
    subjects: &Subjects,
    collection: &Collection,
    subject: &SubjectId,
    draft: Option<ConsentDraft>,
) -> Result<Option<Consent>> {
    let now = Timestamp::now();
    if let Some(draft) = draft {
        draft.check("/consent", now)?;
        let consent = draft.record(collection.id.clone(), subject.clone(), now);
        covers(&consent.purposes, collection)?;
        return Ok(Some(consent));
    }
    let on_record = subjects.consents(subject).await?;
    if on_record.iter().any(|c| c.value.permits(&collection.purposes, now)) {
        return Ok(None);
    }
    let detail = format!(
        "no consent in force for subject {subject} covers {}; send one with the request (consent: {{purposes, method}}) \
         or record it at POST /v1/consents first",
        list(&collection.purposes.iter().collect::<Vec<_>>())
    );
    Err(ApiProblem::new(ErrorCode::ConsentRequired, detail))
}

fn covers(given: &[Purpose], collection: &Collection) -> Result<(), Problem> {
    let missing: Vec<&Purpose> = collection.purposes.iter().filter(|p| !given.contains(p)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let detail = format!("the consent does not cover {}, which collection {} is for", list(&missing), collection.id);
    Err(Problem {
        errors: Problem::invalid("/consent/purposes", format!("add {}", list(&missing))).errors,
        ..Problem::new(ErrorCode::ConsentRequired, detail)
    })
}

fn list(purposes: &[&Purpose]) -> String {
    purposes.iter().map(|p| p.as_str()).collect::<Vec<_>>().join(", ")
}
