//! The service that the tests here share, with identity providers whose keys lie in a file; and, for each test, two tenants
//! of its own, one of which has one of everything.

use std::{
    collections::BTreeMap,
    fs,
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::candidates::tiny;
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{AppOptions, Client, Person, Signer, TestApp, claims, encoded, enrolment, key_set, unix_seconds};

/// A key for exports: 32 bytes.
pub const EXPORT_KEY: &str = "9f2c4b7a1d8e6035c4a9f1720b5d3e86a7c1942f60d8b35e1f7a2c9d04e6b8f3";
/// The identity provider of each tenant, as tokens name them.
pub const ISSUERS: [(&str, &str); 2] = [("acme", "https://login.acme.test"), ("globex", "https://login.globex.test")];
/// What tokens call the service.
pub const AUDIENCE: &str = "visavis";
/// Subject of the tokens: somebody whose name is in no log.
pub const PERSON: &str = "zq1-person-in-a-token@example.org";
/// How long a key lives that is to expire.
const SHORT_LIFE: Duration = Duration::from_secs(2);

/// Longest time for what takes a moment.
const LONG: Duration = Duration::from_secs(60);

/// The service, and the identity providers' key.
struct Shared {
    app: TestApp,
    signer: Signer,
    _folder: TempDir,
}

/// Started once: it believes an identity provider for each tenant of [`ISSUERS`], and a proxy on this machine.
fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let signer = Signer::ed25519("k1");
        let keys = folder.path().join("keys.json");
        fs::write(&keys, key_set(&[&signer]).to_string()).expect("the keys are written");
        let settings = folder.path().join("visavis.toml");
        let issuer = |(tenant, issuer): (&str, &str)| {
            let keys = keys.display();
            format!(
                "[[oidc.issuers]]\nissuer = '{issuer}'\naudiences = ['{AUDIENCE}']\njwks_file = '{keys}'\n\
                 tenant = '{tenant}'\nroles_claim = 'groups'\nroles = {{ face-admins = ['admin'] }}\n"
            )
        };
        let proxies = "[gateway]\ntrusted_proxies = ['127.0.0.1']\n".to_owned();
        fs::write(&settings, proxies + &ISSUERS.map(issuer).concat()).expect("the settings are written");
        let arguments = vec!["--config".to_owned(), settings.display().to_string()];
        let app = TestApp::start_with(AppOptions { arguments, ..AppOptions::default() });
        Shared { app, signer, _folder: folder }
    })
}

/// The service.
pub fn app() -> &'static TestApp {
    &shared().app
}

/// Two tenants and what one of them has.
pub struct World {
    /// Admin of the tenant that has one of everything.
    pub acme: Client,
    /// Admin of another tenant.
    pub globex: Client,
    /// What acme has, by the name of the parameter in a path.
    pub ids: BTreeMap<&'static str, String>,
    /// A photo of the enrolled subject, encoded.
    pub photo: Value,
    /// An export of its collection, sealed with [`EXPORT_KEY`].
    pub export: Bytes,
    /// The identity providers' key.
    pub signer: &'static Signer,
    /// A key of acme with every scope, and when it expires in seconds since 1970.
    pub expiring: (String, u64),
}

impl World {
    /// Makes the tenants, and gives the first one of everything.
    pub async fn of([acme, globex]: [&str; 2]) -> Self {
        let operator = app().client();
        let acme = operator.with_key(&admin_of(&operator, acme).await);
        let globex = operator.with_key(&admin_of(&operator, globex).await);
        let expiring = expiring(&acme).await;
        let ids = furnish(&acme).await;
        let photo = encoded(&Person::Astronaut.photo());
        let export = acme.request("POST", &format!("/v1/collections/{}/export", ids["collection"]));
        let export = acme.send(export.header("visavis-export-key", EXPORT_KEY)).await.expect(200).bytes;
        Self { export, acme, globex, ids, photo, signer: &shared().signer, expiring }
    }

    /// The id that acme has for a parameter of a path.
    pub fn id(&self, parameter: &str) -> &str {
        self.ids.get(parameter).unwrap_or_else(|| panic!("the world has no {parameter}: make one in world.rs"))
    }

    /// Claims of a token of a tenant's identity provider, with these scopes.
    pub fn claims(&self, tenant: &str, scopes: &str) -> Value {
        let issuer = ISSUERS.iter().find(|(t, _)| *t == tenant).expect("a tenant with an identity provider").1;
        let mut claims = claims(issuer, AUDIENCE, PERSON);
        claims["scope"] = scopes.into();
        claims
    }

