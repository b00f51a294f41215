//! What an import answers: one line about each subject as it is done, held until the end, when the status is known.

use domain::{Collection, Problem, RequestId, SubjectId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{self, ApiProblem, ProblemBody};

/// Most bytes of lines about subjects that were created or skipped, and of all lines. Beyond them is only counted.
const HELD: (usize, usize) = (16 << 20, 32 << 20);

/// A line of an import's answer: the manifest first, then the subjects as they are done, the summary last.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ImportLine {
    /// What the file says of itself.
    Manifest(ManifestLine),
    /// A subject.
    Subject(SubjectResult),
    /// The end.
    Summary(SummaryLine),
}

/// What the file says of itself.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportManifest)]
pub(super) struct ManifestLine {
    /// The export.
    pub manifest: Exported,
}

/// An export, as its manifest tells it.
#[derive(Serialize, ToSchema)]
pub(super) struct Exported {
    /// When it began.
    pub created_at: Timestamp,
    /// The collection it is of, with its policy then; which is not applied here.
    pub collection: Collection,
    /// Revision of that collection when it began.
    pub revision: u64,
}

/// What became of one subject.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportResult)]
pub(super) struct SubjectResult {
    /// Line of the file, from 1.
    pub line: u64,
    /// Who it is, if the line could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_id: Option<SubjectId>,
    /// How it ended.
    pub status: ImportStatus,
    /// Faces enrolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faces: Option<usize>,
    /// Faces that do not pass the collection's quality gate, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faces_left_out: Option<usize>,
    /// Crops kept of these faces, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crops: Option<usize>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemBody>,
}

/// How the import of a subject ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ImportStatus {
    /// It is enrolled.
    Created,
    /// It was here already.
    Skipped,
    /// It is not here; `problem` says why.
    Failed,
}

/// The end of an import's answer.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportEnd)]
pub(super) struct SummaryLine {
    /// All of it.
    summary: Summary,
}

/// An import in numbers.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = ImportSummary)]
pub(super) struct Summary {
    /// Subjects enrolled.
    created: u64,
    /// Subjects that were here already.
    skipped: u64,
    /// Subjects that could not be enrolled.
    failed: u64,
    /// Faces enrolled.
    faces: u64,
    /// Crops kept.
    crops: u64,
    /// Subjects of these without a line of their own, because there were too many.
    unlisted: u64,
}

/// The answer so far.
pub(super) struct Results {
    text: Vec<u8>,
    summary: Summary,
    request: RequestId,
}

impl Results {
    pub fn new(manifest: Exported, request: RequestId) -> Self {
        let text = encoded(&ImportLine::Manifest(ManifestLine { manifest }));
        Self { text, summary: Summary::default(), request }
    }

    pub fn created(&mut self, line: u64, id: SubjectId, (faces, left_out, crops): (usize, usize, usize)) {
        self.summary.created += 1;
        self.summary.faces += faces as u64;
        self.summary.crops += crops as u64;
        let faces_left_out = Some(left_out).filter(|n| *n > 0);
        let status = ImportStatus::Created;
        self.add(SubjectResult {
            line,
            subject_id: Some(id),
            status,
            faces: Some(faces),
            faces_left_out,
            crops: Some(crops).filter(|n| *n > 0),
            problem: None,
        });
    }

    pub fn skipped(&mut self, line: u64, id: SubjectId) {
        self.summary.skipped += 1;
        let (status, subject_id) = (ImportStatus::Skipped, Some(id));
        let (faces, faces_left_out, crops) = (None, None, None);
        self.add(SubjectResult { line, subject_id, status, faces, faces_left_out, crops, problem: None });
    }

    pub fn failed(&mut self, line: u64, subject_id: Option<SubjectId>, problem: Problem) {
        self.summary.failed += 1;
        let problem = Some(problem::body(problem, self.request.clone()));
        let status = ImportStatus::Failed;
        let (faces, faces_left_out, crops) = (None, None, None);
        self.add(SubjectResult { line, subject_id, status, faces, faces_left_out, crops, problem });
    }

    fn add(&mut self, result: SubjectResult) {
        let most = if result.status == ImportStatus::Failed { HELD.1 } else { HELD.0 };
        if self.text.len() >= most {
            self.summary.unlisted += 1;
            return;
        }
        self.text.extend(encoded(&ImportLine::Subject(result)));
    }

    /// The answer to an import that came to its end.
    pub fn finish(mut self) -> Vec<u8> {
        let Summary { created, skipped, failed, faces, .. } = self.summary;
        tracing::info!(created, skipped, failed, faces, request_id = %self.request, "an export was imported");
        self.text.extend(encoded(&ImportLine::Summary(SummaryLine { summary: self.summary })));
        self.text
    }

    /// The problem an import broke off with, and what had been done by then.
    pub fn broken(self, mut problem: ApiProblem) -> ApiProblem {
        let Summary { created, skipped, failed, .. } = self.summary;
        let code = problem.problem.code;
        tracing::warn!(created, skipped, failed, %code, request_id = %self.request, "an import was broken off");
        let done = format!(
            "; before that {created} subjects were created, {skipped} skipped and {failed} failed. Those stay as they \
             are: import the whole export again, what is here already is passed over"
        );
        problem.problem.detail.push_str(&done);
        problem
    }
}

fn encoded(line: &ImportLine) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who can be counted on to read it has a line for each failure, and a number for the rest.
    #[test]
    fn an_answer_does_not_grow_beyond_what_is_held_and_failures_are_listed_longest() {
        let collection = serde_json::from_value(serde_json::json!({
            "id": "staff", "purposes": ["a"], "contract": "00".repeat(16), "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
        }));
        let exported = Exported { created_at: Timestamp::now(), collection: collection.unwrap(), revision: 1 };
        let mut results = Results::new(exported, RequestId::generate());
        let id = |n: u64| SubjectId::new("x".repeat(50) + &n.to_string()).unwrap();
        let line = results.text.len();
        results.created(0, id(0), (1, 0, 0));
        let line = results.text.len() - line;
        let fit = (HELD.0 / line + 1) as u64;
        (1..=fit + 1_000).for_each(|n| results.created(n, id(n), (1, 0, 1)));
        let full = results.text.len();
        assert!((HELD.0..HELD.0 + 2 * line).contains(&full) && results.summary.unlisted >= 1_000, "{full}");
        results.skipped(1, id(1));
        assert_eq!(results.text.len(), full);
        results.failed(7, Some(id(7)), Problem::invalid("/x", "why"));
        assert!(results.text.len() > full, "a failure is told all the same");
        let (unlisted, created) = (results.summary.unlisted, results.summary.created);
        let text = String::from_utf8(results.finish()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let summary = &lines.last().unwrap()["summary"];
        assert_eq!(
            (&summary["created"], &summary["skipped"], &summary["failed"]),
            (&created.into(), &1.into(), &1.into())
        );
        // Every subject has a line or is counted without one; beside them the manifest and the summary.
        assert_eq!(lines.len() as u64 - 2 + unlisted, created + 2);
    }
}
