//! Every operation of the API, with a request that would do something. A route that is not in this table fails the tests,
//! so that none is forgotten: add its line here, and what its path names to `world.rs`.

use serde_json::{Value, json};
use testkit::{Person, encoded, enrolment};

use crate::world::World;

/// What becomes of a request with everything right but the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// There is no such thing in the other tenant: 404.
    NotThere,
    /// It is about the caller's own tenant alone, or about nobody's data: it shows and changes nothing of another's.
    Own,
    /// It is about all tenants: no tenant's admin may do it, 403.
    Operator,
}

use Elsewhere::{NotThere, Operator, Own};

/// Makes a body.
type Body = fn(&World) -> Value;

/// One operation.
#[derive(Clone, Copy)]
pub struct Operation {
    /// The method.
    pub method: &'static str,
    /// The path as the document has it.
    pub path: &'static str,
    /// What to send.
    pub body: Option<Body>,
    /// What another tenant's admin gets.
    pub elsewhere: Elsewhere,
    /// Whether the body is an export of acme's collection instead.
    pub imports: bool,
    /// Whether the body is a model instead.
    pub uploads: bool,
    /// Scopes that this request needs beside the operation's own.
    pub beside: &'static [&'static str],
}

/// Operations that need no credential.
pub const PUBLIC: &[&str] =
    &["GET /.well-known/jwks.json", "GET /docs", "GET /livez", "GET /openapi.json", "GET /readyz"];

const fn op(method: &'static str, path: &'static str, elsewhere: Elsewhere) -> Operation {
    Operation { method, path, body: None, elsewhere, imports: false, uploads: false, beside: &[] }
}

impl Operation {
    const fn with(self, body: Body) -> Self {
        Self { body: Some(body), ..self }
    }

    const fn importing(self) -> Self {
        Self { imports: true, ..self }
    }

    const fn uploading(self) -> Self {
        Self { uploads: true, ..self }
    }

    const fn beside(self, scopes: &'static [&'static str]) -> Self {
        Self { beside: scopes, ..self }
    }

    /// Method and path, as the document has them.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path.split('?').next().unwrap_or_default())
    }

    /// The path with acme's ids in it.
    pub fn filled(&self, world: &World) -> String {
        let mut path = String::new();
        for (n, part) in self.path.split(['{', '}']).enumerate() {
            path.push_str(if n % 2 == 0 { part } else { world.id(part) });
        }
        path
    }
}

fn image(world: &World) -> Value {
    json!({"image": world.photo})
}

fn in_collection(world: &World) -> Value {
    json!({"collection_id": world.id("collection")})
}

fn new_subject(_: &World) -> Value {
    enrolment("acme-new", &[Person::Obama.photo()])
}

