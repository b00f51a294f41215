//! Images together with parameters, however they come: multipart, a raw image with a query, or JSON with base64.
//! All three are brought into one form: named files and a JSON object of parameters.

use axum::{
    extract::{FromRequest, Multipart, Query, Request, multipart::MultipartError},
    http::{Uri, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use domain::{ErrorCode, Problem};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use wire::v1;

use super::json::{body_bytes, from_value, media_type, parse, shown, value};
use crate::{config::Limits, problem::ApiProblem, state::App};

/// Parameters that come beside images.
pub(crate) trait Parameters: DeserializeOwned + Send {
    /// Names under which images may come; the first takes a raw body.
    const FILES: &'static [&'static str] = &["image", "images"];
    /// Parameters that are plain text; the others are JSON where a form or a query carries them.
    const TEXT: &'static [&'static str] = &[];
    /// Parameters that are lists. A form or a query carries one whole, as JSON, or item by item under the same name.
    const LISTS: &'static [&'static str] = &[];
}

/// Images and parameters of a request.
pub(crate) struct Images<P> {
    /// In the order they came.
    pub files: Vec<File>,
    /// The rest.
    pub params: P,
}

/// One encoded image.
#[derive(Debug)]
pub(crate) struct File {
    /// The name it came under.
    pub field: &'static str,
    /// Its bytes.
    pub data: Bytes,
}

impl<P: Parameters> FromRequest<App> for Images<P> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiProblem> {
        Self::read(request, &app.config.limits).await
    }
}

impl<P: Parameters> Images<P> {
    /// Reads a request within `limits`.
    pub async fn read(request: Request, limits: &Limits) -> Result<Self, ApiProblem> {
        let kind = media_type(request.headers());
        let (files, params) = match kind.as_str() {
            "application/json" => json::<P>(&body_bytes(request, limits).await?, limits)?,
            "multipart/form-data" => multipart::<P>(request, limits).await?,
            raw if is_image(raw) => {
                let params = query::<P>(request.uri())?;
                let data = body_bytes(request, limits).await?;
                let mut files = Files::new(limits);
                files.add(P::FILES[0], data)?;
                (files.list, params)
            }
            other => {
                let detail = format!(
                    "send multipart/form-data, application/json, or an image as image/jpeg, image/png or image/webp; not {}",
                    shown(other)
                );
                return Err(ApiProblem::new(ErrorCode::UnsupportedMediaType, detail));
            }
        };
        Ok(Self { files, params: from_value(Value::Object(params))? })
    }
}

impl<P> Images<P> {
    /// Every image in order, as the wire carries them.
    pub fn into_wire(self) -> (Vec<v1::Image>, P) {
        (self.files.into_iter().map(|f| v1::Image { data: f.data }).collect(), self.params)
    }
}

/// Formats that are decoded; what an image really is, its content says.
fn is_image(kind: &str) -> bool {
    matches!(kind, "image/jpeg" | "image/jpg" | "image/png" | "image/webp" | "image/*")
}

/// Files so far, with the limits they must keep.
struct Files<'a> {
    list: Vec<File>,
    limits: &'a Limits,
}

impl<'a> Files<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self { list: Vec::new(), limits }
    }

    fn add(&mut self, field: &'static str, data: Bytes) -> Result<(), Problem> {
        let (index, Limits { image_bytes, max_images, .. }) = (self.list.len(), self.limits);
        if index >= *max_images {
            return Err(Problem::invalid(field, format!("at most {max_images} images are allowed in one request")));
        }
        sized(field, &format!("image {index}"), &data, *image_bytes)?;
        self.list.push(File { field, data });
        Ok(())
    }
}

/// Refuses an image without bytes or with too many; `what` names it for a person.
pub(super) fn sized(pointer: &str, what: &str, data: &Bytes, limit: usize) -> Result<(), Problem> {
    if data.is_empty() {
        return Err(Problem::invalid(pointer, format!("{what} is empty")));
    }
    if data.len() > limit {
        let detail = format!("{what} has {} bytes; at most {limit} are allowed", data.len());
        return Err(Problem { code: ErrorCode::PayloadTooLarge, ..Problem::invalid(pointer, detail) });
    }
    Ok(())
}

