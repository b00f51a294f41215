//! What training begins with: a model of the catalogue, a file with its manifest, or an architecture with random
//! weights. The file is taken as it is shipped, not as it is rewritten for serving. Called by `train`.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use architectures::{Architecture, Options, build};
use models::{ChannelOrder, Manifest, ModelError};
use onnx::ModelProto;
use runtime::config::ModelsSection;
use training::Lineage;
use training::recipe::{Input, Order};

use crate::artefacts::{Shelf, bring};
use crate::eval::file_name;
use crate::failure::Failure;
use crate::models_command::new::manifest;

/// A model to begin with.
pub struct Init {
    /// What is known about it.
    pub manifest: Manifest,
    /// Its graph.
    pub model: ModelProto,
    /// Whether its weights are random.
    pub is_random: bool,
}

/// Finds it; `seed` is for random weights.
///
/// # Errors
/// A name that is nothing, a licence that is not accepted, a file that cannot be used.
pub fn resolve(section: &ModelsSection, named: Option<&str>, seed: u64) -> Result<Init, Failure> {
    let name = named.unwrap_or(&section.embedder);
    if let Ok(architecture) = Architecture::from_str(name) {
        let options = Options { seed, ..Options::default() };
        let model = build(architecture, &options).map_err(|e| Failure::Usage(e.to_string()))?;
        let manifest = manifest(architecture, architecture.default_dim(), &onnx::encode(&model));
        return Ok(Init { manifest, model, is_random: true });
    }
    let (manifest, path) = if Path::new(name).extension().is_some_and(|e| e == "onnx") {
        let manifest = Manifest::from_path(&Path::new(name).with_extension("toml"))
            .map_err(|e| Failure::Usage(format!("--init {name}: its manifest has to lie beside it: {e}")))?;
        (manifest, Path::new(name).to_owned())
    } else {
        from_shelf(section, name)?
    };
    manifest.permit(section.accept_licence)?;
    if manifest.embedder().is_none() {
        return Err(Failure::Usage(format!("--init {name}: training needs an embedder, and this is a detector")));
    }
    let bytes = fs::read(&path).map_err(|e| Failure::io("the model", &path, &e))?;
    let found = models::Checksum::of(&bytes);
    if found != manifest.sha256 {
        return Err(Failure::Usage(format!(
            "{}: its manifest says SHA-256 {}, and it is {found}",
            path.display(),
            manifest.sha256
        )));
    }
    let model = onnx::decode(&bytes).map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))?;
    let is_random = manifest.is_untrained();
    Ok(Init { manifest, model, is_random })
}

fn from_shelf(section: &ModelsSection, name: &str) -> Result<(Manifest, std::path::PathBuf), Failure> {
    let shelf = Shelf::open(section)?;
    let found = shelf.catalogue.manifests().find(|m| m.name == name).cloned();
    let manifest = found.ok_or_else(|| {
        let known: Vec<&str> =
            shelf.catalogue.manifests().filter(|m| m.embedder().is_some()).map(|m| m.name.as_str()).collect();
        let architectures: Vec<&str> = Architecture::ALL.into_iter().map(Architecture::name).collect();
        Failure::Usage(format!(
            "--init {name}: there is no such model or architecture; there are: {}, {}",
            known.join(", "),
            architectures.join(", ")
        ))
    })?;
    let beside = manifest.folder.as_ref().map(|f| f.join(&manifest.file)).filter(|p| p.is_file());
    let path = match beside {
        Some(path) => path,
        None => {
            manifest.permit(section.accept_licence)?;
            let artefact = manifest.artefact();
            bring(&shelf.cache, std::slice::from_ref(&artefact), section.offline)?;
            let missing = || ModelError::Missing { name: name.to_owned() };
            shelf.cache.find(&artefact)?.ok_or_else(missing)?
        }
    };
    Ok((manifest, path))
}

impl Init {
    /// How pixels become its input.
    pub fn input(&self) -> Input {
        let input = &self.manifest.input;
        let channel_order = match input.channel_order {
            ChannelOrder::Rgb => Order::Rgb,
            ChannelOrder::Bgr => Order::Bgr,
        };
        Input { channel_order, mean: input.mean, scale: input.scale }
    }

    /// For the run's record. The folder's own name says what it holds; its path is this machine's.
    pub fn lineage(&self, data: &Path) -> Lineage {
        let whole = data.canonicalize().unwrap_or_else(|_| data.to_owned());
        Lineage {
            source: format!("the folder {}", file_name(&whole)),
            consents: None,
            licence: Some(self.manifest.licence.clone()),
            init: Some(self.manifest.name.clone()),
            revision: option_env!("VISAVIS_REVISION").map(str::to_owned),
        }
    }
}