/// Every operation with a credential. What destroys comes last: the order is that of the pass in which all succeed.
pub const OPERATIONS: &[Operation] = &[
    op("GET", "/v1/system", Own),
    // Before requests that name what another tenant has: those stand in the trail of whoever sent them.
    op("GET", "/v1/audit-events", Own),
    op("GET", "/v1/audit-events/head", Own),
    op("GET", "/v1/audit-events/export", Own),
    op("POST", "/v1/signing-keys", Operator),
    op("POST", "/v1/detect", Own).with(image),
    op("POST", "/v1/embeddings", Own).with(image),
    op("POST", "/v1/compare", Own).with(|w| json!({"source": w.photo, "targets": [w.photo]})),
    op("GET", "/v1/collections", Own),
    op("POST", "/v1/collections", Own).with(|_| json!({"id": "acme-new", "purposes": ["access_control"]})),
    op("GET", "/v1/collections/{collection}", NotThere),
    op("PATCH", "/v1/collections/{collection}", NotThere).with(|_| json!({"name": "renamed"})),
    op("GET", "/v1/collections/{collection}/stats", NotThere),
    op("POST", "/v1/collections/{collection}/retention/sweep", NotThere).with(|_| json!({"dry_run": true})),
    op("POST", "/v1/collections/{collection}/export", NotThere).beside(&["subjects:read", "consents"]),
    op("POST", "/v1/collections/{collection}/import", NotThere).importing().beside(&["subjects:write", "consents"]),
    op("GET", "/v1/collections/{collection}/subjects", NotThere),
    op("POST", "/v1/collections/{collection}/subjects", NotThere).with(new_subject),
    op("GET", "/v1/collections/{collection}/subjects/{subject}", NotThere),
    op("PATCH", "/v1/collections/{collection}/subjects/{subject}", NotThere).with(|_| json!({"metadata": {"a": "b"}})),
    op("GET", "/v1/collections/{collection}/subjects/{subject}/faces", NotThere),
    op("POST", "/v1/collections/{collection}/subjects/{subject}/faces", NotThere).with(image),
    op("GET", "/v1/collections/{collection}/subjects/{subject}/faces/{face}", NotThere),
    op("POST", "/v1/collections/{collection}/identify", NotThere).with(image),
    op("POST", "/v1/collections/{collection}/subjects/{subject}/verify", NotThere).with(image),
    op("GET", "/v1/consents", Own),
    op("POST", "/v1/consents", NotThere).with(|w| {
        let about = json!({"collection_id": w.id("collection"), "subject_id": w.id("subject")});
        let agreed = json!({"purposes": ["access_control"], "method": "web_form"});
        [about, agreed].iter().flat_map(|o| o.as_object().cloned().unwrap_or_default()).collect()
    }),
    op("GET", "/v1/consents/{consent}", NotThere),
    op("GET", "/v1/jobs", Own),
    op("POST", "/v1/jobs", NotThere)
        .with(|w| {
            let items = json!([{"images": [encoded(&Person::Astronaut.photo())]}]);
            json!({"kind": "bulk_identify", "collection_id": w.id("collection"), "items": items})
        })
        .beside(&["identify"]),
    // Whoever did not start the job needs the scope of what it does.
    op("GET", "/v1/jobs/{job}", NotThere).beside(&["detect"]),
    op("GET", "/v1/jobs/{job}/events", NotThere).beside(&["detect"]),
    op("GET", "/v1/jobs/{job}/results", NotThere).beside(&["detect"]),
    op("DELETE", "/v1/jobs/{job}", NotThere),
    op("GET", "/v1/training-runs", Own),
    op("POST", "/v1/training-runs", NotThere).with(|w| json!({"collections": [w.id("collection")]})),
    op("GET", "/v1/training-runs/{run}", NotThere),
    op("GET", "/v1/training-runs/{run}/events", NotThere),
    op("GET", "/v1/training-runs/{run}/lineage", NotThere),
    op("GET", "/v1/training-runs/{run}/report.html", NotThere),
    op("DELETE", "/v1/training-runs/{run}", NotThere),
    op("GET", "/v1/models", Own),
    op("POST", "/v1/models", Own).uploading(),
    op("GET", "/v1/models/{model}", NotThere),
    op("GET", "/v1/models/{model}/card", NotThere),
    op("GET", "/v1/models/{model}/report.html?collection_id={collection}", NotThere),
    op("GET", "/v1/models/{model}/left-behind?collection_id={collection}", NotThere),
    op("POST", "/v1/models/{model}/promote", NotThere).with(in_collection),
    op("POST", "/v1/models/{model}/rollback", NotThere).with(in_collection),
    op("POST", "/v1/models/{model}/retire", NotThere).with(in_collection),
    op("DELETE", "/v1/models/{model}", NotThere),
    op("GET", "/v1/api-keys", Own),
    op("POST", "/v1/api-keys", Own).with(|_| json!({"name": "new", "scopes": ["keys"]})),
    op("GET", "/v1/api-keys/{key}", NotThere),
    op("POST", "/v1/api-keys/{key}/rotate", NotThere).with(|_| json!({})),
    op("DELETE", "/v1/api-keys/{key}", NotThere),
    op("GET", "/v1/erasures", Own),
    op("POST", "/v1/erasures", NotThere)
        .with(|w| json!({"collection_id": w.id("collection"), "subject_ids": ["acme-nobody"]})),
    op("GET", "/v1/erasures/{erasure}", NotThere),
    op("GET", "/v1/erasures/{erasure}/receipt", NotThere),
    op("DELETE", "/v1/collections/{collection}/subjects/{subject}/faces/{face}", NotThere),
    op("POST", "/v1/consents/{consent}/withdraw", NotThere),
    op("DELETE", "/v1/collections/{collection}/subjects/{subject}", NotThere),
    op("DELETE", "/v1/collections/{collection}", NotThere),
];
