//! What the sealed lines hold.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{Collection, Consent, ContractId, EnrolledFace, Subject, Template, TemplateError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How far a template's length may be from one; half precision leaves less than this.
const LENGTH_OFF: f32 = 0.01;

/// The first sealed line: what is being exported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// When the export began.
    pub created_at: Timestamp,
    /// Contract of all templates within.
    pub contract: ContractId,
    /// The collection as it was, with its policy. An import tells it and does not apply it.
    pub collection: Collection,
    /// Revision of the collection when the export began.
    pub revision: u64,
}

/// One subject, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubjectLine {
    /// The subject.
    pub subject: Subject,
    /// All its consents, withdrawn and expired ones included.
    pub consents: Vec<Consent>,
    /// All its faces.
    pub faces: Vec<FaceLine>,
    /// When it was last recognised, if it ever was: retention counts from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Timestamp>,
}

/// One enrolled face with its template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaceLine {
    /// What was seen in the image it came from, and the template's contract.
    #[serde(flatten)]
    pub face: EnrolledFace,
    /// The template's values as little-endian half floats, base64.
    pub template: String,
}

/// The last line: how much there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// Subjects in the file.
    pub subjects: u64,
    /// Faces of all of them.
    pub faces: u64,
    /// Revision of the collection at the end: if it is another than at the beginning, the collection was changed
    /// meanwhile, and each subject is as it was at some moment in between.
    pub revision: u64,
    /// When the export ended.
    pub finished_at: Timestamp,
}

impl FaceLine {
    /// Of an enrolled face.
    #[must_use]
    pub fn new(face: EnrolledFace, template: &Template) -> Self {
        // The contract, which the bytes begin with, is the face's already.
        let bytes = template.to_bytes();
        Self { face, template: STANDARD.encode(&bytes[template.contract().as_bytes().len()..]) }
    }

    /// The face and its template, if both are what they should be.
    ///
    /// # Errors
    /// Says what is wrong, without showing a value.
    pub fn read(self) -> Result<(EnrolledFace, Template), String> {
        let values = STANDARD.decode(&self.template).map_err(|_| "a template is not base64".to_owned())?;
        let bytes = [&self.face.contract.as_bytes()[..], &values].concat();
        let template = Template::from_bytes(&bytes).map_err(|e: TemplateError| e.to_string())?;
        let length = template.to_f32().iter().map(|x| x * x).sum::<f32>().sqrt();
        if (length - 1.0).abs() > LENGTH_OFF {
            return Err("a template is not of length one".into());
        }
        // A number beyond its type is written as null and could not be read back.
        let face = serde_json::to_value(&self.face).map_err(|e| e.to_string())?;
        if has_null(&face) {
            return Err("a face holds a number that is too large".into());
        }
        Ok((self.face, template))
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}
