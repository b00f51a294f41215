//! Which form the records of a store have, written down in the store itself, and the steps that bring an older one
//! forward. Called once at the start of a process, before anything else reads; tools only check.
//!
//! The record names two versions: the newest step that was taken, and the oldest program that may work beside it. A step
//! that only adds leaves the latter as it is, so that old and new processes share the store while they are replaced.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Commit, Revision, Space, Store, StoreError,
    repo::{Collections, RepoError, as_seen, encode, read},
};

/// Where the record lies, in the system space.
const KEY: &str = "schema";

/// Others may take a step at the same time; each takes it at most so often.
const ATTEMPTS: usize = 16;

/// What is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The newest step that was taken; 0 in a store from before there were any.
    pub version: u32,
    /// A program that knows no step from this one on must leave the store alone.
    pub least: u32,
}

/// One step forward. May be broken off and taken again, and by two processes at once: it must be of no harm.
#[async_trait]
trait Step: Send + Sync {
    /// The version it leads to.
    fn to(&self) -> u32;
    /// The oldest program that understands the store afterwards.
    fn least(&self) -> u32;
    /// What it does, for the log.
    fn what(&self) -> &'static str;
    /// Does it.
    async fn take(&self, store: &Arc<dyn Store>) -> Result<(), RepoError>;
}

/// Every step there is, in order.
const STEPS: [&dyn Step; 2] = [&NotedTenants, &AuditPages];

/// The form in which trails may have pages.
pub(crate) const AUDIT_PAGES: u32 = 2;

/// Tenants are known by a note of each; before, some were known by their API keys alone.
struct NotedTenants;

#[async_trait]
impl Step for NotedTenants {
    fn to(&self) -> u32 {
        1
    }

    fn least(&self) -> u32 {
        0
    }

    fn what(&self) -> &'static str {
        "a note of each tenant"
    }

    async fn take(&self, store: &Arc<dyn Store>) -> Result<(), RepoError> {
        Collections::new(Arc::clone(store)).note_tenants_of_keys().await
    }
}

/// Old events of audit trails may lie in pages, many in one value. Nothing is changed yet: whoever writes the first page
/// [`require`]s programs that can read it, and until then an older one may still come back.
struct AuditPages;

#[async_trait]
impl Step for AuditPages {
    fn to(&self) -> u32 {
        AUDIT_PAGES
    }

    fn least(&self) -> u32 {
        0
    }

    fn what(&self) -> &'static str {
        "pages of audit trails"
    }

    async fn take(&self, _store: &Arc<dyn Store>) -> Result<(), RepoError> {
        Ok(())
    }
}

/// Keeps programs out, from now on, that know no step from `least` on.
///
/// # Errors
/// The engine's.
pub(crate) async fn require(store: &Arc<dyn Store>, least: u32) -> Result<(), StoreError> {
    for _ in 0..ATTEMPTS {
        let (present, seen) = look(&**store).await?;
        if present.least >= least {
            return Ok(());
        }
        let raised = Schema { version: present.version.max(least), least };
        if write(&**store, seen, raised).await? {
            tracing::info!(least, "programs that know only older forms of the store are kept out from now on");
            return Ok(());
        }
    }
    Err(contended())
}

/// Brings the store to the form that this program knows, if it is older.
///
/// # Errors
/// [`StoreError::Schema`] for a store that only newer programs understand; nothing is changed then. The engine's.
pub async fn bring_up(store: &Arc<dyn Store>) -> Result<Schema, StoreError> {
    bring_up_by(store, &STEPS).await
}

/// Whether this program understands the store. Changes nothing.
///
/// # Errors
/// As [`bring_up`].
pub async fn check(store: &dyn Store) -> Result<Schema, StoreError> {
    understood(look(store).await?.0, newest(&STEPS))
}

fn newest(steps: &[&dyn Step]) -> u32 {
    steps.iter().map(|s| s.to()).max().unwrap_or_default()
}

fn understood(found: Schema, known: u32) -> Result<Schema, StoreError> {
    if found.least <= known {
        return Ok(found);
    }
    Err(StoreError::Schema(format!(
        "a newer version of this program has been at work on this store: its records have form {}, which programs that \
         know form {} or later understand; this one knows form {known}. Start the newer program again, or this one on a \
         backup from before the upgrade. Nothing has been changed",
        found.version, found.least
    )))
}

async fn bring_up_by(store: &Arc<dyn Store>, steps: &[&dyn Step]) -> Result<Schema, StoreError> {
    let known = newest(steps);
    for _ in 0..ATTEMPTS {
        let (found, seen) = look(&**store).await?;
        let present = understood(found, known)?;
        let Some(step) = steps.iter().find(|s| s.to() > present.version) else {
            if present.version > known {
                tracing::info!(store = present.version, known, "a newer version works on this store as well");
            }
            return Ok(present);
        };
        step.take(store).await.map_err(engine)?;
        let reached = Schema { version: step.to(), least: present.least.max(step.least()) };
        if write(&**store, seen, reached).await? {
            tracing::info!(version = reached.version, "the store has been brought forward: {}", step.what());
        }
    }
    Err(contended())
}

/// What is written down, and the version of its record.
async fn look(store: &dyn Store) -> Result<(Schema, Option<Revision>), StoreError> {
    let found = read::<Schema>(store, &Space::system(), KEY).await?;
    Ok((found.as_ref().map(|f| f.value).unwrap_or_default(), found.map(|f| f.version)))
}

