//! Loads the ONNX Runtime library once per process. A missing or foreign file is an error, never a panic, and may be
//! followed by another attempt. Callers: the worker, the trainer and tools, at start.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::{environment::Environment, logging::LogLevel};

use crate::InferenceError;

/// The loaded runtime. It stays until the process ends: sessions live on threads that may outlast any owner.
static LOADED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);

/// A loaded ONNX Runtime. Clones share it.
#[derive(Clone, Debug)]
pub struct OnnxRuntime {
    library: PathBuf,
    environment: Environment,
}

impl OnnxRuntime {
    /// Loads the library at this path, or returns the loaded one if it is the same. Telemetry is turned off.
    ///
    /// # Errors
    /// [`InferenceError::Library`] if the file is missing, is no ONNX Runtime or is older than 1.17;
    /// [`InferenceError::OtherLibraryLoaded`] if another one was loaded before.
    pub fn load(library: &Path) -> Result<Self, InferenceError> {
        let failed = |reason: String| InferenceError::Library { path: library.to_owned(), reason };
        // An absolute path to an existing file: the loader would search elsewhere for anything less.
        let path = library.canonicalize().map_err(|e| failed(e.to_string()))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = loaded.as_ref() {
            let same = runtime.library == path;
            return if same { Ok(runtime.clone()) } else { Err(other(runtime)) };
        }
        // The bindings assert that the library hands out its table of functions.
        let environment = catch_unwind(AssertUnwindSafe(|| open(&path)))
            .unwrap_or_else(|_| Err("it is no usable ONNX Runtime".into()))
            .map_err(failed)?;
        let runtime = Self { library: path, environment };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The file it was loaded from.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The build's own description: version, commit, compiler flags.
    #[must_use]
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }

    pub(crate) const fn environment(&self) -> &Environment {
        &self.environment
    }
}

fn other(runtime: &OnnxRuntime) -> InferenceError {
    InferenceError::OtherLibraryLoaded { loaded: runtime.library.clone() }
}

fn open(path: &Path) -> Result<Environment, String> {
    let builder = ort::init_from(path).map_err(|e| e.to_string())?;
    let environment = builder.with_name("visavis").with_telemetry(false).build().map_err(|e| e.to_string())?;
    environment.set_log_level(LogLevel::Warning);
    Ok(environment)
}
