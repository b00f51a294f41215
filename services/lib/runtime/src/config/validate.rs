//! Rules between keys, checked on the typed configuration. Called by `config::load`, which adds the sources.

use super::{Config, QueueEngine, StoreEngine};

/// A key and what is wrong with its value.
pub(super) type Broken = (&'static str, String);

/// Every rule that does not hold.
pub(super) fn broken_rules(config: &Config) -> Vec<Broken> {
    let mut broken = Vec::new();
    at_least_one(config, &mut broken);
    gateway(config, &mut broken);
    limits(config, &mut broken);
    worker(config, &mut broken);
    names(config, &mut broken);
    redis(config, &mut broken);
    super::oidc::broken_rules(config, &mut broken);
    sealing(config, &mut broken);
    traces(config, &mut broken);
    broken.extend(config.objects.faults());
    broken.extend(config.trainer.faults());
    broken.extend(config.gate.faults());
    if let Err(e) = crate::telemetry::parse_filter(&config.telemetry.filter) {
        broken.push(("telemetry.filter", e));
    }
    broken
}

fn at_least_one(config: &Config, broken: &mut Vec<Broken>) {
    let (g, l, q) = (&config.gateway, &config.limits, &config.queue);
    for (key, value) in [
        ("gateway.max_connections", g.max_connections as u64),
        ("gateway.max_in_flight", g.max_in_flight as u64),
        ("gateway.default_deadline_ms", g.default_deadline_ms),
        ("gateway.max_deadline_ms", g.max_deadline_ms),
        ("gateway.body_timeout_ms", g.body_timeout_ms),
        ("limits.image_bytes", l.image_bytes as u64),
        ("limits.image_pixels", l.image_pixels),
        ("limits.images", l.images as u64),
        ("limits.json_bytes", l.json_bytes as u64),
        ("limits.job_items", l.job_items as u64),
        ("limits.import_bytes", l.import_bytes as u64),
        ("queue.lane_jobs", q.lane_jobs as u64),
    ] {
        if value == 0 {
            broken.push((key, "must be at least 1".into()));
        }
    }
}

fn gateway(config: &Config, broken: &mut Vec<Broken>) {
    let g = &config.gateway;
    match (&g.tls_cert_file, &g.tls_key_file) {
        (Some(_), None) => broken.push(("gateway.tls_cert_file", "needs gateway.tls_key_file beside it".into())),
        (None, Some(_)) => broken.push(("gateway.tls_key_file", "needs gateway.tls_cert_file beside it".into())),
        _ => {}
    }
    at_most(
        broken,
        "gateway.default_deadline_ms",
        g.default_deadline_ms,
        ("gateway.max_deadline_ms", g.max_deadline_ms),
    );
    if g.admin_key.as_ref().is_some_and(|key| !is_key(key.expose())) {
        let form = "must have the form vv_<id>_<secret>, the secret being 16 to 128 letters and digits";
        broken.push(("gateway.admin_key", form.into()));
    }
    if g.listen.port() != 0 && g.listen == config.admin.listen {
        broken.push(("admin.listen", "must differ from gateway.listen".into()));
    }
}

/// The outer form alone; the gateway parses the key.
fn is_key(text: &str) -> bool {
    let parts: Vec<&str> = text.split('_').collect();
    let [prefix, id, secret] = parts[..] else { return false };
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii_alphanumeric());
    prefix == "vv" && !id.is_empty() && plain(secret) && (16..=128).contains(&secret.len())
}

fn limits(config: &Config, broken: &mut Vec<Broken>) {
    let (l, g, q) = (&config.limits, &config.gateway, &config.queue);
    let request = ("limits.request_bytes", l.request_bytes as u64);
    at_most(broken, "limits.image_bytes", l.image_bytes as u64, request);
    // A request beyond either could never be accepted.
    at_most(broken, request.0, request.1, ("gateway.max_buffered_bytes", g.max_buffered_bytes as u64));
    at_most(broken, request.0, request.1, ("queue.lane_bytes", q.lane_bytes as u64));
    let pixels = ("worker.max_pixels_in_flight", config.worker.max_pixels_in_flight);
    at_most(broken, "limits.image_pixels", l.image_pixels, pixels);
}

