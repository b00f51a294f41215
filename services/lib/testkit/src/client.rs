//! A caller of the service over real TLS: sends requests, knows the addresses of the resources and how images travel.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reqwest::{
    Certificate, Method, RequestBuilder,
    multipart::{Form, Part},
    tls::Version as Tls,
};
use serde_json::{Value, json};

use crate::{Answer, bound_this_test};

/// HTTP and TLS version a client insists on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http {
    /// Whatever is negotiated over TLS 1.3.
    #[default]
    Any,
    /// HTTP/1.1 alone.
    One,
    /// HTTP/2 alone.
    Two,
    /// TLS 1.2 alone.
    OverTls12,
}

/// How an image travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// The body is the image.
    Raw,
    /// A part of a form.
    Form,
    /// Base64 within JSON.
    Json,
}

/// A caller with a key. Belongs to the runtime that made it: one for each test.
#[derive(Clone, Debug)]
pub struct Client {
    /// Each with connections of its own; requests take turns.
    http: Arc<[reqwest::Client]>,
    turn: Arc<AtomicUsize>,
    base: String,
    key: String,
}

impl Client {
    /// A caller that trusts this certificate alone.
    #[must_use]
    pub fn new(address: SocketAddr, certificate: &Path, key: &str, http: Http) -> Self {
        Self::over_connections(1, address, certificate, (key, http))
    }

    /// The same over several connections in turn. One connection of HTTP/2 carries only so many requests at once (128
    /// at nginx): what is more waits in the caller, unseen by the service, so who sends more than that sends too little.
    #[must_use]
    pub fn over_connections(count: usize, address: SocketAddr, certificate: &Path, (key, http): (&str, Http)) -> Self {
        Self::of_origin(count, &format!("https://{address}"), certificate, (key, http))
    }

    /// The same to an origin such as `https://faces.example:8443`.
    #[must_use]
    pub fn of_origin(count: usize, origin: &str, certificate: &Path, (key, http): (&str, Http)) -> Self {
        bound_this_test();
        let pem = std::fs::read(certificate).expect("the service has written its certificate");
        let certificate = Certificate::from_pem(&pem).expect("the certificate is PEM");
        let make = || {
            let builder = reqwest::Client::builder().no_proxy().tls_certs_only([certificate.clone()]);
            let builder = builder.timeout(Duration::from_secs(120)).tls_version_min(Tls::TLS_1_3);
            match http {
                Http::Any => builder,
                Http::One => builder.http1_only(),
                Http::Two => builder.http2_prior_knowledge(),
                Http::OverTls12 => builder.tls_version_min(Tls::TLS_1_2).tls_version_max(Tls::TLS_1_2),
            }
        };
        // Clones of one client would share its connections.
        let http = (0..count).map(|_| make().build().expect("a TLS client can be built")).collect();
        Self { http, turn: Arc::default(), base: origin.trim_end_matches('/').to_owned(), key: key.to_owned() }
    }

    /// The same caller with another key; an empty one sends none.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// A request that can be changed before it is sent.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.http[0].request(method, format!("{}{path}", self.base));
        if self.key.is_empty() { request } else { request.bearer_auth(&self.key) }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// No answer came.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let request = request.build()?;
        let what = format!("{} {}", request.method(), request.url().path());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.http.len();
        Answer::read(what, self.http[turn].execute(request).await?).await
    }

    /// Sends a request and insists on an answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap_or_else(|e| panic!("no answer: {e:?}"))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path).json(body)).await
    }

    /// PATCH of JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("PATCH", path).json(body)).await
    }

    /// POST of one image, as the body, in a form, or in JSON.
    pub async fn post_image(&self, path: &str, image: Bytes, how: Image) -> Answer {
        let request = self.request("POST", path);
        self.send(match how {
            Image::Raw => request.header("content-type", media_type(&image)).body(image),
            Image::Form => request.multipart(Form::new().part("image", part(&image))),
            Image::Json => request.json(&json!({"image": encoded(&image)})),
        })
        .await
    }

    /// The faces of an image.
    pub async fn detect(&self, image: Bytes) -> Answer {
        self.post_image("/v1/detect", image, Image::Raw).await
    }

    /// The embeddings of an image's faces.
    pub async fn embeddings(&self, image: Bytes) -> Answer {
        self.post_image("/v1/embeddings", image, Image::Raw).await
    }

    /// Makes a collection for one purpose.
    pub async fn create_collection(&self, id: &str) -> Value {
        self.post("/v1/collections", &json!({"id": id, "purposes": ["access_control"]})).await.expect(201).json
    }

    /// Enrols a subject with consent.
    pub async fn enrol(&self, collection: &str, subject: &str, images: &[Bytes]) -> Answer {
        self.post(&format!("/v1/collections/{collection}/subjects"), &enrolment(subject, images)).await
    }

    /// Registers a model: its manifest, and its file.
    ///
    /// # Errors
    /// No answer came.
    pub async fn register_model(&self, id: &str, manifest: &str, onnx: Bytes) -> reqwest::Result<Answer> {
        let form = Form::new().text("id", id.to_owned()).text("manifest", manifest.to_owned());
        let form = form.part("model", Part::stream(onnx).file_name("model.onnx"));
        // Beside everything else that a machine of tests does, taking a large file in may take a while.
        let request = self.request("POST", "/v1/models").header("x-deadline-ms", "100000");
        self.try_send(request.multipart(form)).await
    }

    /// Every subject of a collection, over all pages.
    pub async fn subjects(&self, collection: &str) -> BTreeSet<String> {
        let (mut all, mut cursor) = (BTreeSet::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/collections/{collection}/subjects?limit=100{cursor}")).await.ok();
            let items = page["items"].as_array().expect("items");
            all.extend(items.iter().map(|s| s["id"].as_str().expect("an id").to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Searches a collection for the face of an image.
    pub async fn identify(&self, collection: &str, image: &Bytes) -> Answer {
        let body = json!({"image": encoded(image), "purpose": "access_control"});
        self.post(&format!("/v1/collections/{collection}/identify"), &body).await
    }

    /// Compares an image with one subject.
    pub async fn verify(&self, collection: &str, subject: &str, image: &Bytes) -> Answer {
        let body = json!({"image": encoded(image), "purpose": "access_control"});
        self.post(&format!("/v1/collections/{collection}/subjects/{subject}/verify"), &body).await
    }
}

/// The body of an enrolment with consent.
#[must_use]
pub fn enrolment(subject: &str, images: &[Bytes]) -> Value {
    json!({
        "id": subject,
        "consent": {"purposes": ["access_control"], "method": "web_form"},
        "images": images.iter().map(encoded).collect::<Vec<_>>(),
    })
}

/// An image within JSON.
#[must_use]
pub fn encoded(image: &Bytes) -> Value {
    json!({"b64": STANDARD.encode(image)})
}

/// An image within a form.
#[must_use]
pub fn part(image: &Bytes) -> Part {
    let part = Part::stream(image.clone()).file_name("picture");
    part.mime_str(media_type(image)).expect("a media type")
}

/// What a careful caller would declare; anything unknown is called a JPEG, as a careless one does.
fn media_type(image: &[u8]) -> &'static str {
    vision::ImageFormat::sniff(image).map_or("image/jpeg", vision::ImageFormat::media_type)
}
