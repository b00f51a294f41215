//! Numbers by tenant, for as many tenants as a metrics system can bear: the first ones seen have labels of their own, all
//! others share one. Caller: `metrics`.

use std::collections::HashSet;

use domain::TenantId;
use parking_lot::RwLock;
use prometheus::{IntCounterVec, Opts, Registry};

/// Label of all tenants beyond the first ones. No tenant has this id: it would begin with a letter or digit.
const OTHERS: &str = "_others";

/// Requests by tenant.
pub(super) struct ByTenant {
    requests: IntCounterVec,
    named: RwLock<HashSet<TenantId>>,
    most: usize,
}

impl ByTenant {
    /// Registers the counter; `most` tenants get a label.
    pub fn new(registry: &Registry, most: usize) -> Result<Self, prometheus::Error> {
        let opts =
            Opts::new("visavis_tenant_requests_total", "Requests answered to callers that were known, by tenant");
        let requests = IntCounterVec::new(opts, &["tenant", "status"])?;
        registry.register(Box::new(requests.clone()))?;
        Ok(Self { requests, named: RwLock::default(), most })
    }

    /// One answered request of a tenant, by the class of its status.
    pub fn answered(&self, tenant: &TenantId, class: &str) {
        let label = if self.has_label(tenant) { tenant.as_str() } else { OTHERS };
        self.requests.with_label_values(&[label, class]).inc();
    }

    fn has_label(&self, tenant: &TenantId) -> bool {
        if self.named.read().contains(tenant) {
            return true;
        }
        let mut named = self.named.write();
        named.contains(tenant) || (named.len() < self.most && named.insert(tenant.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tenants_have_labels_and_the_rest_share_one() {
        let registry = Registry::new();
        let by = ByTenant::new(&registry, 2).unwrap();
        for tenant in ["a", "b", "c", "d", "a"] {
            by.answered(&tenant.parse().unwrap(), "2xx");
        }
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for (label, count) in [("a", 2), ("b", 1), (OTHERS, 2)] {
            let line = format!("visavis_tenant_requests_total{{status=\"2xx\",tenant=\"{label}\"}} {count}");
            assert!(text.contains(&line), "{line} in:\n{text}");
        }
        assert!(!text.contains("tenant=\"c\""), "{text}");
    }
}
