//! `POST /v1/collections/{c}/import`: subjects are enrolled while the file is still coming, each in one commit under the
//! conditions of an enrolment. Nothing is enrolled of a line that does not open.

use std::collections::{HashSet, VecDeque};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use domain::{
    Collection, CollectionId, Consent, ConsentPolicy, ErrorCode, FaceId, Problem, Purpose, Scope, SubjectId, Timestamp,
};
use serde::{Deserialize, Serialize};
use store::{ImportOutcome, Subjects, Templates, WholeSubject};
use tokio::task::JoinHandle;
use transfer::{CropLine, MEDIA_TYPE, Manifest, SubjectLine};
use utoipa::{IntoParams, ToSchema};

use super::{
    allowed,
    crops::Place,
    file::{File, Read},
    key, permit,
    results::{Exported, ImportLine, Results},
};
use crate::{
    context::Call,
    extract::{Ids, Search, media_type},
    problem::{ApiProblem, Result},
    routes::enrol,
    state::App,
};

/// Subjects being enrolled at once: their commits share what the store does to keep them.
const AT_ONCE: usize = 16;

/// What becomes of a subject that is here already.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnConflict {
    /// It stays as it is.
    #[default]
    Skip,
    /// It stays as it is and counts as failed.
    Fail,
}

/// How to import.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportQuery {
    /// What becomes of a subject that is here already: it stays as it is and is `skip`ped, unless said; or counts as
    /// `fail`ed.
    #[param(inline)]
    on_conflict: Option<OnConflict>,
}

/// Import a collection
///
/// Enrols the subjects of an export into an existing collection of the same embedding contract, each as an enrolment
/// would be: one of its consents must be in force, serve one of this collection's purposes and state what it asks of
/// consents; its faces must pass the quality gate. The collection keeps its own policy; crops come along if that retains
/// them and a consent allows training. Subjects that are here already stay as they are, so the request can be
/// repeated; one that was erased here is not brought back. The answer comes at the end, with a line about each subject.
/// A file that is cut or was changed is a problem that says how far it was imported. Needs `subjects:write` and
/// `consents` too.
#[utoipa::path(post, path = "/v1/collections/{collection}/import", tag = "Collections", security(("bearer" = ["keys"])),
    params(("collection" = CollectionId, Path), ImportQuery,
        ("visavis-export-key" = String, Header, pattern = "^[0-9a-fA-F]{64}$", description = "The key the export was made with")),
    request_body(content = String, content_type = "application/vnd.visavis.export"),
    responses((status = 200, content_type = "application/x-ndjson", body = ImportLine, description = "One per line")),
    extensions(("x-problems" = json!(["collection_not_found", "collection_model_mismatch"]))))]
pub(super) async fn import(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<CollectionId>,
    Search(query): Search<ImportQuery>,
    request: Request,
) -> Result<Response> {
    allowed(&call.principal, &[Scope::SubjectsWrite, Scope::Consents])?;
    if media_type(request.headers()) != MEDIA_TYPE {
        return Err(ApiProblem::new(ErrorCode::UnsupportedMediaType, format!("send an export, as {MEDIA_TYPE}")));
    }
    let key = key(request.headers())?;
    let collection = app.collection(&call.principal, &id).await?.value;
    let _permit = permit(&app)?;
    let (mut file, manifest) = File::open(request.into_body(), key, &app.config).await?;
    comparable(&manifest, &collection)?;
    let templates = Templates::new(app.store.clone(), &call.principal.tenant, &id);
    let one = templates.scan_templates(None, 1).await?.0;
    let dimensions = one.first().and_then(|row| row.templates.of(collection.contract)).map(|t| t.values().len());
    let Manifest { created_at, collection: exported, revision, .. } = manifest;
    let crops = Place::of(app.crops.as_ref(), &call.principal.tenant, &collection);
    let mut import = Import {
        crops,
        subjects: app.subjects(&call.principal, &id),
        collection,
        on_conflict: query.on_conflict.unwrap_or_default(),
        dimensions,
        under_way: VecDeque::new(),
        results: Results::new(Exported { created_at, collection: exported, revision }, call.request_id),
    };
    match import.all(&mut file).await {
        Ok(()) => {
            let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
            Ok((headers, import.results.finish()).into_response())
        }
        Err(problem) => {
            // What was begun is to be counted. The first problem is the one to tell.
            while !import.under_way.is_empty() {
                if let Err(further) = import.settle().await {
                    tracing::debug!(code = %further.problem.code, "a further problem of a broken import");
                }
            }
            Err(import.results.broken(problem))
        }
    }
}

