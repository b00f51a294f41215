//! A real identity provider: HTTPS on this machine, with a certificate of its own, keys that change, and a count of how
//! often it is asked for them.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::get};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use gateway::{Algorithm, Grants, IssuerConfig, KeySource, TenantRule};
use parking_lot::Mutex;
use serde_json::{Value, json};
use testkit::{Signer, key_set};
use tokio::task::JoinHandle;

/// What the service is called in tokens.
pub const AUDIENCE: &str = "visavis";

/// The identity provider, running until it is stopped or dropped.
pub struct Issuer {
    /// Its name and address.
    pub url: String,
    /// How often its keys were fetched.
    pub fetched: Arc<AtomicUsize>,
    published: Arc<Mutex<Published>>,
    certificate: PathBuf,
    handle: Handle<SocketAddr>,
    serving: JoinHandle<std::io::Result<()>>,
    _folder: tempfile::TempDir,
}

#[derive(Clone, Default)]
struct Published {
    keys: Value,
    discovery: Value,
}

#[derive(Clone)]
struct Shared {
    published: Arc<Mutex<Published>>,
    fetched: Arc<AtomicUsize>,
}

impl Issuer {
    /// Serves these keys.
    pub async fn start(signers: &[&Signer]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = folder.path().join("issuer.pem");
        std::fs::write(&certificate, own.cert.pem()).unwrap();
        let pem = (own.cert.pem().into_bytes(), own.signing_key.serialize_pem().into_bytes());
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        drop(provider.install_default());
        let tls = RustlsConfig::from_pem(pem.0, pem.1).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let discovery = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        let published = Arc::new(Mutex::new(Published { keys: key_set(signers), discovery }));
        let (fetched, handle) = (Arc::new(AtomicUsize::default()), Handle::new());
        let shared = Shared { published: published.clone(), fetched: fetched.clone() };
        let router =
            Router::new().route("/keys", get(keys)).route("/.well-known/openid-configuration", get(discovered));
        let server = axum_server::from_tcp_rustls(listener, tls).unwrap().handle(handle.clone());
        let serving = tokio::spawn(server.serve(router.with_state(shared).into_make_service()));
        Self { url, fetched, published, certificate, handle, serving, _folder: folder }
    }

    /// Changes its keys.
    pub fn publish(&self, signers: &[&Signer]) {
        self.published.lock().keys = key_set(signers);
    }

    /// Says something else about itself.
    pub fn discovery(&self, document: Value) {
        self.published.lock().discovery = document;
    }

    /// Goes away: from now on nobody answers at its address.
    pub async fn stop(&mut self) {
        self.handle.shutdown();
        (&mut self.serving).await.unwrap().unwrap();
    }

    /// How often its keys were fetched so far.
    pub fn fetches(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }

    /// As the service is set up to believe it: tenant `default`, scopes by name, readers and admins by group.
    pub fn config(&self) -> IssuerConfig {
        IssuerConfig {
            issuer: self.url.clone(),
            audiences: vec![AUDIENCE.into()],
            keys: KeySource::Discovery,
            ca_file: Some(self.certificate.clone()),
            algorithms: Algorithm::ALL.to_vec(),
            tenant: TenantRule::Fixed("default".parse().unwrap()),
            grants: Grants {
                scopes_claim: Some("scope".into()),
                roles_claim: Some("groups".into()),
                roles: [("face-readers".to_owned(), domain::Role::Reader.scopes())].into(),
            },
            leeway: Duration::from_secs(60),
            refresh: Duration::from_secs(3600),
            cooldown: Duration::ZERO,
            kept: Duration::from_secs(24 * 3600),
        }
    }

    /// Claims of one of its tokens with these scopes.
    pub fn claims(&self, subject: &str, scopes: &str) -> Value {
        let mut claims = testkit::claims(&self.url, AUDIENCE, subject);
        claims["scope"] = scopes.into();
        claims
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

async fn keys(State(shared): State<Shared>) -> Json<Value> {
    shared.fetched.fetch_add(1, Ordering::SeqCst);
    Json(shared.published.lock().keys.clone())
}

async fn discovered(State(shared): State<Shared>) -> Json<Value> {
    Json(shared.published.lock().discovery.clone())
}