fn worker(config: &Config, broken: &mut Vec<Broken>) {
    let w = &config.worker;
    for (key, value) in [("worker.detect_batch", w.detect_batch), ("worker.embed_batch", w.embed_batch)] {
        if !(1..=256).contains(&value) {
            broken.push((key, "must lie between 1 and 256".into()));
        }
    }
    let canvases = [
        ("worker.detector_canvas", w.detector_canvas, 4096),
        ("worker.detector_canvas_least", w.detector_canvas_least, w.detector_canvas),
    ];
    for (key, value, most) in canvases {
        if value % 32 != 0 || !(32..=most).contains(&value) {
            broken.push((key, format!("must be a multiple of 32 between 32 and {most}")));
        }
    }
    if w.detect_tiles > 256 {
        broken.push(("worker.detect_tiles", "must be at most 256".into()));
    }
    if w.batch_delay_ms >= config.gateway.default_deadline_ms {
        let limit = config.gateway.default_deadline_ms;
        broken.push(("worker.batch_delay_ms", format!("must stay below gateway.default_deadline_ms ({limit})")));
    }
    if !(w.verification_fmr > 0.0 && w.verification_fmr < 1.0) {
        broken.push(("worker.verification_fmr", "must be a rate above 0 and below 1".into()));
    }
}

fn redis(config: &Config, broken: &mut Vec<Broken>) {
    let r = &config.redis;
    if r.url.is_none() && config.store.engine == StoreEngine::Redis {
        broken.push(("store.engine", "needs redis.url (or the flag --redis URL)".into()));
    }
    if r.url.is_none() && r.queue_url.is_none() && config.queue.engine == QueueEngine::Redis {
        broken.push(("queue.engine", "needs redis.url (or the flag --redis URL)".into()));
    }
    match (&r.tls_cert_file, &r.tls_key_file) {
        (Some(_), None) => broken.push(("redis.tls_cert_file", "needs redis.tls_key_file beside it".into())),
        (None, Some(_)) => broken.push(("redis.tls_key_file", "needs redis.tls_cert_file beside it".into())),
        _ => {}
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    if r.prefix.is_empty() || !r.prefix.chars().all(plain) {
        broken.push(("redis.prefix", "may hold letters, digits, '.', '_', '-' and ':', and must not be empty".into()));
    }
    for (key, value) in [
        ("redis.connect_timeout_ms", r.connect_timeout_ms),
        ("redis.response_timeout_ms", r.response_timeout_ms),
        ("redis.connections", r.connections as u64),
    ] {
        if value == 0 {
            broken.push((key, "must be at least 1".into()));
        }
    }
    if config.worker.lease_ms < 1000 {
        broken.push(("worker.lease_ms", "must be at least 1000".into()));
    }
    if !(0.0..1e9).contains(&config.gateway.key_requests_per_second) {
        broken.push(("gateway.key_requests_per_second", "must be a rate, or 0 for no bound".into()));
    }
}

/// Traces go to an address, or nowhere.
fn traces(config: &Config, broken: &mut Vec<Broken>) {
    let t = &config.telemetry;
    if !(0.0..=1.0).contains(&t.traces_share) {
        broken.push(("telemetry.traces_share", "must be a share, 0 to 1".into()));
    }
    let addressed = |e: &String| e.starts_with("http://") || e.starts_with("https://");
    if t.traces_endpoint.as_ref().is_some_and(|e| !addressed(e)) {
        let detail = "must be the address of an OTLP receiver over HTTP, such as http://collector:4318";
        broken.push(("telemetry.traces_endpoint", detail.into()));
    }
    if t.traces_ca_file.is_some() && t.traces_endpoint.is_none() {
        broken.push(("telemetry.traces_ca_file", "is of use with telemetry.traces_endpoint alone".into()));
    }
}

/// Keys come from one place.
fn sealing(config: &Config, broken: &mut Vec<Broken>) {
    let s = &config.sealing;
    let given = [
        ("sealing.key_file", s.key_file.is_some()),
        ("sealing.key", s.key.is_some()),
        ("sealing.key_command", !s.key_command.is_empty()),
    ];
    let mut given = given.iter().filter(|(_, given)| *given).map(|(key, _)| *key);
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        broken.push((second, format!("cannot be given beside {first}: the keys come from one place")));
    }
}

/// Manifest names become file names.
fn names(config: &Config, broken: &mut Vec<Broken>) {
    let m = &config.models;
    for (key, name) in [("models.detector", &m.detector), ("models.embedder", &m.embedder)] {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
            broken.push((key, format!("{name:?} is not a manifest name (letters, digits, '.', '_', '-')")));
        }
    }
}

fn at_most(broken: &mut Vec<Broken>, key: &'static str, value: u64, (other, limit): (&str, u64)) {
    if value > limit {
        broken.push((key, format!("must not exceed {other} ({limit})")));
    }
}