/// Refuses templates that could not be compared with this collection's.
fn comparable(manifest: &Manifest, collection: &Collection) -> Result<()> {
    if manifest.contract == collection.contract {
        return Ok(());
    }
    let detail = format!(
        "the export's templates are of embedding contract {}, the collection's of {}; scores between them mean nothing",
        manifest.contract, collection.contract
    );
    Err(ApiProblem::new(ErrorCode::CollectionModelMismatch, detail))
}

/// A subject being enrolled; how that ended, and how many of its crops were written.
struct UnderWay {
    line: u64,
    id: SubjectId,
    outcome: JoinHandle<Result<(ImportOutcome, usize), ApiProblem>>,
}

/// Crops that came with a subject, by face.
type Came = Vec<(FaceId, CropLine, Vec<u8>)>;

/// An import under way.
struct Import {
    subjects: Subjects,
    /// Where crops are kept, if the collection keeps any.
    crops: Option<Place>,
    collection: Collection,
    on_conflict: OnConflict,
    /// Values of a template, once there is one.
    dimensions: Option<usize>,
    /// In the file's order.
    under_way: VecDeque<UnderWay>,
    results: Results,
}

impl Import {
    async fn all(&mut self, file: &mut File) -> Result<()> {
        while let Some(read) = file.subject().await? {
            self.begin(read);
            while self.under_way.len() >= AT_ONCE {
                self.settle().await?;
            }
        }
        while !self.under_way.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    fn begin(&mut self, (line, read): Read) {
        let subject = match read {
            Ok(subject) => subject,
            Err(e) => return self.results.failed(line, None, Problem::new(e.code(), e.to_string())),
        };
        let id = subject.subject.id.clone();
        match self.checked(subject) {
            Ok((whole, came)) => {
                let (subjects, place) = (self.subjects.clone(), self.crops.clone());
                let outcome = tokio::spawn(enrolled(subjects, place, whole, came));
                self.under_way.push_back(UnderWay { line, id, outcome });
            }
            Err(problem) => self.results.failed(line, Some(id), problem),
        }
    }

    /// What the types cannot see to: an export is as hostile as any other input.
    fn checked(&mut self, line: SubjectLine) -> Result<(WholeSubject, Came), Problem> {
        let SubjectLine { subject, consents, faces: lines, seen_at } = line;
        let now = Timestamp::now();
        enrol::check(subject.external_id.as_ref(), &subject.metadata)?;
        // As they were when they were recorded: one may have ended since.
        let fine = |c: &Consent| c.stated().check("", &ConsentPolicy::default(), c.recorded_at.min(now)).is_ok();
        if !consents.iter().all(fine) {
            return Err(mismatch("a consent does not state what every consent has to"));
        }
        let consent_ids: HashSet<_> = consents.iter().map(|c| &c.id).collect();
        let face_ids: HashSet<_> = lines.iter().map(|f| &f.face.id).collect();
        if consent_ids.len() < consents.len() || face_ids.len() < lines.len() {
            return Err(mismatch("a face or a consent is there twice"));
        }
        let (mut faces, mut came) = (Vec::with_capacity(lines.len()), Vec::new());
        for mut face in lines {
            // What is not kept here is not looked at either.
            if let Some(crop) = face.crop.take().filter(|_| self.crops.is_some()) {
                let png = crop.read().map_err(|e| mismatch(&e))?;
                came.push((face.face.id.clone(), crop, png));
            }
            let (mut face, template) = face.read().map_err(|e| mismatch(&e))?;
            let (has, expected) = (template.values().len(), *self.dimensions.get_or_insert(template.values().len()));
            if has != expected {
                let detail = format!("a template has {has} values where those beside it have {expected}");
                return Err(Problem::new(ErrorCode::CollectionModelMismatch, detail));
            }
            face.subject_id = subject.id.clone();
            faces.push((face, template));
        }
        let (crops, seen_at) = (Vec::new(), seen_at.map(|at| at.min(now)));
        Ok((WholeSubject { subject, consents, faces, crops, seen_at }, came))
    }

    /// Waits for the subject begun first. What the store does not do breaks the import off.
    async fn settle(&mut self) -> Result<()> {
        let Some(UnderWay { line, id, outcome }) = self.under_way.pop_front() else { return Ok(()) };
        let outcome = outcome.await.map_err(|_| ApiProblem::new(ErrorCode::Internal, "a subject's enrolment ended"))?;
        let (outcome, crops) = outcome?;
        match outcome {
            ImportOutcome::Created { faces, left_out, .. } => self.results.created(line, id, (faces, left_out, crops)),
            ImportOutcome::Exists if self.on_conflict == OnConflict::Skip => self.results.skipped(line, id),
            ImportOutcome::CollectionGone => {
                let detail = format!("the collection {} was deleted meanwhile", self.collection.id);
                return Err(ApiProblem::new(ErrorCode::CollectionNotFound, detail));
            }
            refused => {
                let problem = self.refused(&id, &refused);
                self.results.failed(line, Some(id), problem);
            }
        }
        Ok(())
    }

    fn refused(&self, id: &SubjectId, outcome: &ImportOutcome) -> Problem {
        let purposes = self.collection.purposes.iter().map(Purpose::as_str).collect::<Vec<_>>().join(", ");
        let (code, detail) = match outcome {
            ImportOutcome::Exists => (ErrorCode::Conflict, format!("a subject {id} exists already in this collection")),
            ImportOutcome::Erased(at) => {
                (ErrorCode::Erased, format!("subject {id} was erased here at {at}, later than this one was made"))
            }
            ImportOutcome::OtherContract(here) => (
                ErrorCode::CollectionModelMismatch,
                format!("a template is of another embedding contract than the collection's, {here}"),
            ),
            ImportOutcome::ConsentRequired => (
                ErrorCode::ConsentRequired,
                format!(
                    "no consent of subject {id} is in force, serves the collection's purposes ({purposes}) and states what it asks of consents"
                ),
            ),
            ImportOutcome::LowQuality => {
                (ErrorCode::LowQuality, "no face passes the collection's quality gate".to_owned())
            }
            ImportOutcome::Created { .. } | ImportOutcome::CollectionGone => {
                (ErrorCode::Internal, "the import ended unexpectedly".to_owned())
            }
        };
        Problem::new(code, detail)
    }
}

/// Enrols one subject, and writes the objects of those of its crops that may be kept.
async fn enrolled(
    subjects: Subjects,
    place: Option<Place>,
    mut whole: WholeSubject,
    came: Came,
) -> Result<(ImportOutcome, usize)> {
    let handle = subjects.handle(&whole.subject.id);
    let sealed = place.as_ref().map(|place| place.seal(handle, came)).transpose()?.unwrap_or_default();
    whole.crops = sealed.iter().map(|(face, record, _)| (face.clone(), record.clone())).collect();
    let outcome = subjects.import(&whole, Timestamp::now()).await?;
    let written = match (&outcome, place) {
        (ImportOutcome::Created { crops, .. }, Some(place)) => place.write(handle, sealed, crops).await,
        _ => 0,
    };
    Ok((outcome, written))
}

fn mismatch(detail: &str) -> Problem {
    Problem::new(ErrorCode::InvalidRequest, detail)
}
