//! The steps of an erasure, in order: each clears one place and may be repeated. A further place (exports)
//! is a further step here, before the look through all of them.

use domain::{ErasureId, ErrorCode, TenantId, Timestamp};
use evidence::{ErasedSubject, Extent, Removed, SubjectOutcome, Verification, subject_digest};
use futures::{
    FutureExt,
    stream::{self, StreamExt, TryStreamExt},
};
use store::{
    Erased, ErasureRecord, ErasureState, Erasures, Mentions, Note, Reach, StoreError, SubjectHandle, Subjects, Whom,
};
use wire::v1::CatchUpRequest;

use super::receipt;
use crate::{
    context::Call,
    crops,
    erasure::every_worker,
    problem::{ApiProblem, Result},
    state::App,
};

/// Pieces erased at the same time: they share what the engine does to erase.
const TOGETHER: usize = 4;
/// Subjects a worker is asked about in one message.
const LOOKED_FOR: usize = 2_000;
/// Subjects whose records are looked for at the same time, and in one go.
const LOOKS: usize = 2;
const LOOK: usize = 100;

/// A place, or the look through all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// What the store keeps of them, and with it the change feed that tells everybody.
    Records,
    /// Results of jobs, answers kept for idempotency keys, items of bulk jobs not begun.
    Results,
    /// Galleries in the memory of workers, and their snapshots.
    Galleries,
    /// Objects of retained crops.
    Crops,
    /// The look through all of them.
    Verification,
}

impl Step {
    /// In order.
    pub const ALL: [Self; 5] = [Self::Records, Self::Results, Self::Galleries, Self::Crops, Self::Verification];

    /// As the record and the receipt name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Results => "results",
            Self::Galleries => "galleries",
            Self::Crops => "crops",
            Self::Verification => "verification",
        }
    }
}

/// What all steps need.
pub(super) struct Work<'a> {
    pub app: &'a App,
    pub tenant: &'a TenantId,
    pub erasures: Erasures,
    pub subjects: Subjects,
    pub call: Call,
    pub record: ErasureRecord,
}

/// Every step that is not done, then the receipt.
pub(super) async fn all(app: &App, tenant: &TenantId, id: &ErasureId) -> Result<()> {
    let erasures = app.erasures_of(tenant);
    let Some(found) = erasures.get(id).await? else {
        return Ok(erasures.unlist_lost(id, Timestamp::now()).await?);
    };
    let record = found.value;
    let mut call = Call::of_service(tenant, record.key.as_ref())?;
    call.deadline = Some(app.config.times.max_deadline);
    let subjects = app.subjects(&call.principal, &record.collection);
    let mut work = Work { app, tenant, erasures, subjects, call, record };
    if work.record.state != ErasureState::Succeeded {
        work.note(|record| record.state = ErasureState::Running).await?;
        for (n, step) in Step::ALL.into_iter().enumerate() {
            if work.record.steps.get(n).is_some_and(|s| s.done_at.is_none()) {
                work.carry_out(step).await?;
                let now = Timestamp::now();
                work.note(move |record| {
                    record.trouble = None;
                    if let Some(step) = record.steps.get_mut(n) {
                        step.done_at = Some(now);
                    }
                })
                .await?;
            }
        }
        receipt::give(&work).await?;
    }
    work.subjects.drop_notes(&work.notes_prefix()).await?;
    Ok(work.erasures.unlist(id).await?)
}

