//! Models for tests that run the worker's code in their own process. Included by path where it is needed.

use ::models::{Cache, Catalogue, ModelSet, Pip, Selection, Silent, Target};

/// Fetches (once per machine) and loads YuNet with this embedder.
pub async fn load(embedder: &str) -> (ModelSet, inference::OnnxRuntime) {
    let catalogue = Catalogue::built_in().expect("the built-in manifests");
    load_from(catalogue, embedder).await
}

/// [`load`] with the manifests of this catalogue.
pub async fn load_from(catalogue: Catalogue, embedder: &str) -> (ModelSet, inference::OnnxRuntime) {
    let selection =
        Selection { detector: "yunet".into(), embedder: embedder.into(), accept_licence: true, ..Selection::default() };
    let loaded = tokio::task::spawn_blocking(move || {
        let cache = Cache::open(testkit::cache_dir()).expect("the cache");
        let library = catalogue.runtime().artefact().expect("a runtime for this platform");
        let mut wanted = catalogue.wanted(&selection).expect("known models");
        wanted.push(library.clone());
        ::models::fetch(&cache, &wanted, &Pip::default(), &Silent).expect("models can be fetched");
        let set = ModelSet::load(&catalogue, &cache, &selection, Target::Cpu).expect("models load");
        let runtime = inference::OnnxRuntime::load(&cache.path_of(&library)).expect("the runtime loads");
        (set, runtime)
    });
    loaded.await.expect("loading")
}
