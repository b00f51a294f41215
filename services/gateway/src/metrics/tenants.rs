//! Numbers by tenant or by collection, for as many as a metrics system can bear: the first tenants seen and the largest
//! collections have labels of their own, all others share one. Caller: `metrics`.

use std::collections::HashSet;

use domain::{CollectionId, TenantId};
use parking_lot::RwLock;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Label of all tenants and collections beyond. None has this id: it would begin with a letter or digit.
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

/// Subjects of each collection, as the last sweep counted them; shown by the gateway that sweeps.
pub(crate) struct Enrolled {
    subjects: IntGaugeVec,
    most: usize,
}

impl Enrolled {
    /// Registers the gauge; `most` collections get a label.
    pub fn new(registry: &Registry, most: usize) -> Result<Self, prometheus::Error> {
        let help = "Enrolled subjects, as the gateway that sweeps counted them last; the largest collections by name";
        let subjects = IntGaugeVec::new(Opts::new("visavis_enrolled_subjects", help), &["tenant", "collection"])?;
        registry.register(Box::new(subjects.clone()))?;
        Ok(Self { subjects, most })
    }

    /// Shows these and nothing else: collections that are gone are not shown any more.
    pub fn show(&self, mut counted: Vec<(TenantId, CollectionId, u64)>) {
        counted.sort_by(|(.., a), (.., b)| b.cmp(a));
        self.clear();
        let set = |tenant: &str, collection: &str, subjects: u64| {
            let gauge = self.subjects.with_label_values(&[tenant, collection]);
            gauge.set(i64::try_from(subjects).unwrap_or(i64::MAX));
        };
        let beyond = counted.split_off(self.most.min(counted.len()));
        for (tenant, collection, subjects) in counted {
            set(tenant.as_str(), collection.as_str(), subjects);
        }
        if !beyond.is_empty() {
            set(OTHERS, OTHERS, beyond.iter().map(|(.., subjects)| subjects).sum());
        }
    }

    /// Shows nothing: another gateway does.
    pub fn clear(&self) {
        self.subjects.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_collections_have_labels_and_the_rest_are_one_sum() {
        let registry = Registry::new();
        let enrolled = Enrolled::new(&registry, 2).unwrap();
        let count = |collection: &str, n| ("t".parse().unwrap(), collection.parse().unwrap(), n);
        let shown = || {
            let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            let lines = text.lines().filter_map(|l| l.strip_prefix("visavis_enrolled_subjects{collection="));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        enrolled.show(vec![count("a", 1), count("b", 900), count("c", 3), count("d", 40)]);
        let expected = [r#""_others",tenant="_others"} 4"#, r#""b",tenant="t"} 900"#, r#""d",tenant="t"} 40"#];
        assert_eq!(shown(), expected);
        enrolled.show(vec![count("a", 1)]);
        assert_eq!(shown(), [r#""a",tenant="t"} 1"#]);
        enrolled.clear();
        assert_eq!(shown(), [""; 0]);
    }

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