impl Work<'_> {
    async fn carry_out(&mut self, step: Step) -> Result<()> {
        match (step, self.record.extent) {
            (Step::Records, Extent::Subjects) => self.records().await,
            (Step::Records, Extent::Collection) => self.collection().await,
            (Step::Results, _) => self.results().await,
            (Step::Galleries, _) => self.ask(&[]).await.map(drop),
            (Step::Crops, _) => self.crops().await,
            (Step::Verification, _) => self.look().await,
        }
    }

    async fn note(&mut self, edit: impl Fn(&mut ErasureRecord) + Send + Sync) -> Result<()> {
        let edited = |record: &mut ErasureRecord| {
            edit(record);
            record.updated_at = Timestamp::now();
        };
        self.record = self.erasures.change(&self.record.id, edited).await?;
        Ok(())
    }

    fn notes_prefix(&self) -> String {
        format!("e/{}/", self.record.id)
    }

    /// Whom this erasure found, as it noted in the commits that erased them.
    pub async fn erased(&self) -> Result<Vec<ErasedSubject>> {
        let mut all = Vec::new();
        for (key, value) in self.subjects.notes(&self.notes_prefix()).await? {
            let read = serde_json::from_slice::<Vec<ErasedSubject>>(&value);
            all.extend(read.map_err(|e| StoreError::Damaged { key, reason: e.to_string() })?);
        }
        Ok(all)
    }

    async fn handles(&self) -> Result<Vec<SubjectHandle>> {
        Ok(self.erased().await?.iter().filter_map(|s| s.handle.parse().ok()).collect())
    }

    async fn records(&mut self) -> Result<()> {
        let pieces = self.erasures.work(&self.record.id).await?;
        let this = &*self;
        let pieces: Vec<_> = pieces.into_iter().map(|n| this.piece(n).boxed()).collect();
        stream::iter(pieces).buffer_unordered(TOGETHER).try_collect::<Vec<()>>().await?;
        let erased = self.erased().await?;
        let sum = |of: fn(&ErasedSubject) -> u64| erased.iter().map(of).sum::<u64>();
        let subjects = erased.iter().filter(|s| s.outcome == SubjectOutcome::Erased).count() as u64;
        let (faces, consents) = (sum(|s| s.faces.into()), sum(|s| s.consents.into()));
        self.note(move |record| {
            record.removed = Removed { subjects, faces, consents, ..record.removed };
        })
        .await?;
        // The list of whom to erase is a place too.
        Ok(self.erasures.drop_work(&self.record.id).await?)
    }

    /// One commit. What it found is noted in it: a repetition counts nobody twice.
    async fn piece(&self, n: usize) -> Result<()> {
        let ids = self.erasures.piece(&self.record.id, n).await?;
        if ids.is_empty() {
            return Ok(());
        }
        let entry = |(id, erased): (&domain::SubjectId, &Erased)| ErasedSubject {
            handle: erased.handle.to_string(),
            digest: subject_digest(&self.record.salt, &self.record.collection, id),
            outcome: erased.outcome,
            erased_at: (erased.outcome != SubjectOutcome::NotEnrolled).then_some(erased.erased_at),
            faces: erased.faces,
            consents: erased.consents,
        };
        let key = format!("{}{n:06}", self.notes_prefix());
        let write = |erased: &[Erased]| {
            let entries: Vec<ErasedSubject> = ids.iter().zip(erased).map(entry).collect();
            let bytes = serde_json::to_vec(&entries);
            bytes.map(Into::into).map_err(|e| StoreError::Damaged { key: key.clone(), reason: e.to_string() })
        };
        let note = Note { key: &key, write: &write };
        self.subjects.erase_many(&ids, Some(&note), Timestamp::now()).await?;
        Ok(())
    }

    /// The whole collection: closed first, so that nobody comes after they were counted.
    async fn collection(&mut self) -> Result<()> {
        let (tenant, id) = (self.tenant, self.record.collection.clone());
        let collections = &self.app.collections;
        if !self.record.closed {
            let ours = collections.close(tenant, &id, self.record.collection_made_at).await?;
            let removed = if ours {
                let count = self.subjects.count().await?;
                let consents = self.subjects.count_consents().await? as u64;
                let (subjects, faces) = (count.subjects as u64, count.faces as u64);
                Removed { subjects, faces, consents, ..self.record.removed }
            } else {
                self.record.removed
            };
            self.note(move |record| (record.closed, record.removed) = (true, removed)).await?;
        }
        Ok(collections.clear(tenant, &id).await?)
    }

    async fn results(&mut self) -> Result<()> {
        let mentions = Mentions::new(self.app.store.clone(), self.tenant);
        let (id, now) = (self.record.collection.clone(), Timestamp::now());
        let gone = match self.record.extent {
            Extent::Subjects => {
                let handles = self.handles().await?;
                mentions.erase(&id, Whom::Subjects(&handles), Reach::Everything, now).await?
            }
            Extent::Collection => {
                // One made anew under the id has jobs of its own that are not begun.
                let anew = self.app.collections.get(self.tenant, &id).await?.is_some();
                let reach = if anew { Reach::Kept } else { Reach::Everything };
                mentions.erase(&id, Whom::Everybody, reach, now).await?
            }
        };
        self.note(move |record| {
            record.removed.results += gone.results;
            record.removed.answers += gone.answers;
            record.removed.items += gone.items;
        })
        .await
    }

    /// Every worker applies what was erased and looks for these; how many did, and what they found.
    async fn ask(&self, handles: &[SubjectHandle]) -> Result<(u64, u64)> {
        let (mut workers, mut found) = (0, 0);
        let mut parts: Vec<&[SubjectHandle]> = handles.chunks(LOOKED_FOR).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        for part in parts {
            let look_for = part.iter().map(ToString::to_string).collect();
            let request = CatchUpRequest { collection_id: self.record.collection.to_string(), look_for };
            let said = every_worker(self.app, &self.call, request).await?;
            workers = said.workers;
            found += said.found;
        }
        Ok((workers, found))
    }

    async fn crops(&mut self) -> Result<()> {
        let handles = match self.record.extent {
            Extent::Subjects => Some(self.handles().await?),
            Extent::Collection => None,
        };
        let handles = handles.as_deref();
        // Counted before: a deletion that is broken off may have taken effect, and then nothing is found the next time.
        // What is found again after the look at the end is counted by that look.
        if self.record.verification.is_none() {
            let there = crops::left(self.app, &self.call, &self.record.collection, handles).await?;
            self.note(move |record| record.removed.crops = record.removed.crops.max(there)).await?;
        }
        crops::erase_all(self.app, &self.call, &self.record.collection, handles).await
    }

    async fn look(&mut self) -> Result<()> {
        let (id, mentions) = (&self.record.collection, Mentions::new(self.app.store.clone(), self.tenant));
        let whole = self.record.extent == Extent::Collection;
        let (gone, records_found, mentions_found) = match self.record.extent {
            Extent::Subjects => {
                let handles = self.handles().await?;
                let parts: Vec<_> = handles.chunks(LOOK).map(|part| self.subjects.left_of(part).boxed()).collect();
                let looks: Vec<_> = stream::iter(parts).buffer_unordered(LOOKS).try_collect().await?;
                let gone: Vec<SubjectHandle> = looks.iter().flat_map(|(gone, _)| gone.iter().copied()).collect();
                let mentioned = mentions.count(id, Whom::Subjects(&gone)).await?;
                (gone, looks.iter().map(|(_, left)| left).sum(), mentioned)
            }
            Extent::Collection => {
                let anew = self.app.collections.get(self.tenant, id).await?.is_some();
                let mentioned = if anew { 0 } else { mentions.count(id, Whom::Everybody).await? };
                (Vec::new(), self.app.collections.left(self.tenant, id).await?, mentioned)
            }
        };
        let crops_found = crops::left(self.app, &self.call, id, (!whole).then_some(&gone[..])).await?;
        let (workers, gallery_rows_found) = self.ask(&gone).await?;
        let at = Timestamp::now();
        let found = Verification { at, records_found, mentions_found, gallery_rows_found, crops_found, workers };
        let clean = records_found + mentions_found + gallery_rows_found + crops_found == 0;
        self.note(move |record| {
            record.verification = Some(found);
            if !clean {
                record.removed.crops += crops_found;
                // Kept a moment ago by somebody who had begun before, most likely: once more from there.
                record.steps.iter_mut().skip(1).for_each(|step| step.done_at = None);
            }
        })
        .await?;
        if clean {
            return Ok(());
        }
        let detail = format!(
            "after the erasure {records_found} records, {mentions_found} mentions, {gallery_rows_found} subjects in \
             galleries and {crops_found} crops were found"
        );
        Err(ApiProblem::new(ErrorCode::Conflict, detail))
    }
}
