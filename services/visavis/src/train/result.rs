//! What a finished run leaves beside the training library's own files: the manifest of the model, and a few lines for
//! the person at the terminal.

use std::fs;

use models::{Checksum, Embedder, Kind, Manifest};
use training::{Finished, Recipe};

use super::init::Init;
use crate::failure::Failure;

/// What a manifest says of weights that began as random ones.
const OWN: &str = "own weights; the terms of the photos decide";

/// Writes the manifest beside the model, under a name that says what it was made from; gives it as it is read again.
///
/// # Errors
/// Files that cannot be used.
pub fn write_manifest(init: &Init, recipe: &Recipe, finished: &Finished) -> Result<Manifest, Failure> {
    let bytes = fs::read(&finished.model).map_err(|e| Failure::io("the model", &finished.model, &e))?;
    let from = &init.manifest;
    let alike = from.embedder().map_or((0, String::new()), |e| (e.dim, e.alignment.clone()));
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let manifest = Manifest {
        name: format!("{}-{}", from.name, recipe.name).chars().map(plain).collect(),
        description: format!("{}; trained with the recipe {}", from.description, recipe.name),
        file: "model.onnx".to_owned(),
        bytes: Some(bytes.len() as u64),
        sha256: Checksum::of(&bytes),
        sources: Vec::new(),
        licence: if init.is_random { OWN.to_owned() } else { from.licence.clone() },
        // Whoever has the right to say so may change it: nothing here knows where the photos are from.
        commercial: !init.is_random && from.commercial,
        input: from.input.clone(),
        // Scores of another model are no use to this one.
        kind: Kind::Embedder(Embedder { dim: alike.0, alignment: alike.1, calibration: Vec::new() }),
        quantised: None,
        folder: None,
    };
    let path = finished.model.with_extension("toml");
    let text = manifest.to_toml("nothing yet: visavis eval calibrate")?;
    fs::write(&path, text).map_err(|e| Failure::io("the manifest", &path, &e))?;
    Ok(Manifest::from_path(&path)?)
}

/// For the terminal.
pub fn summary(finished: &Finished, manifest: &Manifest, parity: f64) -> String {
    let d = &finished.document;
    let mut lines = vec![
        format!("model     {} ({}), from step {} of {}", finished.model.display(), manifest.name, d.best_step, d.steps),
        format!("report    {}", finished.report.display()),
        format!("parity    ONNX Runtime gives the same templates (least cosine {parity:.6})"),
    ];
    for p in &d.protocols {
        let share = |v: f64| format!("{:.2} %", 100.0 * v);
        let tar = p.candidate.report.tar_at_fmr.iter().find(|t| t.fmr == 1e-3);
        let of = |t: Option<&evaluation::TarEstimate>| t.map_or_else(|| "–".to_owned(), |t| share(t.estimate.value));
        let before = p.champion.as_ref().and_then(|c| c.report.tar_at_fmr.iter().find(|t| t.fmr == 1e-3));
        let gap = p.paired.as_ref().and_then(|x| x.get("tar_at_fmr_1e-3")).map(|x| x.difference);
        let gap = gap.map_or_else(String::new, |g| {
            let [v, low, high] = [g.value, g.interval.low, g.interval.high].map(|v| 100.0 * v);
            format!(", difference {v:+.2} ({low:+.2} to {high:+.2}) points")
        });
        lines.push(format!(
            "measured  photos {}, {} people: TAR at FMR 0.1 % {} before, {} now{gap}",
            p.name,
            p.identities,
            of(before),
            of(tar)
        ));
    }
    lines.extend(d.data.warnings.iter().map(|w| format!("warning   {w}")));
    lines.push(format!(
        "use it    --manifest-dir {} --embedder {}",
        finished.model.parent().map_or_else(String::new, |p| p.display().to_string()),
        manifest.name
    ));
    lines.join("\n")
}
