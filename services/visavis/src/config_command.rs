//! `visavis config print`.

use runtime::Loaded;

use crate::failure::Failure;
use crate::output;

/// Prints the effective configuration.
///
/// # Errors
/// When a value has no TOML form.
pub fn print(loaded: &Loaded) -> Result<(), Failure> {
    let toml = loaded.to_toml().map_err(|e| Failure::Other(format!("the configuration cannot be printed: {e}")))?;
    output::text(&toml);
    Ok(())
}
