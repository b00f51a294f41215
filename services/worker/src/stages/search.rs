//! Search: a template against a collection's gallery, exactly, once the gallery has caught up with the store.
//! Called by identify and verify.

use std::{sync::Arc, time::Instant};

use domain::{Collection, ErrorCode, Metadata, Problem, Purpose, SubjectId, Template, TenantId, Timestamp};
use gallery::{CollectionGallery, Galleries, GalleryError, Hits, Permit, Query};

use crate::{cpu::CpuPool, pipeline::Context, timings::Stage};

/// A collection's gallery as of its latest revision: an acknowledged enrolment is in it, an erased one is not.
///
/// # Errors
/// `store_unavailable` when the store cannot be asked, `collection_not_found` when it is gone.
pub async fn current(
    galleries: &Galleries,
    tenant: &TenantId,
    collection: &Collection,
    context: &Context,
) -> Result<Arc<CollectionGallery>, Problem> {
    let start = Instant::now();
    let gallery = galleries.current(tenant, &collection.id, collection.contract).await.map_err(problem);
    context.timings.since(Stage::Search, start);
    gallery
}

/// What to search for beside the probe itself.
#[derive(Clone, Debug)]
pub struct Scope {
    /// What for: only subjects whose consents cover it now are compared.
    pub purpose: Purpose,
    /// The present moment.
    pub at: Timestamp,
    /// Subjects wanted.
    pub limit: usize,
    /// Labels a subject must carry.
    pub filter: Option<Metadata>,
    /// Only these subjects.
    pub subjects: Option<Vec<SubjectId>>,
}

/// The best subjects for each probe, best first, each with its best template. All probes of a call share one pass over
/// the gallery; in a large gallery the calls of a moment share one, too. Small ones are searched on the CPU pool.
///
/// # Errors
/// `collection_model_mismatch` for a probe of another contract, or a gallery that holds only templates of another.
pub async fn search(
    cpu: &CpuPool,
    gallery: &Arc<CollectionGallery>,
    probes: Vec<Template>,
    scope: Scope,
    context: &Context,
) -> Result<Vec<Hits>, Problem> {
    let start = Instant::now();
    if gallery.is_empty() && gallery.other_contract_rows() > 0 {
        let detail = "the collection was enrolled with another embedding model than the one in use";
        return Err(Problem::new(ErrorCode::CollectionModelMismatch, detail));
    }
    let (gallery, shares) = (Arc::clone(gallery), gallery.shares_passes(probes.len()));
    let work = move || {
        let wanted = Query {
            filter: scope.filter.as_ref(),
            subjects: scope.subjects.as_deref(),
            permit: Some(Permit { purpose: &scope.purpose, at: scope.at }),
            ..Query::new(&[], scope.limit)
        };
        gallery.search(&probes, wanted)
    };
    let hits = if shares {
        // Searches that wait to share a pass hold no core; the gallery has threads of its own for the pass.
        let failed = |_| Problem::new(ErrorCode::Internal, "the search failed unexpectedly");
        tokio::task::spawn_blocking(work).await.map_err(failed)
    } else {
        cpu.go_on(work).await
    };
    context.timings.since(Stage::Search, start);
    hits?.map_err(problem)
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn problem(e: GalleryError) -> Problem {
    Problem::new(e.code(), e.to_string())
}
