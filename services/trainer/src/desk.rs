//! Everything a run may need; shared by the runs of a trainer.

use std::sync::Arc;

use crops::Crops;
use domain::{RunId, TenantId, Timestamp};
use evidence::AuditDraft;
use inference::OnnxRuntime;
use objects::Objects;
use store::{Audit, RunRecord, Runs, Store};

use crate::{
    base::Models, candidates::Registry, carrier::Carrier, config::TrainerConfig, learner::Learner, metrics::Metrics,
    vault::Vault,
};

/// Shared by the runs of a trainer.
pub struct Desk {
    pub config: TrainerConfig,
    pub store: Arc<dyn Store>,
    pub objects: Objects,
    pub crops: Crops,
    pub models: Models,
    pub runtime: OnnxRuntime,
    pub learner: Arc<dyn Learner>,
    pub registry: Arc<dyn Registry>,
    pub metrics: Metrics,
}

impl Desk {
    /// The right to write of a run, under a name.
    pub fn carrier(&self, tenant: &TenantId, id: &RunId, name: String) -> Carrier {
        Carrier {
            runs: Runs::new(Arc::clone(&self.store), tenant),
            tenant: tenant.clone(),
            id: id.clone(),
            name,
            vault: Vault::new(self.objects.clone(), tenant.clone(), id.clone()),
        }
    }

    /// Puts the end of a run down in the tenant's audit trail. What cannot be put down now is logged: the run has ended
    /// either way, and its record says how.
    pub async fn audit(&self, tenant: &TenantId, run: &RunRecord, outcome: &str) {
        let draft = AuditDraft {
            time: Timestamp::now(),
            actor: "service".to_owned(),
            action: "training-run ended".to_owned(),
            collection: run.collections.first().cloned(),
            subjects: Vec::new(),
            more_subjects: 0,
            decisions: Vec::new(),
            outcome: outcome.to_owned(),
            status: None,
            reference: Some(run.id.to_string()),
            request_id: None,
        };
        let appended = Audit::new(Arc::clone(&self.store), tenant).append(&[draft], &mut None).await;
        if let Err(error) = appended {
            tracing::warn!(run = %run.id, %error, "the end of a run is not in the audit trail");
        }
    }
}
