//! Gathers the configuration's layers: the platform's folders, the file, the environment and the flags. The only place
//! that reads environment variables.

use std::env;
use std::path::PathBuf;

use runtime::{Loaded, Setting, Sources, config};

use crate::failure::Failure;

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The other flags.
    pub settings: Vec<Setting>,
}

/// The effective configuration.
///
/// # Errors
/// [`Failure::Usage`] with every fault.
pub fn load(flags: &Flags) -> Result<Loaded, Failure> {
    let text = |(k, v): (std::ffi::OsString, std::ffi::OsString)| Some((k.into_string().ok()?, v.into_string().ok()?));
    let sources = Sources {
        platform: platform(|name| env::var(name).ok().filter(|v| !v.is_empty())),
        file: flags.file.clone(),
        env: env::vars_os().filter_map(text).collect(),
        flags: flags.settings.clone(),
    };
    Ok(config::load(&sources)?)
}

/// The image at which a worker is to abort: for tests of crashes, in builds with debug assertions alone.
#[cfg(debug_assertions)]
pub fn crash_on() -> Option<String> {
    env::var("VISAVIS_TEST_CRASH_ON").ok()
}

/// Folders by the XDG base directory specification; `VISAVIS_CACHE_DIR` wins over it.
fn platform(var: impl Fn(&str) -> Option<String>) -> Vec<Setting> {
    let below = |base: &str, home: &str, name: &str| {
        let root = var(base).or_else(|| Some(format!("{}/{home}", var("HOME")?)))?;
        Some(Setting::new("the user's folders", name, format!("{root}/visavis")))
    };
    let own =
        var("VISAVIS_CACHE_DIR").map(|d| Setting::new("environment variable VISAVIS_CACHE_DIR", "models.cache_dir", d));
    let cache = own.or_else(|| below("XDG_CACHE_HOME", ".cache", "models.cache_dir"));
    below("XDG_DATA_HOME", ".local/share", "store.data_dir").into_iter().chain(cache).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(vars: &[(&str, &str)]) -> Vec<String> {
        let found = platform(|n| vars.iter().find(|(k, _)| *k == n).map(|(_, v)| (*v).to_owned()));
        found.iter().map(|s| format!("{}={}", s.key, s.value.as_str().unwrap_or_default())).collect()
    }

    #[test]
    fn folders_follow_xdg_and_the_own_variable() {
        let home = ("HOME", "/home/v");
        assert_eq!(
            folders(&[home]),
            ["store.data_dir=/home/v/.local/share/visavis", "models.cache_dir=/home/v/.cache/visavis"]
        );
        assert_eq!(
            folders(&[home, ("XDG_DATA_HOME", "/d"), ("XDG_CACHE_HOME", "/c")]),
            ["store.data_dir=/d/visavis", "models.cache_dir=/c/visavis"]
        );
        assert_eq!(folders(&[("VISAVIS_CACHE_DIR", "/x"), ("XDG_CACHE_HOME", "/c")]), ["models.cache_dir=/x"]);
        assert!(folders(&[]).is_empty(), "without a home the folders lie in the working directory");
    }
}
