//! A running gateway for a test, with a client that trusts it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::ContractId;
use gateway::{AdminKey, Gateway, GatewayConfig, GatewayDeps, GatewayError, SystemInfo, ensure_admin_key};
use parking_lot::Mutex;
use queue::{MemoryEngine, MemoryOptions, Queue};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use store::{RedbStore, Store, tapped::Tapped};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{fragile::Fragile, presence::Presence, unplugged::Unplugged, worker::Worker};

/// Gateway, stand-in worker, store on disk, client with the admin key.
pub struct App {
    pub base: String,
    pub key: String,
    pub store: Arc<dyn Store>,
    /// Set: the store cannot be reached.
    pub store_away: Arc<AtomicBool>,
    /// How the queue is reached.
    pub plug: Arc<AtomicU8>,
    /// Jobs cancelled so far.
    pub cancelled: Arc<AtomicUsize>,
    pub queue: Queue,
    pub registry: prometheus::Registry,
    pub system: Arc<FakeSystem>,
    /// Takes jobs.
    pub worker: Option<Worker>,
    /// What tells the gateway of it.
    pub presence: Presence,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<Result<(), GatewayError>>,
    pub config: GatewayConfig,
    client: Client,
    _dir: Arc<tempfile::TempDir>,
}

/// The process around the gateway: what it waits for, and whether asking for its roles panics.
#[derive(Default)]
pub struct FakeSystem(pub Mutex<Option<String>>, pub AtomicBool);

pub fn contract() -> ContractId {
    ContractId::derive(&[7; 32], "rgb", "arcface-112")
}

impl SystemInfo for FakeSystem {
    fn roles(&self) -> Vec<String> {
        assert!(!self.1.load(Ordering::SeqCst), "asked to panic");
        vec!["gateway".into()]
    }
    fn waiting_for(&self) -> Option<String> {
        self.0.lock().clone()
    }
    fn durability(&self) -> String {
        "flushed to disk".into()
    }
    fn queue_engine(&self) -> String {
        "memory".into()
    }
}

impl App {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(adjust: impl FnOnce(&mut GatewayConfig)) -> Self {
        Self::start_on(MemoryOptions::default(), adjust).await
    }

    pub async fn start_on(options: MemoryOptions, adjust: impl FnOnce(&mut GatewayConfig)) -> Self {
        testkit::bound_this_test();
        let dir = tempfile::tempdir().unwrap();
        let redb = RedbStore::open(&dir.path().join("store.redb")).unwrap();
        let away = Arc::new(AtomicBool::new(false));
        let store: Arc<dyn Store> = Tapped::new(Arc::new(redb), Fragile(away.clone()));
        let (plug, cancelled) = (Arc::new(AtomicU8::default()), Arc::new(AtomicUsize::default()));
        let inner = MemoryEngine::new(options);
        let queue = Queue::new(Arc::new(Unplugged { inner, plug: plug.clone(), cancelled: cancelled.clone() }));
        let queue = queue.lane_capacity(options.lane_capacity);
        let tls = dir.path().join("tls");
        let mut config = GatewayConfig::new(([127, 0, 0, 1], 0).into(), tls.join("cert.pem"), tls.join("key.pem"));
        adjust(&mut config);
        let AdminKey::Made(key) = ensure_admin_key(store.clone(), None).await.unwrap() else { panic!("no key made") };
        let registry = prometheus::Registry::new();
        let system = Arc::new(FakeSystem::default());
        let deps = GatewayDeps {
            store: store.clone(),
            queue: queue.clone(),
            crops: None,
            models: None,
            registry: registry.clone(),
            system: system.clone(),
        };
        let presence = Presence::announce(&queue, &store, "stand-in").await;
        let gateway = Gateway::bind(config.clone(), deps).await.unwrap();
        let base = format!("https://localhost:{}", gateway.address().port());
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(gateway.serve(shutdown.clone()));
        let client = client(&config, |c| c);
        let worker = Some(Worker::start(queue.clone(), store.clone()));
        Self {
            base,
            key,
            store,
            store_away: away,
            plug,
            cancelled,
            queue,
            registry,
            system,
            worker,
            presence,
            shutdown,
            serving,
            config,
            client,
            _dir: Arc::new(dir),
        }
    }

