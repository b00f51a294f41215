//! What a process does for its galleries beside searching: saves them, applies erasures nobody searched for yet, and
//! drops everything when it can no longer be told of erasures. Called by the worker.

use std::sync::{Arc, atomic::Ordering};

use domain::{CollectionId, TenantId};
use store::{Revision, SubjectHandle};

use crate::{Galleries, GalleryError, cell::blocking, live::Live, snapshot::Header};

impl Galleries {
    /// To be called now and then: applies what the store has erased since to galleries nobody searches and to
    /// snapshots not loaded, and writes the snapshots of galleries that have grown by a tenth. Goes on past a
    /// collection that fails.
    ///
    /// # Errors
    /// The first failure.
    pub async fn maintain(&self) -> Result<(), GalleryError> {
        // Time goes on here where nobody searches.
        let _ = self.now();
        let mut done = Ok(());
        for cell in self.cells().into_iter().filter(|c| c.live().is_some()) {
            let result = match self.catch_up(&cell).await {
                Ok(live) => cell.save(self.snapshots.as_ref(), &live, false).await,
                Err(GalleryError::CollectionNotFound(_)) => Ok(()),
                Err(e) => Err(e),
            };
            done = done.and(result);
        }
        done.and(self.sweep_snapshots().await)
    }

    /// Applies what the store has erased from one collection so far: when this returns, nothing erased before the call
    /// is in its gallery or snapshot. A gallery that is not in memory is not read for it.
    ///
    /// # Errors
    /// [`GalleryError::Snapshot`] when erased rows cannot be destroyed; the store's.
    pub async fn apply_erasures(
        &self,
        tenant: &TenantId,
        collection: &CollectionId,
    ) -> Result<Option<Revision>, GalleryError> {
        let cell = self.cell(tenant, collection);
        // Whoever brings the gallery into memory has the turn until it is there.
        let in_memory = {
            let _turn = cell.turn.lock().await;
            cell.live().is_some()
        };
        if in_memory {
            return match self.catch_up(&cell).await {
                Ok(live) => Ok(Some(live.revision())),
                Err(GalleryError::CollectionNotFound(_)) => Ok(None),
                Err(e) => Err(e),
            };
        }
        let Some(snapshots) = self.snapshots.clone() else { return Ok(None) };
        let (t, c) = (tenant.clone(), collection.clone());
        // A header that cannot be read says nothing about its rows.
        let header = blocking(move || Ok(snapshots.header(&t, &c).map_err(|_| ()))).await?;
        match header {
            Ok(None) => {}
            Ok(Some(header)) => self.sweep_snapshot(&header).await?,
            Err(()) => cell.destroy_snapshot(self.snapshots.as_ref()).await?,
        }
        Ok(None)
    }

    /// How many of these subjects have rows in the collection's gallery, as it is in memory now.
    #[must_use]
    pub fn holds(&self, tenant: &TenantId, collection: &CollectionId, handles: &[SubjectHandle]) -> usize {
        let live = self.cell(tenant, collection).live();
        live.map_or(0, |live| handles.iter().filter(|h| live.subject(**h).is_some()).count())
    }

    /// Drops every gallery in memory, overwriting its rows, and returns when no search reads one any more. A search
    /// under way fails with [`GalleryError::LetGo`] rather than give an answer without the rows that went away under
    /// it. To be called by a process that can no longer be told of erasures. [`Galleries::current`] starts again from
    /// the snapshot or the store; call [`Galleries::sweep_snapshots`] before, when erasures reach the process again.
    pub async fn let_go_all(&self) {
        // First, so that nothing begun before this comes to be in memory after it.
        self.generation.fetch_add(1, Ordering::AcqRel);
        let lives: Vec<Arc<Live>> = self.cells().iter().filter_map(|c| c.give_up()).collect();
        // Goes on when the caller does not wait.
        let closing = tokio::task::spawn_blocking(move || lives.iter().for_each(|l| l.close()));
        if closing.await.is_err() {
            tracing::error!("galleries could not be overwritten");
        }
    }

    /// Writes the snapshots of all galleries that have changed. To be called once, when the process ends.
    ///
    /// # Errors
    /// The first failure.
    pub async fn save_all(&self) -> Result<(), GalleryError> {
        let mut done = Ok(());
        for cell in self.cells() {
            if let Some(live) = cell.live() {
                done = done.and(cell.save(self.snapshots.as_ref(), &live, true).await);
            }
        }
        done
    }

    /// Destroys snapshots that hold rows erased since and that nobody has loaded, and those an earlier process did not
    /// finish. To be called when the process begins to hear of erasures, before it answers searches. Goes on past a
    /// collection that fails.
    ///
    /// # Errors
    /// The first failure.
    pub async fn sweep_snapshots(&self) -> Result<(), GalleryError> {
        let Some(snapshots) = self.snapshots.clone() else { return Ok(()) };
        let dir = snapshots.clone();
        let (finished, unfinished) = blocking(move || dir.sweep()).await?;
        let mut done = Ok(());
        for header in unfinished {
            done = done.and(self.cell(&header.tenant, &header.collection).destroy_unfinished(&snapshots).await);
        }
        for header in finished {
            done = done.and(self.sweep_snapshot(&header).await);
        }
        done
    }

    async fn sweep_snapshot(&self, header: &Header) -> Result<(), GalleryError> {
        let cell = self.cell(&header.tenant, &header.collection);
        let _turn = cell.turn.lock().await;
        if cell.live().is_some() {
            return Ok(());
        }
        let exists = cell.source.exists().await?;
        let found = cell.source.fingerprint(header.revision).await?;
        let ours = found.is_some_and(|(fingerprint, _)| fingerprint == header.fingerprint);
        if !exists || !ours || cell.source.erased_since(header.revision).await? {
            cell.destroy_snapshot(self.snapshots.as_ref()).await?;
        }
        if !exists {
            self.forget(&cell);
        }
        Ok(())
    }
}