type Parts = (Vec<File>, Map<String, Value>);

/// `{"image": {"b64": …}}` or `{"images": [{"b64": …}, …]}` among the parameters.
fn json<P: Parameters>(bytes: &[u8], limits: &Limits) -> Result<Parts, Problem> {
    let mut params: Map<String, Value> = parse(bytes)?;
    let mut files = Files::new(limits);
    for field in P::FILES {
        match params.remove(*field) {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => {
                for (i, item) in items.iter().enumerate() {
                    files.add(field, decode(item, &format!("/{field}/{i}"))?)?;
                }
            }
            Some(item) => files.add(field, decode(&item, &format!("/{field}"))?)?,
        }
    }
    Ok((files.list, params))
}

/// An image in JSON.
pub(super) fn decode(item: &Value, pointer: &str) -> Result<Bytes, Problem> {
    let Value::Object(object) = item else {
        return Err(Problem::invalid(pointer, "must be an object such as {\"b64\": \"…\"}"));
    };
    if let Some(other) = object.keys().find(|k| *k != "b64") {
        let name: String = other.chars().take(80).collect();
        return Err(Problem::invalid(format!("{pointer}/{name}"), "is not known here; an image has only b64"));
    }
    let text = object.get("b64").and_then(Value::as_str);
    let text = text.ok_or_else(|| Problem::invalid(format!("{pointer}/b64"), "must hold the image in base64"))?;
    let decoded = STANDARD.decode(text.trim());
    decoded.map(Bytes::from).map_err(|e| Problem::invalid(format!("{pointer}/b64"), format!("is not base64: {e}")))
}

/// A form's parts, one after the other.
pub(crate) async fn form(request: Request) -> Result<Multipart, ApiProblem> {
    let has_boundary = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    if !has_boundary.is_some_and(|v| v.contains("boundary=")) {
        return Err(Problem::invalid("content-type", "multipart/form-data needs a boundary").into());
    }
    let form = Multipart::from_request(request, &()).await;
    form.map_err(|e| ApiProblem::new(ErrorCode::InvalidRequest, e.body_text()))
}

/// What a form that breaks off or is malformed is answered with.
#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
pub(crate) fn broken(e: MultipartError) -> ApiProblem {
    ApiProblem::new(ErrorCode::InvalidRequest, format!("the form cannot be read: {}", e.body_text()))
}

/// File parts and text parts of a form.
async fn multipart<P: Parameters>(request: Request, limits: &Limits) -> Result<Parts, ApiProblem> {
    let mut form = form(request).await?;
    let (mut files, mut params) = (Files::new(limits), Map::new());
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name: String = field.name().unwrap_or_default().chars().take(80).collect();
        if let Some(file) = P::FILES.iter().find(|f| **f == name) {
            files.add(file, field.bytes().await.map_err(broken)?)?;
            continue;
        }
        let text = field.text().await.map_err(broken)?;
        insert::<P>(&mut params, name, &text)?;
    }
    Ok((files.list, params))
}

/// Parameters in the query, beside a raw image.
fn query<P: Parameters>(uri: &Uri) -> Result<Map<String, Value>, Problem> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(pairs) = pairs.map_err(|_| Problem::invalid("query", "cannot be read"))?;
    let mut params = Map::new();
    for (name, text) in pairs {
        insert::<P>(&mut params, name, &text)?;
    }
    Ok(params)
}

/// The problem of a parameter's own text.
fn within(name: &str, problem: &Problem) -> Problem {
    let pointer = problem.errors.first().map_or("", |e| &e.pointer);
    let detail = problem.errors.first().map_or(&problem.detail, |e| &e.detail);
    Problem::invalid(format!("/{name}{pointer}"), format!("is not JSON: {detail}"))
}