/// Whether it is written down now; not if somebody else was quicker, since what they have written decides.
async fn write(store: &dyn Store, seen: Option<Revision>, schema: Schema) -> Result<bool, StoreError> {
    let commit = Commit::new().when(as_seen(KEY, seen)).put(KEY, encode(KEY, &schema)?);
    match store.commit(&Space::system(), commit).await {
        Ok(_) => Ok(true),
        Err(StoreError::Precondition { .. }) => Ok(false),
        Err(e) => Err(e),
    }
}

fn contended() -> StoreError {
    StoreError::Unavailable("others keep changing the version of the store".into())
}

/// A step does nothing that a caller asked for, so only the engine can fail it.
fn engine(e: RepoError) -> StoreError {
    match e {
        RepoError::Store(e) => e,
        other => StoreError::Unavailable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use domain::{ApiKey, KeyId, ScopeSet, TenantId, Timestamp};

    use super::*;
    use crate::{ApiKeys, RedbStore};

    /// A step that counts how often it is taken.
    struct Counted(u32, u32, AtomicUsize);

    #[async_trait]
    impl Step for Counted {
        fn to(&self) -> u32 {
            self.0
        }
        fn least(&self) -> u32 {
            self.1
        }
        fn what(&self) -> &'static str {
            "a count"
        }
        async fn take(&self, _store: &Arc<dyn Store>) -> Result<(), RepoError> {
            self.2.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(())
        }
    }

    fn store() -> (Arc<dyn Store>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Arc::new(RedbStore::open(&folder.path().join("store.redb")).unwrap()), folder)
    }

    #[tokio::test]
    async fn each_step_is_taken_once_and_in_order_by_however_many() {
        let (store, _folder) = store();
        let (one, two) = (Counted(1, 0, AtomicUsize::new(0)), Counted(2, 2, AtomicUsize::new(0)));
        let all: [&dyn Step; 2] = [&one, &two];
        let (a, b) = tokio::join!(bring_up_by(&store, &all), bring_up_by(&store, &all));
        let reached = Schema { version: 2, least: 2 };
        assert_eq!((a.unwrap(), b.unwrap()), (reached, reached));
        // Those who come later take none.
        let before = (one.2.load(Ordering::Relaxed), two.2.load(Ordering::Relaxed));
        assert_eq!(bring_up_by(&store, &all).await.unwrap(), reached);
        assert_eq!((one.2.load(Ordering::Relaxed), two.2.load(Ordering::Relaxed)), before);
        assert!(before.0 >= 1 && before.1 >= 1);
    }

    #[tokio::test]
    async fn an_older_program_works_beside_a_step_that_only_adds_and_leaves_others_alone() {
        let (store, _folder) = store();
        let (adds, breaks) = (Counted(2, 0, AtomicUsize::new(0)), Counted(3, 3, AtomicUsize::new(0)));
        let first: [&dyn Step; 1] = [&NotedTenants];
        let added: [&dyn Step; 2] = [&NotedTenants, &adds];
        let broken: [&dyn Step; 3] = [&NotedTenants, &adds, &breaks];
        assert_eq!(bring_up_by(&store, &added).await.unwrap(), Schema { version: 2, least: 0 });
        assert_eq!(bring_up_by(&store, &first).await.unwrap().version, 2, "and it takes nothing back");
        bring_up_by(&store, &broken).await.unwrap();
        let revision = store.revision(&Space::system()).await.unwrap();
        let newest = newest(&STEPS);
        for (outcome, known) in [(bring_up_by(&store, &first).await, 1), (check(&*store).await, newest)] {
            let Err(StoreError::Schema(why)) = outcome else { panic!("{outcome:?}") };
            let knows = format!("knows form {known}");
            assert!(why.contains("form 3") && why.contains(&knows) && why.contains("backup"), "{why}");
        }
        assert_eq!(store.revision(&Space::system()).await.unwrap(), revision);
    }

    #[tokio::test]
    async fn what_an_older_program_cannot_read_keeps_it_out_from_then_on() {
        let (store, _folder) = store();
        let former: [&dyn Step; 1] = [&NotedTenants];
        bring_up(&store).await.unwrap();
        assert_eq!(
            bring_up_by(&store, &former).await.unwrap(),
            Schema { version: 2, least: 0 },
            "nothing is packed yet"
        );
        let (a, b) = tokio::join!(require(&store, AUDIT_PAGES), require(&store, AUDIT_PAGES));
        a.and(b).unwrap();
        assert!(matches!(bring_up_by(&store, &former).await, Err(StoreError::Schema(_))));
        assert_eq!(bring_up(&store).await.unwrap(), Schema { version: 2, least: 2 });
        // It never becomes less.
        require(&store, 1).await.unwrap();
        assert_eq!(check(&*store).await.unwrap().least, 2);
    }

    #[tokio::test]
    async fn the_tenants_of_an_older_store_are_found_by_their_keys() {
        let (store, _folder) = store();
        let (tenant, now): (TenantId, _) = ("acme".parse().unwrap(), Timestamp::now());
        let key = ApiKey {
            id: KeyId::new("k1").unwrap(),
            tenant: tenant.clone(),
            name: "first".into(),
            scopes: ScopeSet::default(),
            roles: Default::default(),
            cidrs: Vec::new(),
            secret_sha256: "0".repeat(64),
            former: None,
            created_at: now,
            rotated_at: None,
            expires_at: None,
        };
        ApiKeys::new(store.clone()).create(&key).await.unwrap();
        let collections = Collections::new(store.clone());
        assert!(collections.tenants().await.unwrap().is_empty());
        assert_eq!(bring_up(&store).await.unwrap(), Schema { version: 2, least: 0 });
        assert_eq!(collections.tenants().await.unwrap(), [tenant].into());
        assert_eq!(check(&*store).await.unwrap().version, 2);
    }
}
