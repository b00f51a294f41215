//! The admin server: `/metrics`, `/livez` and `/readyz` over plain HTTP on an address of its own, for probes and
//! scrapers. Started by the binary before anything else, so that a process can be watched while it starts.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Readiness;
use crate::process::ProcessCollector;

/// Media type of the Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why the admin server could not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be bound.
    #[error("the admin address {address} cannot be used: {source}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The process's own metrics clash with others.
    #[error("the process metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl AdminError {
    /// The code a caller would see.
    #[must_use]
    pub const fn code(&self) -> domain::ErrorCode {
        domain::ErrorCode::Internal
    }
}

/// A bound admin server.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    registry: Registry,
    readiness: Readiness,
}

impl AdminServer {
    /// Binds the address and adds the process's own metrics to the registry.
    ///
    /// # Errors
    /// When the address is in use or not ours, or the registry holds the process metrics already.
    pub async fn bind(address: SocketAddr, registry: Registry, readiness: Readiness) -> Result<Self, AdminError> {
        let bind = |source| AdminError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        registry.register(Box::new(ProcessCollector::new()?))?;
        Ok(Self { listener, address, registry, readiness })
    }

    /// The bound address, with the port that was taken.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the token is cancelled.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, shutdown: CancellationToken) -> io::Result<()> {
        let routes = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .with_state(self.readiness)
            .merge(Router::new().route("/metrics", get(metrics)).with_state(self.registry));
        axum::serve(self.listener, routes).with_graceful_shutdown(shutdown.cancelled_owned()).await
    }
}

/// 200 when ready, else 503; `?verbose` lists the conditions as JSON.
async fn readyz(State(readiness): State<Readiness>, RawQuery(query): RawQuery) -> Response {
    let snapshot = readiness.snapshot();
    let status = if snapshot.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose = query.is_some_and(|q| q.split('&').any(|p| p == "verbose" || p.starts_with("verbose=")));
    match serde_json::to_string_pretty(&snapshot) {
        Ok(json) if verbose => (status, [(header::CONTENT_TYPE, "application/json")], json + "\n").into_response(),
        _ => (status, if snapshot.ready { "ready\n" } else { "not ready\n" }).into_response(),
    }
}

async fn metrics(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