fn insert<P: Parameters>(params: &mut Map<String, Value>, name: String, text: &str) -> Result<(), Problem> {
    let (is_text, is_list) = (P::TEXT.contains(&name.as_str()), P::LISTS.contains(&name.as_str()));
    let value = if is_text && !(is_list && text.trim_start().starts_with('[')) {
        Value::String(text.to_owned())
    } else {
        value(text.as_bytes()).map_err(|p| within(&name, &p))?
    };
    if is_list {
        let items = if let Value::Array(items) = value { items } else { vec![value] };
        if let Value::Array(list) = params.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            list.extend(items);
        }
        return Ok(());
    }
    if params.contains_key(&name) {
        return Err(Problem::invalid(format!("/{name}"), "is given twice"));
    }
    params.insert(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Any;
    impl Parameters for Any {
        const TEXT: &'static [&'static str] = &["purpose", "ids"];
        const LISTS: &'static [&'static str] = &["ids", "vectors"];
    }

    fn pointer(body: &str) -> String {
        json::<Any>(body.as_bytes(), &Limits::default()).unwrap_err().errors[0].pointer.clone()
    }

    #[test]
    fn json_images_come_out_in_order_and_the_rest_stays() {
        let body = r#"{"images":[{"b64":"AQ=="},{"b64":"Ag=="}],"limit":3}"#;
        let (files, params) = json::<Any>(body.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(files.iter().map(|f| f.data[0]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(Value::Object(params), serde_json::json!({"limit": 3}));
    }

    #[test]
    fn a_bad_image_object_is_named() {
        assert_eq!(pointer(r#"{"image":"AQ=="}"#), "/image");
        assert_eq!(pointer(r#"{"image":{"url":"http://x"}}"#), "/image/url");
        assert_eq!(pointer(r#"{"images":[{"b64":"AQ=="},{"b64":"?"}]}"#), "/images/1/b64");
        assert_eq!(pointer(r#"{"image":{"b64":""}}"#), "image");
    }

    #[test]
    fn form_and_query_values_are_json_unless_declared_text() {
        let uri: Uri = "/x?limit=3&purpose=door&threshold=%7B%22score%22%3A0.4%7D".parse().unwrap();
        let params = query::<Any>(&uri).unwrap();
        let expected = serde_json::json!({"limit": 3, "purpose": "door", "threshold": {"score": 0.4}});
        assert_eq!(Value::Object(params), expected);
        assert!(query::<Any>(&"/x?limit=many".parse().unwrap()).is_err());
        assert!(query::<Any>(&"/x?limit=1&limit=2".parse().unwrap()).is_err());
    }

    #[test]
    fn lists_come_whole_or_item_by_item() {
        let params = |query_text: &str| query::<Any>(&format!("/x?{query_text}").parse().unwrap()).map(Value::Object);
        let expected = serde_json::json!({"ids": ["a", "7"], "vectors": [{"v": 1}, {"v": 2}]});
        assert_eq!(params("ids=a&ids=7&vectors=%7B%22v%22:1%7D&vectors=%7B%22v%22:2.0%7D").unwrap(), expected);
        assert_eq!(params("ids=[%22a%22,%227%22]&vectors=[%7B%22v%22:1%7D,%7B%22v%22:2%7D]").unwrap(), expected);
        assert!(params("vectors=a").is_err() && params("purpose=a&purpose=b").is_err());
    }

    #[test]
    fn size_and_number_of_images_are_limited() {
        let limits = Limits { image_bytes: 2, max_images: 1, ..Limits::default() };
        let mut files = Files::new(&limits);
        assert_eq!(files.add("image", vec![0; 3].into()).unwrap_err().code, ErrorCode::PayloadTooLarge);
        files.add("image", vec![0; 2].into()).unwrap();
        assert_eq!(files.add("image", vec![0; 1].into()).unwrap_err().code, ErrorCode::InvalidRequest);
    }
}
