//! The OpenAPI document, generated from the routes, and what the edge reads out of it: which scope an operation
//! needs and whether it takes images. What is documented is what is enforced.

mod names;
mod schemas;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::{Router, http::Method};
use domain::{ErrorCode, Role, Scope};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{problem::ProblemBody, routes, state::App};

/// What the edge must know of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Scope the caller needs; `None` for public operations.
    pub scope: Option<Scope>,
    /// Whether its body may hold images.
    pub takes_images: bool,
    /// Whether its body may be as large as images are.
    pub takes_files: bool,
    /// Whether nobody waits for what it starts: it is only ever answered 202.
    pub bulk: bool,
    /// Whether its body is worked on while it comes, however long it is.
    pub streams: bool,
}

/// The rule of every operation.
pub(crate) struct Rules(HashMap<String, HashMap<Method, Rule>>);

impl Rules {
    /// The rule of `method` on the path template `route`.
    pub fn find(&self, route: &str, method: &Method) -> Option<&Rule> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.0.get(route)?.get(method)
    }

    /// The methods of a path, as `allow` lists them.
    pub fn methods(&self, route: &str) -> String {
        let mut methods: Vec<&str> = self.0.get(route).into_iter().flatten().map(|(m, _)| m.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        methods.join(", ")
    }

    fn read(document: &Value) -> Self {
        let mut rules: HashMap<String, HashMap<Method, Rule>> = HashMap::new();
        for (path, method, operation) in operations(document) {
            let scope = operation["security"][0]["bearer"][0].as_str().and_then(|s| s.parse().ok());
            let bulk = operation["responses"].get("202").is_some() && operation["responses"].get("200").is_none();
            let bulk = bulk && operation["responses"].get("201").is_none();
            let (takes_images, takes_files) = (takes_images(operation), takes_files(operation));
            let rule = Rule { scope, takes_images, takes_files, bulk, streams: streams(operation) };
            if let Ok(method) = method.to_ascii_uppercase().parse() {
                rules.entry(path.to_owned()).or_default().insert(method, rule);
            }
        }
        Self(rules)
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Visavis",
        description = "Face recognition: detection, enrolment, identification 1:N, verification 1:1, with consent, \
                       purposes and deletion built in.\n\nEvery answer carries `x-request-id`. Errors are \
                       `application/problem+json` (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "System", description = "Health, documentation, state"),
        (name = "Stateless", description = "Images in, answers out, nothing kept"),
        (name = "Collections", description = "Named galleries and their policy"),
        (name = "Subjects", description = "Enrolled persons and their faces"),
        (name = "Recognise", description = "Identification 1:N and verification 1:1"),
        (name = "Consents", description = "Who agreed to what"),
        (name = "Jobs", description = "Work that was not waited for"),
        (name = "Training", description = "Models that learn from retained crops"),
        (name = "Models", description = "Embedders beside the deployment's own: registered, gated, promoted, rolled back"),
        (name = "Erasures", description = "Erasing everywhere, with a signed receipt"),
        (name = "Audit", description = "Who did what, in a chain that shows every change"),
        (name = "API keys", description = "Credentials and their scopes"),
    )
)]
struct Api;

/// Routes, rules and document.
pub(crate) fn build() -> (Router<App>, Rules, String) {
    let (router, api) = OpenApiRouter::with_openapi(Api::openapi()).merge(routes::all()).split_for_parts();
    let mut document = serde_json::to_value(&api).unwrap_or_default();
    complete(&mut document);
    let rules = Rules::read(&document);
    let text = serde_json::to_string_pretty(&sorted(document)).unwrap_or_default();
    (router, rules, text + "\n")
}

/// The OpenAPI document: pretty-printed, the same text on every run.
#[must_use]
pub fn openapi_json() -> String {
    build().2
}

fn operations(document: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, item)| item.as_object().into_iter().flatten().map(move |(m, op)| (path, m, op)))
}

fn takes_images(operation: &Value) -> bool {
    takes_files(operation) && operation["tags"][0] != "Models"
}

fn takes_files(operation: &Value) -> bool {
    operation["requestBody"]["content"].get("multipart/form-data").is_some()
}

fn streams(operation: &Value) -> bool {
    operation["requestBody"]["content"].get(transfer::MEDIA_TYPE).is_some()
}

/// Adds what follows from rules and would otherwise be written at every handler: the credential, common headers,
/// and the problems of every operation.
fn complete(document: &mut Value) {
    document["components"]["securitySchemes"] =
        json!({"bearer": {"type": "http", "scheme": "bearer", "description": credentials()}});
    schemas::settle(document);
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let handler = operation["operationId"].as_str().unwrap_or(method);
            operation["operationId"] = names::operation(path, handler).into();
            schemas::say_events(operation);
            schemas::say_pictures(operation);
            let codes = problems(method, operation);
            describe_headers(method, operation);
            describe_success(operation);
            describe_problems(operation, &codes);
        }
    }
}

