//! A JSON document whose images are named files of the same form, or base64 within it. For requests with so many
//! images that each must be told which item it belongs to.

use std::collections::HashMap;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use domain::{ErrorCode, Problem};
use serde_json::{Map, Value};

use super::{
    images::{broken, decode, form, sized},
    json::{body_bytes, media_type, parse, shown},
};
use crate::{config::Limits, problem::ApiProblem, state::App};

/// The part of a form that holds the document.
const PART: &str = "job";

/// A document and the files that came with it.
pub(crate) struct Document {
    /// The document.
    pub json: Map<String, Value>,
    /// The files.
    pub files: Attachments,
}

/// Files by name, each to be used once: an image that many items shared would be stored as many times.
pub(crate) struct Attachments {
    /// `None` once it was taken.
    files: HashMap<String, Option<Bytes>>,
    image_bytes: usize,
}

impl FromRequest<App> for Document {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiProblem> {
        Self::read(request, &app.config.limits).await
    }
}

impl Document {
    /// Reads a request within `limits`.
    pub async fn read(request: Request, limits: &Limits) -> Result<Self, ApiProblem> {
        let mut files = Attachments { files: HashMap::new(), image_bytes: limits.image_bytes };
        match media_type(request.headers()).as_str() {
            "application/json" => Ok(Self { json: parse(&body_bytes(request, limits).await?)?, files }),
            "multipart/form-data" => {
                let mut form = form(request).await?;
                let mut json = None;
                while let Some(field) = form.next_field().await.map_err(broken)? {
                    if field.name() == Some(PART) {
                        if json.is_some() {
                            return Err(Problem::invalid(PART, "is given twice").into());
                        }
                        json = Some(parse(&field.bytes().await.map_err(broken)?).map_err(|p| in_part(&p))?);
                        continue;
                    }
                    let name = field.file_name().unwrap_or_default().to_owned();
                    files.add(name, field.bytes().await.map_err(broken)?)?;
                }
                let json = json.ok_or_else(|| Problem::invalid(PART, "the form needs this part, with the job as JSON"));
                Ok(Self { json: json?, files })
            }
            other => {
                let detail = format!("send application/json or multipart/form-data, not {}", shown(other));
                Err(ApiProblem::new(ErrorCode::UnsupportedMediaType, detail))
            }
        }
    }
}

/// A part that is no JSON at all has no pointer of its own.
fn in_part(problem: &Problem) -> Problem {
    match problem.errors.first() {
        Some(e) if e.pointer.is_empty() => Problem::invalid(PART, e.detail.clone()),
        _ => problem.clone(),
    }
}

impl Attachments {
    fn add(&mut self, name: String, data: Bytes) -> Result<(), Problem> {
        if name.is_empty() {
            return Err(Problem::invalid(
                "filename",
                "every part but the job needs a file name, which items name it by",
            ));
        }
        let shown = brief(&name);
        sized("filename", &shown, &data, self.image_bytes)?;
        match self.files.insert(name, Some(data)) {
            None => Ok(()),
            Some(_) => Err(Problem::invalid("filename", format!("two files are named {shown}"))),
        }
    }

    /// The image that `value` names or holds.
    pub fn image(&mut self, value: &Value, pointer: &str) -> Result<Bytes, Problem> {
        let Value::String(name) = value else {
            let data = decode(value, pointer)?;
            sized(pointer, "the image", &data, self.image_bytes)?;
            return Ok(data);
        };
        let refused = |why: &str| Problem::invalid(pointer, format!("{why} {}", brief(name)));
        match self.files.get_mut(name) {
            Some(file) => file.take().ok_or_else(|| refused("another item has already used the file")),
            None => Err(refused("the form has no file named")),
        }
    }

    /// Refuses files that nothing named.
    pub fn all_used(&self) -> Result<(), Problem> {
        match self.files.iter().filter(|(_, data)| data.is_some()).map(|(name, _)| name).min() {
            Some(name) => Err(Problem::invalid("filename", format!("no item uses the file {}", brief(name)))),
            None => Ok(()),
        }
    }
}

/// A name from outside, as a message may show it.
fn brief(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn files() -> Attachments {
        let mut files = Attachments { files: HashMap::new(), image_bytes: 3 };
        files.add("a.jpg".into(), Bytes::from_static(b"a")).unwrap();
        files
    }

    #[test]
    fn a_file_is_used_once_and_must_be_used() {
        let mut files = files();
        assert!(files.all_used().unwrap_err().detail.contains("a.jpg"));
        assert_eq!(files.image(&json!("a.jpg"), "/items/0/images/0").unwrap(), "a");
        files.all_used().unwrap();
        for (name, words) in [("a.jpg", "already used"), ("b.jpg", "no file named b.jpg")] {
            let refused = files.image(&json!(name), "/items/1/images/0").unwrap_err();
            assert!(refused.detail.contains(words), "{refused}");
            assert_eq!(refused.errors[0].pointer, "/items/1/images/0");
        }
    }

    #[test]
    fn names_and_sizes_are_checked() {
        let mut files = files();
        assert!(files.add("a.jpg".into(), Bytes::from_static(b"b")).is_err(), "the same name twice");
        assert!(files.add(String::new(), Bytes::from_static(b"b")).is_err(), "no name");
        assert!(files.add("c.jpg".into(), Bytes::new()).is_err(), "empty");
        let large = files.image(&json!({"b64": "AAAAAAAA"}), "/items/0/image").unwrap_err();
        assert_eq!((large.code, &*large.errors[0].pointer), (ErrorCode::PayloadTooLarge, "/items/0/image"));
    }
}
