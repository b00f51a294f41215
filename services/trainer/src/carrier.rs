//! A run in a trainer's hands: what the trainer writes of it is written only while it is the trainer's.

use bytes::Bytes;
use domain::{RunFailure, RunId, RunState, TenantId, Timestamp};
use store::{RunRecord, Runs};

use crate::{Halt, vault::Vault};

/// The right to write of a run.
#[derive(Clone)]
pub struct Carrier {
    pub runs: Runs,
    pub tenant: TenantId,
    pub id: RunId,
    /// Name under which the run was claimed.
    pub name: String,
    pub vault: Vault,
}

impl Carrier {
    /// Changes the record, with documents beside it.
    ///
    /// # Errors
    /// [`Halt::NotOurs`] when the run has ended or another trainer has it; [`Halt::Later`].
    pub async fn write(
        &self,
        documents: &[(&str, Bytes)],
        edit: impl Fn(&mut RunRecord) + Send + Sync,
    ) -> Result<RunRecord, Halt> {
        self.runs.carry((&self.id, &self.name), documents, edit).await?.ok_or(Halt::NotOurs)
    }

    /// Says where it stands.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn enter(&self, state: RunState) -> Result<RunRecord, Halt> {
        let now = Timestamp::now();
        tracing::info!(run = %self.id, %state, "training run");
        self.write(&[], |run| {
            run.state = state;
            run.started_at = run.started_at.or(Some(now));
        })
        .await
    }

    /// Ends it as failed, with what documents there are.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn fail(&self, failure: &RunFailure, documents: &[(&str, Bytes)]) -> Result<(), Halt> {
        let now = Timestamp::now();
        self.write(documents, |run| {
            run.failure = Some(failure.clone());
            run.end(RunState::Failed, now);
        })
        .await
        .map(drop)
    }

    /// Cleans up after a run that has ended, whoever ended it.
    ///
    /// # Errors
    /// [`Halt::Later`].
    pub async fn sweep(&self) -> Result<(), Halt> {
        self.vault.clear().await?;
        Ok(self.runs.unlist(&self.id).await?)
    }
}