/// What callers authenticate with, and what roles stand for.
fn credentials() -> String {
    let scopes = |role: Role| role.scopes().iter().map(|s| format!("`{s}`")).collect::<Vec<_>>().join(" ");
    let roles: Vec<String> = Role::ALL.iter().map(|r| format!("- `{r}`: {}", scopes(*r))).collect();
    format!(
        "An API key, `vv_<id>_<secret>`, or a token (JWT) of an identity provider that the service is set up to \
         believe. The tenant comes from the credential. Each operation names the scope it needs. Roles are sets of \
         scopes:\n\n{}\n\nThe scope `tenants` is in no role: with it, keys of other tenants are managed.",
        roles.join("\n")
    )
}

/// Codes an operation may answer with: its own, named at the handler, and those of its kind.
fn problems(method: &str, operation: &mut Value) -> BTreeSet<&'static str> {
    use ErrorCode as E;
    let named = operation.as_object_mut().and_then(|o| o.remove("x-problems")).unwrap_or_default();
    let named = named.as_array().into_iter().flatten().filter_map(|c| ErrorCode::from_slug(c.as_str()?));
    let mut codes: Vec<E> = named.chain([E::Internal]).collect();
    if operation.get("security").is_some() {
        codes.extend([E::Unauthenticated, E::Forbidden, E::InvalidRequest, E::StoreUnavailable, E::Overloaded]);
        codes.extend([E::RateLimited, E::IssuerUnavailable]);
    }
    if operation.get("requestBody").is_some() {
        codes.extend([E::PayloadTooLarge, E::UnsupportedMediaType, E::DeadlineExceeded]);
    }
    if method != "get" {
        // An answer that is kept for repetitions goes with the subject it tells of.
        codes.extend([E::Conflict, E::IdempotencyKeyReused, E::DeadlineExceeded, E::Erased]);
    }
    if takes_images(operation) {
        codes.extend([
            E::ImageUndecodable,
            E::ImageTooLarge,
            E::InferenceFailed,
            E::ModelNotReady,
            E::QueueUnavailable,
        ]);
    }
    codes.into_iter().map(ErrorCode::slug).collect()
}

fn describe_headers(method: &str, operation: &mut Value) {
    let shaped = |schema: &Value, name: &str, description: &str| json!({"name": name, "in": "header", "required": false, "description": description, "schema": schema});
    let header = |name: &str, description: &str| shaped(&json!({"type": "string"}), name, description);
    let mut more = vec![header("x-request-id", "Name of the request in answers and logs; made if absent")];
    if method != "get" && operation.get("security").is_some() && !streams(operation) {
        more.push(shaped(
            &json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"}),
            "idempotency-key",
            "The request is carried out once; repetitions get the same answer for 24 h. One that comes while the first \
             is under way waits for its answer, at any gateway; `deadline_exceeded` then says to repeat it again",
        ));
    }
    // Where 202 is the only answer there is nothing to wait for.
    if takes_images(operation) && operation["responses"].get("202").is_none() {
        more.push(shaped(
            &json!({"type": "integer", "minimum": 1}),
            "x-deadline-ms",
            "Most milliseconds to the answer, counted from the end of the body; more than the service allows is as much as it allows",
        ));
        more.push(header("prefer", "`respond-async`: answer 202 at once; `wait=N`: answer 202 after N seconds"));
        operation["responses"]["202"] = json!({
            "description": "Accepted: `prefer` asked not to wait. `location` names the job",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}
        });
    }
    match operation["parameters"].as_array_mut() {
        Some(list) => list.extend(more),
        None => operation["parameters"] = Value::Array(more),
    }
}

/// OpenAPI wants words for every response; where the body's schema says it all these will do.
fn describe_success(operation: &mut Value) {
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        let words = if status == "201" { "Made; `location` says where" } else { "Done" };
        if response["description"].as_str().is_none_or(str::is_empty) {
            response["description"] = words.into();
        }
    }
}

fn describe_problems(operation: &mut Value, codes: &BTreeSet<&'static str>) {
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in codes.iter().filter_map(|c| ErrorCode::from_slug(c)) {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let lines: Vec<String> = codes.iter().map(|c| format!("`{c}`: {}", c.title())).collect();
        operation["responses"][status.to_string()] = json!({
            "description": lines.join("; "),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        });
    }
}

/// Keys in order, whatever map the JSON library was built with.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<String, Value> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            Value::Object(ordered.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
