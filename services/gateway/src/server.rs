//! Starts, serves and stops the gateway.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use ::crops::Crops;
use axum_server::Handle;
use domain::ErrorCode;
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use prometheus::Registry;
use queue::{Queue, QueueError, Replies};
use store::{Pepper, Store, StoreError};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    admission,
    audit::{self, AuditWriter, FullPages},
    config::GatewayConfig,
    connections::Bounded,
    dispatch::take_replies,
    edge, erasures,
    metrics::Metrics,
    oidc::{Oidc, OidcError},
    openapi, retention,
    state::{App, AppState, Parts},
    system::SystemInfo,
    tls::{Certificate, TlsError},
};

/// Longest time for a request's head, and for a connection's first request in all.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest head of HTTP/1.1, which is also what is read at a time. HTTP/2 has the library's 16 KiB.
const HEAD_BYTES: usize = 64 << 10;
/// Requests at once on one connection of HTTP/2, as nginx has it in front.
const STREAMS: u32 = 128;

/// What the gateway works with; made by the binary.
pub struct GatewayDeps {
    /// Records.
    pub store: Arc<dyn Store>,
    /// Lanes and replies.
    pub queue: Queue,
    /// Where crops are kept; none where this process keeps no objects.
    pub crops: Option<Crops>,
    /// Registered models; none where this process keeps no objects.
    pub models: Option<registry::Registry>,
    /// Where metrics are registered.
    pub registry: Registry,
    /// The process around the gateway.
    pub system: Arc<dyn SystemInfo>,
}

/// Why the gateway does not start or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        reason: std::io::Error,
    },
    /// No usable certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An identity provider that cannot be set up.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A metric's name is taken in the registry.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Serving ended by itself.
    #[error("the server stopped: {0}")]
    Serve(std::io::Error),
}

impl GatewayError {
    /// The code a caller would see; nobody does, since nothing is served.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Store(e) => e.code(),
            Self::Queue(e) => e.code(),
            _ => ErrorCode::Internal,
        }
    }
}

/// A gateway that listens but does not serve yet.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    certificate: Certificate,
    app: App,
    router: axum::Router,
    replies: Replies,
    writer: AuditWriter,
    pages: FullPages,
}

impl Gateway {
    /// Takes the address, reads or makes the certificate, opens the reply stream. Connections queue up from here on.
    ///
    /// # Errors
    /// [`GatewayError`] for an address, certificate, store or queue that cannot be used.
    pub async fn bind(config: GatewayConfig, deps: GatewayDeps) -> Result<Self, GatewayError> {
        let listen = |reason| GatewayError::Listen { address: config.listen, reason };
        let listener = TcpListener::bind(config.listen).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let certificate = Certificate::load_or_make(&config)?;
        let replies = deps.queue.open_replies().await?;
        let (router, rules, document) = openapi::build();
        let pepper = Pepper::load(&*deps.store).await?;
        let (app, writer, pages) = AppState::new(Parts {
            pepper,
            oidc: Oidc::new(&config.issuers, pepper)?,
            store: deps.store,
            reply_to: replies.address().to_owned(),
            queue: deps.queue,
            crops: deps.crops,
            models: deps.models,
            metrics: Metrics::new(&deps.registry, config.metric_tenants)?,
            system: deps.system,
            config,
            rules,
            document,
        });
        let app = Arc::new(app);
        let layer = axum::middleware::from_fn_with_state(app.clone(), edge::edge);
        let router = router.layer(axum::extract::DefaultBodyLimit::disable()).layer(layer).with_state(app.clone());
        Ok(Self { listener, address, certificate, app, router, replies, writer, pages })
    }

    /// Where it listens; the real port where port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then finishes what is in flight within the drain time.
    ///
    /// # Errors
    /// [`GatewayError::Serve`].
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), GatewayError> {
        let Self { listener, address, certificate, app, router, replies, writer, pages } = self;
        let _writer = AbortOnDropHandle::new(tokio::spawn(writer.run()));
        let _upkeep = AbortOnDropHandle::new(tokio::spawn(audit::upkeep(app.clone(), pages)));
        let _erasures = AbortOnDropHandle::new(tokio::spawn(erasures::run(app.clone())));
        let tls = certificate.live();
        let _follow = AbortOnDropHandle::new(tokio::spawn(certificate.follow()));
        let _replies = AbortOnDropHandle::new(tokio::spawn(take_replies(replies, app.pending.clone())));
        let _lanes = AbortOnDropHandle::new(tokio::spawn(admission::sample(app.clone())));
        let _issuers = AbortOnDropHandle::new(tokio::spawn({
            let app = app.clone();
            async move { app.oidc.follow().await }
        }));
        let _retention = AbortOnDropHandle::new(tokio::spawn(retention::keep(app.clone())));
        let _fleet = AbortOnDropHandle::new(tokio::spawn(app.fleet.follow()));
        let handle = Handle::new();
        let drain = app.config.times.drain;
        let _stop = AbortOnDropHandle::new(tokio::spawn({
            let (handle, app) = (handle.clone(), app.clone());
            async move {
                shutdown.cancelled().await;
                tracing::info!(grace_s = drain.as_secs(), "draining");
                app.drain();
                handle.graceful_shutdown(Some(drain));
            }
        }));
        tracing::info!(%address, "listening");
        let bounded = Bounded::new(app.config.limits.connections, app.metrics.clone());
        let server = axum_server::from_tcp_rustls(listener, tls).map_err(GatewayError::Serve)?;
        // A connection that sends its first request slowly, or none, is closed.
        let mut server = server.map(|tls| tls.acceptor(bounded)).handle(handle).first_request_timeout(HEAD_TIMEOUT);
        harden(server.http_builder());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        server.serve(service).await.map_err(GatewayError::Serve)?;
        app.detached.close();
        if tokio::time::timeout(drain, app.detached.wait()).await.is_err() {
            tracing::warn!("some requests were still being worked on at the end of the drain");
        }
        Ok(())
    }
}

/// Bounds on what one connection may cost. Where the library's own are as good, they are not repeated: streams reset
/// before they were looked at, frames of a head that does not end, resets that it is made to send.
fn harden(http: &mut Builder<TokioExecutor>) {
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
    let mut http2 = http.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30)).max_concurrent_streams(STREAMS);
}

/// [`Gateway::bind`] and [`Gateway::serve`] in one.
///
/// # Errors
/// As theirs.
pub async fn run(config: GatewayConfig, deps: GatewayDeps, shutdown: CancellationToken) -> Result<(), GatewayError> {
    Gateway::bind(config, deps).await?.serve(shutdown).await
}
