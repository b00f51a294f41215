//! HTTPS edge: knows HTTP and the queue, no tensors. Every request passes the edge (credential, admission, body,
//! idempotency) and a thin handler; what needs a model travels as a job and comes back as a reply.
//!
//! The binary calls [`ensure_admin_key`], then [`Gateway::bind`] and [`Gateway::serve`] (or [`run`]).

mod admin_key;
mod admission;
mod answers;
mod audit;
mod auth;
mod clock;
mod config;
mod connections;
mod context;
mod crops;
mod dispatch;
mod docs;
mod edge;
mod erasure;
mod erasures;
mod extract;
mod fleet;
mod follow;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod metrics;
mod notes;
mod oidc;
mod openapi;
mod peer;
mod pending;
mod problem;
mod promotions;
mod retention;
mod routes;
mod server;
mod standing;
mod state;
mod system;
mod tls;

pub use admin_key::{AdminKey, AdminKeyError, ensure_admin_key};
pub use config::{GatewayConfig, Limits, RetentionConfig, Times, TlsConfig};
pub use oidc::{Algorithm, Grants, IssuerConfig, KeySource, OidcError, TenantRule};
pub use openapi::openapi_json;
pub use server::{Gateway, GatewayDeps, GatewayError, run};
pub use system::SystemInfo;
pub use tls::TlsError;
