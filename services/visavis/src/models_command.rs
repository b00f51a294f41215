//! `visavis models list | fetch | import | new | quantize`.

pub mod new;
mod quantize;

use std::path::Path;

use models::{Artefact, Kind, Manifest};
use runtime::Config;

use crate::artefacts::{Shelf, bring, selection};
use crate::failure::Failure;
use crate::output;

pub use new::new;
pub use quantize::quantize;

/// Prints a table of all models.
///
/// # Errors
/// Manifests or a cache that cannot be used.
pub fn list(config: &Config) -> Result<(), Failure> {
    let shelf = Shelf::open(&config.models)?;
    let mut rows = vec![row(["NAME", "ROLE", "FILE", "LICENCE", "COMMERCIAL", "IN CACHE"])];
    for m in shelf.catalogue.manifests() {
        let role = match m.kind {
            Kind::Detector(_) => "detector",
            Kind::Embedder(_) => "embedder",
        };
        let beside = m.folder.as_ref().is_some_and(|f| f.join(&m.file).is_file());
        let there = if beside { "own file" } else { cached(&shelf, &m.artefact()) };
        rows.push(row([&m.name, role, &m.file, &m.licence, if m.commercial { "yes" } else { "no" }, there]));
    }
    let runtime = shelf.catalogue.runtime();
    let version = format!("version {}", runtime.version);
    let there = runtime.artefact().map_or("no build for this machine", |a| cached(&shelf, &a));
    rows.push(row([&runtime.name, "runtime", &version, &runtime.licence, "yes", there]));
    output::text(&rows.join("\n"));
    Ok(())
}

fn row(cells: [&str; 6]) -> String {
    let [name, role, file, licence, commercial, there] = cells;
    format!("{name:12} {role:9} {file:38} {licence:40} {commercial:10} {there}")
}

fn cached(shelf: &Shelf, artefact: &Artefact) -> &'static str {
    match shelf.cache.find(artefact) {
        Ok(Some(_)) => "yes",
        Ok(None) => "no",
        Err(_) => "damaged",
    }
}

/// Fetches the named models, or the configured ones, and the runtime.
///
/// # Errors
/// An unknown name, a licence that is not accepted, a download that fails.
pub async fn fetch(config: Config, names: Vec<String>) -> Result<(), Failure> {
    runtime::telemetry::init(&config.telemetry)?;
    let blocking = tokio::task::spawn_blocking(move || {
        let shelf = Shelf::open(&config.models)?;
        let mut wanted: Vec<Artefact> = shelf.pinned_runtime(&config.models)?.into_iter().collect();
        if names.is_empty() {
            wanted.extend(shelf.catalogue.wanted(&selection(&config.models))?);
        }
        for name in names.iter().filter(|n| **n != shelf.catalogue.runtime().name) {
            let manifest = named(&shelf, name)?;
            manifest.permit(config.models.accept_licence)?;
            wanted.push(manifest.artefact());
        }
        bring(&shelf.cache, &wanted, config.models.offline)?;
        let lines = wanted.iter().map(|a| format!("{}: {}", a.name, shelf.cache.path_of(a).display()));
        output::text(&lines.collect::<Vec<_>>().join("\n"));
        Ok(())
    });
    blocking.await.unwrap_or_else(|e| Err(Failure::Other(format!("fetching was interrupted: {e}"))))
}

fn named<'a>(shelf: &'a Shelf, name: &str) -> Result<&'a Manifest, Failure> {
    let known: Vec<&str> = shelf.catalogue.manifests().map(|m| m.name.as_str()).collect();
    let found = shelf.catalogue.manifests().find(|m| m.name == name);
    found.ok_or_else(|| Failure::Usage(format!("there is no model named `{name}`; there are: {}", known.join(", "))))
}

/// Brings in a file.
///
/// # Errors
/// A file that is nothing known.
pub fn import(config: &Config, file: &Path) -> Result<(), Failure> {
    let shelf = Shelf::open(&config.models)?;
    if !file.is_file() {
        return Err(Failure::Usage(format!("there is no file {}", file.display())));
    }
    let found = models::import(&shelf.cache, &shelf.catalogue.artefacts(), file)?;
    let lines: Vec<String> = found.iter().map(|(name, path)| format!("{name}: {}", path.display())).collect();
    output::text(&lines.join("\n"));
    Ok(())
}
