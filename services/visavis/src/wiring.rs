//! From the sections of the configuration to the roles' own configurations. The names meet here and nowhere else.

use std::path::PathBuf;
use std::time::Duration;

use domain::ThresholdSpec;
use evaluation::gate::GatePolicy;
use gateway::{
    Algorithm, GatewayConfig, Grants, IssuerConfig, KeySource, Limits, RetentionConfig, TenantRule, Times, TlsConfig,
};
use queue::{MemoryOptions, Rate};
use runtime::Config;
use runtime::config::{IssuerSection, Provider, SignatureAlgorithm, TlsVersion};
use worker::{GateConfig, WorkerConfig};

use crate::data_dir::DataDir;

/// The gateway's configuration.
pub fn gateway(config: &Config, data: &DataDir) -> GatewayConfig {
    let (g, l) = (&config.gateway, &config.limits);
    let (cert, key) = certificate(config, data);
    let base = GatewayConfig::new(g.listen, cert, key);
    GatewayConfig {
        tls: TlsConfig {
            extra_names: g.tls_extra_names.clone(),
            allow_tls12: g.tls_min_version == TlsVersion::V1_2,
            ..base.tls
        },
        limits: Limits {
            image_bytes: l.image_bytes,
            request_bytes: l.request_bytes,
            json_bytes: l.json_bytes,
            max_images: l.images,
            connections: g.max_connections,
            in_flight: g.max_in_flight,
            buffered_bytes: g.max_buffered_bytes,
            queue_depth: config.queue.lane_jobs as u64,
            key_rate: key_rate(config),
            key_in_flight: Some(g.key_in_flight).filter(|n| *n > 0),
            job_items: l.job_items,
            import_bytes: l.import_bytes,
            event_streams: g.event_streams,
        },
        audit_kept: config.audit.kept(),
        audit_packed_after: config.audit.packed_after(),
        times: Times {
            deadline: g.default_deadline(),
            max_deadline: g.max_deadline(),
            body: g.body_timeout(),
            drain: config.shutdown.grace(),
            ..base.times
        },
        trusted_proxies: g.trusted_proxies.clone(),
        issuers: config.oidc.issuers.iter().map(issuer).collect(),
        metric_tenants: g.metric_tenants,
        retention: RetentionConfig {
            sweep_every: Some(Duration::from_millis(config.retention.sweep_every_ms)).filter(|d| !d.is_zero()),
            enrolled_warning: config.retention.enrolled_warning,
        },
        ..base
    }
}

/// An identity provider. The configuration's rules have been checked.
fn issuer(section: &IssuerSection) -> IssuerConfig {
    let ms = Duration::from_millis;
    IssuerConfig {
        issuer: section.issuer.clone(),
        audiences: section.audiences.clone(),
        keys: match (&section.jwks_url, &section.jwks_file) {
            (Some(url), _) => KeySource::Url(url.clone()),
            (None, Some(file)) => KeySource::File(file.clone()),
            (None, None) => KeySource::Discovery,
        },
        ca_file: section.ca_file.clone(),
        algorithms: section.algorithms.iter().copied().map(algorithm).collect(),
        tenant: tenant_rule(section),
        grants: Grants {
            scopes_claim: Some(section.scopes_claim.clone()).filter(|c| !c.is_empty()),
            roles_claim: section.roles_claim.clone(),
            roles: section.role_scopes().unwrap_or_default(),
        },
        leeway: ms(section.leeway_ms),
        refresh: ms(section.refresh_ms),
        cooldown: ms(section.cooldown_ms),
        kept: ms(section.keys_kept_ms),
    }
}

const fn algorithm(named: SignatureAlgorithm) -> Algorithm {
    match named {
        SignatureAlgorithm::Rs256 => Algorithm::Rs256,
        SignatureAlgorithm::Es256 => Algorithm::Es256,
        SignatureAlgorithm::EdDsa => Algorithm::EdDsa,
    }
}