    /// Another gateway on the same store and queue. The worker stays with the first.
    pub async fn second(&self) -> Self {
        self.second_on(&tokio::runtime::Handle::current()).await
    }

    /// The same in a runtime of its own.
    pub async fn second_on(&self, runtime: &tokio::runtime::Handle) -> Self {
        let (registry, shutdown) = (prometheus::Registry::new(), CancellationToken::new());
        let deps = GatewayDeps {
            store: self.store.clone(),
            queue: self.queue.clone(),
            crops: None,
            models: None,
            registry: registry.clone(),
            system: self.system.clone(),
        };
        let gateway = runtime.spawn(Gateway::bind(self.config.clone(), deps)).await.unwrap().unwrap();
        Self {
            base: format!("https://localhost:{}", gateway.address().port()),
            key: self.key.clone(),
            store: self.store.clone(),
            store_away: self.store_away.clone(),
            queue: self.queue.clone(),
            registry,
            system: self.system.clone(),
            worker: None,
            plug: self.plug.clone(),
            cancelled: self.cancelled.clone(),
            presence: self.presence.clone(),
            serving: runtime.spawn(gateway.serve(shutdown.clone())),
            shutdown,
            config: self.config.clone(),
            client: client(&self.config, |c| c),
            _dir: self._dir.clone(),
        }
    }

    /// A request with the admin key.
    pub fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.call_as(&self.key, method, path)
    }

    /// A request with another key.
    pub fn call_as(&self, key: &str, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(key)
    }

    /// A request without a credential.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.call(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        answer(self.call(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        answer(self.call(Method::POST, path).json(&body)).await
    }

    /// A key with these scopes.
    pub async fn key_with(&self, scopes: &[&str]) -> String {
        let made = self.post("/v1/api-keys", json!({"name": "test", "scopes": scopes})).await;
        made.expect(201)["secret"].as_str().unwrap().to_owned()
    }

    /// A collection for `access_control`.
    pub async fn collection(&self, id: &str) -> Answer {
        let made = self.post("/v1/collections", json!({"id": id, "purposes": ["access_control"]})).await;
        assert_eq!(made.status, 201, "{made:?}");
        made
    }

    /// A subject with consent and one face.
    pub async fn subject(&self, collection: &str, id: &str) -> Answer {
        let body = json!({"id": id, "consent": consent(), "image": image("face")});
        let made = self.post(&format!("/v1/collections/{collection}/subjects"), body).await;
        assert_eq!(made.status, 201, "{made:?}");
        made
    }
}

/// A client that trusts the gateway's certificate and nothing else.
pub fn client(config: &GatewayConfig, adjust: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Client {
    let pem = std::fs::read(&config.tls.cert).unwrap();
    let builder = Client::builder().tls_certs_only([Certificate::from_pem(&pem).unwrap()]).no_proxy();
    adjust(builder.timeout(Duration::from_secs(30))).build().unwrap()
}

pub fn consent() -> Value {
    json!({"purposes": ["access_control"], "method": "signed_form"})
}

/// An image whose content tells the stand-in worker what to find in it.
pub fn image(content: &str) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    json!({"b64": STANDARD.encode(content)})
}

/// A response, read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

pub async fn answer(request: RequestBuilder) -> Answer {
    read(request.send().await.unwrap()).await
}

pub async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = if status == StatusCode::NO_CONTENT || text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    };
    Answer { status: status.as_u16(), headers, body }
}

impl Answer {
    /// The body, if the status is this one.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }

    /// Asserts a complete problem of this code whose detail holds these words.
    pub fn problem(&self, status: u16, code: &str, words: &str) -> &Self {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{:?}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("urn:visavis:problem:{code}"));
        assert_eq!(self.body["request_id"], self.header("x-request-id"));
        assert!(self.body["title"].is_string() && self.body["retryable"].is_boolean());
        let detail = self.body["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{detail:?} says nothing of {words:?}");
        self
    }

    /// The field the problem is about.
    pub fn pointer(&self) -> &str {
        self.body["errors"][0]["pointer"].as_str().unwrap_or_default()
    }
}
