//! A portrait to try the service with: NASA's picture of an astronaut, in the public domain, as scikit-image ships
//! it. Fetched at the first start; without it the printed lines ask for a picture of the user's own.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use domain::{CollectionId, TenantId};
use models::{Artefact, Cache, Pip, Progress, WheelSource, WheelTags, fetch};
use runtime::config::ModelsSection;
use store::{Collections, Store};

use crate::artefacts::{self, Shelf};
use crate::data_dir::DataDir;
use crate::failure::Failure;

const PHOTO_SHA256: &str = "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5";
const WHEEL_SHA256: &str = "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af";
const WHEEL: &str = "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl";

/// The picture's path, if it is there or can be fetched now. Never an error: it is a courtesy.
pub fn photo(data: &DataDir, cache: &Cache, may_fetch: bool, progress: &dyn Progress) -> Option<PathBuf> {
    let path = data.sample();
    if path.is_file() {
        return Some(path);
    }
    let artefact = artefact()?;
    if may_fetch && let Err(error) = fetch(cache, std::slice::from_ref(&artefact), &Pip::default(), progress) {
        tracing::warn!(%error, "no sample picture");
    }
    let cached = cache.find(&artefact).ok().flatten()?;
    fs::copy(cached, &path).ok()?;
    Some(path)
}

/// The picture in the cache, fetched where it may be: for tools that need any photo.
///
/// # Errors
/// When there is none and it cannot be fetched.
pub fn cached(section: &ModelsSection) -> Result<PathBuf, Failure> {
    let shelf = Shelf::open(section)?;
    let artefact = artefact().ok_or_else(|| Failure::Other("there is no sample photo for this build".into()))?;
    artefacts::bring(&shelf.cache, std::slice::from_ref(&artefact), section.offline)?;
    Ok(shelf.cache.path_of(&artefact))
}

/// The first of `demo`, `demo-2`, `demo-3`, … that no collection has yet, so that the printed lines work at every
/// start.
pub async fn free_collection(store: Arc<dyn Store>) -> String {
    let collections = Collections::new(store);
    let Ok(tenant) = TenantId::new("default") else { return "demo".into() };
    for n in 1_u32.. {
        let name = if n == 1 { "demo".to_owned() } else { format!("demo-{n}") };
        let Ok(id) = CollectionId::new(&name) else { break };
        if !matches!(collections.get(&tenant, &id).await, Ok(Some(_))) {
            return name;
        }
    }
    "demo".into()
}

fn artefact() -> Option<Artefact> {
    // The picture is the same in every wheel of the release: one is pinned whatever this machine is.
    let tags = WheelTags {
        python_version: "311".into(),
        implementation: "cp".into(),
        abi: "cp311".into(),
        platform: "manylinux_2_28_x86_64".into(),
    };
    let source = WheelSource {
        package: "scikit-image".into(),
        version: "0.26.0".into(),
        wheel: WHEEL.into(),
        wheel_bytes: 13_711_217,
        wheel_sha256: WHEEL_SHA256.parse().ok()?,
        member: "skimage/data/astronaut.png".into(),
        tags: Some(tags),
    };
    Some(Artefact {
        name: "sample".into(),
        file: "astronaut.png".into(),
        bytes: Some(791_555),
        sha256: PHOTO_SHA256.parse().ok()?,
        sources: vec![source],
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_pin_is_well_formed() {
        assert!(super::artefact().is_some());
    }
}