/// The one tenant, or the claim that names it: the configuration has one of the two.
fn tenant_rule(section: &IssuerSection) -> TenantRule {
    match &section.tenant {
        Some(tenant) => TenantRule::Fixed(tenant.clone()),
        None => TenantRule::Claim {
            path: section.tenant_claim.clone().unwrap_or_default(),
            allowed: section.tenants.clone(),
        },
    }
}

/// What one API key may ask for; a burst of a second's worth where none is set.
fn key_rate(config: &Config) -> Option<Rate> {
    let per_second = config.gateway.key_requests_per_second;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the configuration's rules")]
    let second = per_second.ceil() as u32;
    let burst = if config.gateway.key_burst == 0 { second } else { config.gateway.key_burst };
    (per_second > 0.0).then(|| Rate { per_second, burst: burst.max(1) })
}

/// Certificate and key: the configured pair, or the one in the data directory.
pub fn certificate(config: &Config, data: &DataDir) -> (PathBuf, PathBuf) {
    match (&config.gateway.tls_cert_file, &config.gateway.tls_key_file) {
        (Some(cert), Some(key)) => (cert.clone(), key.clone()),
        _ => (data.tls().join("cert.pem"), data.tls().join("key.pem")),
    }
}

/// The worker's configuration.
pub fn worker(config: &Config) -> WorkerConfig {
    let (w, base) = (&config.worker, WorkerConfig::default());
    let or = |configured: usize, automatic: usize| if configured == 0 { automatic } else { configured };
    WorkerConfig {
        limits: vision::Limits {
            max_bytes: config.limits.image_bytes,
            max_pixels: config.limits.image_pixels,
            ..base.limits
        },
        max_pixels_in_flight: w.max_pixels_in_flight,
        interactive_jobs: or(w.interactive_jobs, base.interactive_jobs),
        bulk_jobs: or(w.bulk_jobs, base.bulk_jobs),
        provider: provider(w.provider),
        engine_cache: (w.provider == Provider::Tensorrt).then(|| config.store.data_dir.join("tensorrt")),
        session_threads: w.session_threads,
        cpu_threads: w.cpu_threads,
        detector_canvas: w.detector_canvas,
        detector_canvas_least: w.detector_canvas_least,
        detector_scouts: w.detector_scouts,
        detect_tiles: w.detect_tiles,
        detect_batch: w.detect_batch,
        embed_batch: w.embed_batch,
        batch_delay: w.batch_delay(),
        verification: ThresholdSpec::fmr(w.verification_fmr),
        lease: Duration::from_millis(w.lease_ms),
        min_idle: Duration::from_millis(w.min_idle_ms),
        gate: gate(config),
        #[cfg(debug_assertions)]
        crash_on: crate::settings::crash_on(),
        drain_grace: config.shutdown.grace(),
        ..base
    }
}

/// What computes.
pub const fn provider(configured: Provider) -> inference::Provider {
    match configured {
        Provider::Cpu => inference::Provider::Cpu,
        Provider::Cuda => inference::Provider::Cuda,
        Provider::Tensorrt => inference::Provider::TensorRt,
    }
}

/// What is asked of a model before it is promoted.
fn gate(config: &Config) -> GateConfig {
    let g = &config.gate;
    GateConfig {
        policy: GatePolicy {
            require_better: g.require_better,
            held_out_margin: g.held_out_margin,
            general_margin: g.general_margin,
            require_general_set: g.require_general_set,
            least_subjects: g.least_subjects,
        },
        general_set: g.general_set.clone(),
        most_subjects: g.most_subjects,
        resamples: g.resamples,
    }
}

/// The memory queue's bounds.
pub fn queue(config: &Config) -> MemoryOptions {
    MemoryOptions {
        lane_capacity: config.queue.lane_jobs,
        lane_bytes: config.queue.lane_bytes,
        ..MemoryOptions::default()
    }
}
