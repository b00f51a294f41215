//! What every handler can reach: settings, repositories, queue, pending jobs, metrics.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use ::crops::Crops;
use domain::{Collection, CollectionId, ErrorCode, Principal, TenantId};
use queue::Queue;
use registry::Registry;
use store::{
    ApiKeys, Audit, Collections, Consents, Erasures, Idempotency, Jobs, Pepper, Runs, SigningKeys, Store, Subjects,
    Versioned,
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::{
    admission::Admission,
    audit::{AuditLog, AuditWriter, FullPages},
    auth::Remembered,
    config::GatewayConfig,
    fleet::Fleet,
    metrics::Metrics,
    oidc::Oidc,
    openapi::Rules,
    pending::Pending,
    problem::{ApiProblem, Result},
    system::SystemInfo,
};

/// Exports and imports under way at once.
const TRANSFERS: usize = 4;

/// Shared by all handlers.
pub(crate) type App = Arc<AppState>;

/// One gateway.
pub(crate) struct AppState {
    pub config: GatewayConfig,
    pub store: Arc<dyn Store>,
    pub pepper: Pepper,
    pub collections: Collections,
    pub keys: ApiKeys,
    /// Identity providers.
    pub oidc: Oidc,
    /// Credentials for quick refusals.
    pub remembered: Remembered,
    pub idempotency: Idempotency,
    pub queue: Queue,
    /// Where crops are kept, if anywhere.
    pub crops: Option<Crops>,
    /// Registered models, if files can be kept anywhere.
    pub models: Option<Registry>,
    /// Where workers send replies for this gateway.
    pub reply_to: String,
    pub pending: Pending,
    pub admission: Admission,
    /// Where events of the audit trail are handed in.
    pub audit: AuditLog,
    /// Told when an erasure was accepted.
    pub erasures: Notify,
    /// A permit for each event stream.
    pub event_streams: Arc<Semaphore>,
    /// A permit for each export and import.
    pub transfers: Arc<Semaphore>,
    pub metrics: Metrics,
    pub system: Arc<dyn SystemInfo>,
    pub fleet: Arc<Fleet>,
    /// Which scope each operation needs, from the OpenAPI document.
    pub rules: Rules,
    /// The document itself, as served.
    pub document: String,
    /// Work that outlives its connection; a drain waits for it.
    pub detached: TaskTracker,
    draining: AtomicBool,
}

/// What [`AppState::new`] needs that the binary gave.
pub(crate) struct Parts {
    pub config: GatewayConfig,
    pub store: Arc<dyn Store>,
    pub pepper: Pepper,
    pub queue: Queue,
    pub crops: Option<Crops>,
    pub models: Option<Registry>,
    pub reply_to: String,
    pub metrics: Metrics,
    pub oidc: Oidc,
    pub system: Arc<dyn SystemInfo>,
    pub rules: Rules,
    pub document: String,
}

impl AppState {
    /// The state, and who writes its audit trail.
    pub fn new(parts: Parts) -> (Self, AuditWriter, FullPages) {
        let Parts { config, store, pepper, queue, crops, models, reply_to, metrics, oidc, system, rules, document } =
            parts;
        let (audit, writer, pages) = AuditLog::new(store.clone());
        let state = Self {
            audit,
            erasures: Notify::new(),
            collections: Collections::new(store.clone()),
            keys: ApiKeys::new(store.clone()),
            remembered: Remembered::default(),
            idempotency: Idempotency::new(store.clone()),
            admission: Admission::new(&config.limits, metrics.clone()),
            fleet: Arc::new(Fleet::new(queue.clone(), system.clone(), metrics.workers.clone())),
            event_streams: Arc::new(Semaphore::new(config.limits.event_streams.min(Semaphore::MAX_PERMITS))),
            transfers: Arc::new(Semaphore::new(TRANSFERS)),
            pending: Pending::default(),
            detached: TaskTracker::new(),
            draining: AtomicBool::new(false),
            config,
            store,
            pepper,
            queue,
            crops,
            models,
            reply_to,
            metrics,
            oidc,
            system,
            rules,
            document,
        };
        (state, writer, pages)
    }

    /// The subjects of a collection of the caller's tenant.
    pub fn subjects(&self, who: &Principal, collection: &CollectionId) -> Subjects {
        Subjects::new(self.store.clone(), self.pepper, who.tenant.clone(), collection.clone())
    }

    /// The jobs of a tenant.
    pub fn jobs(&self, tenant: &TenantId) -> Jobs {
        Jobs::new(self.store.clone(), tenant)
    }

    /// The consents of the caller's tenant.
    pub fn consents(&self, who: &Principal) -> Consents {
        Consents::new(self.store.clone(), self.pepper, who.tenant.clone())
    }

    /// The erasures of a tenant.
    pub fn erasures_of(&self, tenant: &TenantId) -> Erasures {
        Erasures::new(self.store.clone(), tenant)
    }

    /// The training runs of a tenant.
    pub fn runs(&self, tenant: &TenantId) -> Runs {
        Runs::new(self.store.clone(), tenant)
    }

    /// The audit trail of a tenant.
    pub fn trail(&self, tenant: &TenantId) -> Audit {
        Audit::new(self.store.clone(), tenant)
    }

    /// The keys that sign receipts and heads of audit trails.
    pub fn signing_keys(&self) -> SigningKeys {
        SigningKeys::new(self.store.clone())
    }

    /// The collection, or 404.
    pub async fn collection(&self, who: &Principal, id: &CollectionId) -> Result<Versioned<Collection>> {
        let found = self.collections.get(&who.tenant, id).await?;
        found.ok_or_else(|| ApiProblem::new(ErrorCode::CollectionNotFound, format!("there is no collection {id}")))
    }

    /// Whether a shutdown has begun.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Begins the shutdown: `/readyz` fails from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