    /// Everything that acme can see of what it has.
    pub async fn state(&self) -> Value {
        let (c, s) = (self.id("collection"), self.id("subject"));
        let mut state = serde_json::Map::new();
        for path in [
            "/v1/collections?limit=100".to_owned(),
            format!("/v1/collections/{c}/stats"),
            format!("/v1/collections/{c}/subjects?limit=100"),
            format!("/v1/collections/{c}/subjects/{s}"),
            format!("/v1/collections/{c}/subjects/{s}/faces?limit=100"),
            "/v1/consents?limit=100".to_owned(),
            "/v1/jobs?limit=100".to_owned(),
            "/v1/api-keys?limit=100".to_owned(),
            "/v1/erasures?limit=100".to_owned(),
            "/v1/training-runs?limit=100".to_owned(),
            "/v1/models?limit=100".to_owned(),
        ] {
            let mut seen = self.acme.get(&path).await.ok();
            if path.ends_with("/stats") {
                // The tenant's persons are counted now and then, whatever is asked.
                seen["tenant"].take();
            }
            state.insert(path, seen);
        }
        state.into()
    }

    /// Waits until the key that was made to expire has.
    pub async fn expired(&self) -> &str {
        let (key, end) = &self.expiring;
        while unix_seconds() <= *end {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        key
    }
}

/// Makes a tenant by making its first key.
async fn admin_of(operator: &Client, tenant: &str) -> String {
    key(operator, json!({"name": "first", "roles": ["admin"], "tenant": tenant})).await.1
}

/// Makes a key: its id and its text.
pub async fn key(client: &Client, body: Value) -> (String, String) {
    let made = client.post("/v1/api-keys", &body).await.expect(201).json;
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    (text("id"), text("secret"))
}

async fn expiring(acme: &Client) -> (String, u64) {
    let end = unix_seconds() + SHORT_LIFE.as_secs();
    let ends = domain::Timestamp::from_millis(i64::try_from(end).expect("a time") * 1000).to_string();
    let body = json!({"name": "short-lived", "roles": ["admin"], "expires_at": ends});
    (key(acme, body).await.1, end)
}

/// One of everything. Ids that callers choose begin with the tenant's name.
async fn furnish(acme: &Client) -> BTreeMap<&'static str, String> {
    drop(acme.create_collection("acme-staff").await);
    let photo = Person::Astronaut.photo();
    let path = "/v1/collections/acme-staff/subjects";
    let enrolled = acme.post(path, &enrolment("acme-anna", std::slice::from_ref(&photo))).await.expect(201).json;
    let text = |v: &Value| v.as_str().expect("an id").to_owned();
    let detect = acme.request("POST", "/v1/detect").header("prefer", "respond-async");
    let job = acme.send(detect.json(&json!({"image": encoded(&photo)}))).await.expect(202).json;
    let job = text(&job["id"]);
    // Until it has ended nothing is certain to stay as it is.
    drop(acme.get(&format!("/v1/jobs/{job}/events")).await.ok());
    // Of nobody's crops: it fails at once, and stays as it is.
    let retain = json!({"retain_crops": "training"});
    drop(acme.patch("/v1/collections/acme-staff", &retain).await.expect(200));
    let run = acme.post("/v1/training-runs", &json!({"collections": ["acme-staff"]})).await.expect(202).json;
    let run = text(&run["id"]);
    drop(acme.get(&format!("/v1/training-runs/{run}/events")).await.ok());
    let spare = key(acme, json!({"name": "spare", "scopes": ["keys"]})).await.0;
    let whom = json!({"collection_id": "acme-staff", "subject_ids": ["acme-nobody"]});
    let erasure = acme.post("/v1/erasures", &whom).await.expect(202).json;
    let erasure = text(&erasure["id"]);
    let receipt = format!("/v1/erasures/{erasure}/receipt");
    let began = Instant::now();
    while acme.get(&receipt).await.status != 200 {
        assert!(began.elapsed() < LONG, "no receipt of an erasure of nobody");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let model = model(acme).await;
    BTreeMap::from([
        ("model", model),
        ("collection", "acme-staff".to_owned()),
        ("subject", "acme-anna".to_owned()),
        ("face", text(&enrolled["faces"][0]["id"])),
        ("consent", text(&enrolled["consent_id"])),
        ("job", job),
        ("key", spare),
        ("erasure", erasure),
        ("run", run),
    ])
}

/// A model that the gate has looked at and refused: nobody here has a retained picture.
async fn model(acme: &Client) -> String {
    let leave = json!({"promotion": {"without_crops": "leave"}});
    drop(acme.patch("/v1/collections/acme-staff", &leave).await.expect(200));
    let made = tiny("tiny").register(acme, "acme-tiny").await.expect(201).json;
    let id = made["id"].as_str().expect("an id").to_owned();
    let promote = format!("/v1/models/{id}/promote");
    let answer = acme.post(&promote, &json!({"collection_id": "acme-staff"})).await.expect(409);
    drop(answer.problem("gate_failed"));
    id
}
