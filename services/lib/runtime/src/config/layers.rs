//! Merging the layers. Each key is tried alone on top of the defaults, so that one wrong key hides no other.

use std::fs;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use super::validate::broken_rules;
use super::{Config, ConfigError, DEFAULT_TOML, ENV_PREFIX, Fault, Loaded, Setting, Sources};

const DEFAULTS: &str = "the defaults";

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut value = self.value.clone();
        for part in self.key.rsplit('.') {
            value = Value::from(Dict::from([(part.to_owned(), value)]));
        }
        Ok(Map::from([(Profile::Default, value.into_dict().unwrap_or_default())]))
    }
}

pub(super) fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut faults = Vec::new();
    let mut merged = defaults();
    for setting in &sources.platform {
        merged = merged.merge(setting);
    }
    if let Some(path) = &sources.file {
        match read_file(path) {
            Ok(text) => merged = merged.merge(Layer { source: path.display().to_string(), text }),
            Err(fault) => faults.push(fault),
        }
    }
    for setting in sources.env.iter().filter_map(|(name, value)| from_env(name, value)) {
        merged = merged.merge(setting);
    }
    for setting in &sources.flags {
        merged = merged.merge(setting);
    }
    check(&merged, faults)
}

/// Tries every key alone, then the rules between keys on those that are well formed.
fn check(merged: &Figment, mut faults: Vec<Fault>) -> Result<Loaded, ConfigError> {
    let source_of = |key: &str| merged.find_metadata(key).map_or_else(|| DEFAULTS.to_owned(), |m| m.name.to_string());
    let (mut good, mut origins) = (defaults(), Vec::new());
    for (key, value) in leaves(merged, &mut faults) {
        let source = source_of(&key);
        let setting = Setting { source: source.clone(), key, value };
        match defaults().merge(&setting).extract::<Config>() {
            Ok(_) => {
                good = good.merge(&setting);
                if source != DEFAULTS {
                    origins.push((setting.key, source));
                }
            }
            Err(error) => faults.push(Fault { detail: plain(&error), key: setting.key, source }),
        }
    }
    match good.extract::<Config>() {
        Ok(config) => {
            let broken = broken_rules(&config);
            faults.extend(broken.into_iter().map(|(key, detail)| Fault {
                key: key.to_owned(),
                source: source_of(key),
                detail,
            }));
            if faults.is_empty() {
                return Ok(Loaded { config, origins });
            }
        }
        Err(error) => {
            faults.push(Fault { key: error.path.join("."), source: DEFAULTS.to_owned(), detail: plain(&error) });
        }
    }
    faults.sort_by(|a, b| a.key.cmp(&b.key));
    Err(ConfigError { faults })
}

fn defaults() -> Figment {
    Figment::from(Layer { source: DEFAULTS.to_owned(), text: DEFAULT_TOML.to_owned() })
}

/// The keys of the merged layers with their values. Tables are walked, everything else is one key.
fn leaves(merged: &Figment, faults: &mut Vec<Fault>) -> Vec<(String, Value)> {
    fn walk(prefix: &str, dict: &Dict, out: &mut Vec<(String, Value)>) {
        for (name, value) in dict {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Dict(_, inner) if !inner.is_empty() => walk(&key, inner, out),
                other => out.push((key, other.clone())),
            }
        }
    }
    let mut out = Vec::new();
    match merged.extract::<Dict>() {
        Ok(dict) => walk("", &dict, &mut out),
        Err(error) => {
            let source = error.metadata.as_ref().map_or_else(|| DEFAULTS.to_owned(), |m| m.name.to_string());
            faults.push(Fault { key: String::new(), source, detail: plain(&error) });
        }
    }
    out
}

/// The error's own words, without the path and source that the fault states anyway.
fn plain(error: &Error) -> String {
    error.kind.to_string().trim().replace('\n', " ")
}

fn read_file(path: &Path) -> Result<String, Fault> {
    let fault = |detail: String| Fault { key: String::new(), source: path.display().to_string(), detail };
    let text = fs::read_to_string(path).map_err(|e| fault(format!("the configuration file cannot be read: {e}")))?;
    // Parsed once here: a syntax error of the whole file should name the line.
    match toml::from_str::<toml::Table>(&text) {
        Ok(_) => Ok(text),
        Err(e) => Err(fault(format!("the configuration file is not valid TOML: {e}").trim().to_owned())),
    }
}

/// `VISAVIS__SECTION__KEY=value`. A value that does not fit the key's type as a number or truth value is tried as text.
fn from_env(name: &str, text: &str) -> Option<Setting> {
    let key = name.strip_prefix(ENV_PREFIX)?.to_ascii_lowercase().replace("__", ".");
    let setting = |value: Value| Setting { source: format!("environment variable {name}"), key: key.clone(), value };
    let parsed = setting(text.parse().unwrap_or_else(|_| Value::from(text)));
    let as_text = setting(Value::from(text));
    let fits = |s: &Setting| defaults().merge(s).extract::<Config>().is_ok();
    Some(if !fits(&parsed) && fits(&as_text) { as_text } else { parsed })
}

/// TOML text under a name of its own.
struct Layer {
    source: String,
    text: String,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Toml::string(&self.text).data()
    }
}
