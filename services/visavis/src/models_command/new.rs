//! `visavis models new`: an architecture with random weights as a model file with its manifest. `visavis train --init
//! ARCH` makes the same in memory.

use std::fs;
use std::path::Path;

use architectures::{Architecture, Options, SIDE, build, parameters};
use models::{Manifest, Untrained};

use crate::cli::NewArgs;
use crate::failure::Failure;
use crate::output;

/// Writes model and manifest.
///
/// # Errors
/// An unknown architecture, options that make no sense, files that cannot be written.
pub fn new(args: &NewArgs) -> Result<(), Failure> {
    if args.out.extension().is_none_or(|e| e != "onnx") {
        return Err(Failure::Usage("--out names a file that ends in .onnx".into()));
    }
    let unusable = |e: architectures::ArchitectureError| Failure::Usage(e.to_string());
    let architecture: Architecture = args.architecture.parse().map_err(unusable)?;
    let options = Options { seed: args.seed, dim: args.dim, dropout: args.dropout };
    let model = build(architecture, &options).map_err(unusable)?;
    let bytes = onnx::encode(&model);
    let dim = options.dim.unwrap_or(architecture.default_dim());
    let manifest = Manifest { file: file_name(&args.out), ..manifest(architecture, dim, &bytes) };
    let text = manifest.to_toml("nothing: the weights are random")?;
    Manifest::parse(&args.out.with_extension("toml").display().to_string(), &text)?;
    write(&args.out, &bytes)?;
    write(&args.out.with_extension("toml"), text.as_bytes())?;
    output::text(&format!(
        "{}: {architecture}, {} parameters, {dim} values, seed {}",
        args.out.display(),
        parameters(&model),
        args.seed
    ));
    Ok(())
}

/// What is known of a model with random weights.
pub fn manifest(architecture: Architecture, dim: usize, bytes: &[u8]) -> Manifest {
    let (name, source) = (architecture.name(), architecture.source());
    Manifest::untrained(Untrained { name, source, dim, side: SIDE as u32 }, bytes)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|e| Failure::io("the folder", folder, &e))?;
    }
    fs::write(path, bytes).map_err(|e| Failure::io("the file", path, &e))
}
