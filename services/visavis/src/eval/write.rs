//! Writes what an evaluation came to: the JSON, the HTML, and reads the JSON of another run to compare with.

use std::fs;
use std::path::{Path, PathBuf};

use evaluation::report::Other;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::csv::read_bytes;
use super::pictures::file_name;
use crate::cli::ReportArgs;
use crate::failure::Failure;

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The page.
    pub html: PathBuf,
    /// The same figures.
    pub json: PathBuf,
}

impl Destination {
    /// `FILE.html` and `FILE.json`, or `report.html` and `report.json` in a folder.
    fn of(target: &Path) -> Self {
        let html = match target.extension() {
            Some(e) if e.eq_ignore_ascii_case("html") || e.eq_ignore_ascii_case("htm") => target.to_owned(),
            _ => target.join("report.html"),
        };
        Self { json: html.with_extension("json"), html }
    }
}

/// Makes sure that a report can be written, before hours go into its figures.
///
/// # Errors
/// A folder that cannot be made.
pub fn prepare(args: &ReportArgs) -> Result<Option<Destination>, Failure> {
    let Some(target) = &args.report else { return Ok(None) };
    let destination = Destination::of(target);
    if let Some(folder) = destination.html.parent().filter(|f| !f.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|e| Failure::io("the folder of the report", folder, &e))?;
    }
    Ok(Some(destination))
}

/// Writes the page and its figures where they were asked for.
///
/// # Errors
/// Files that cannot be written.
pub fn write<D: Serialize>(
    args: &ReportArgs,
    destination: Option<&Destination>,
    document: &D,
    html: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|e| Failure::Other(format!("the report has no JSON form: {e}")))?
        + "\n";
    let file = |path: &Path, text: &str| fs::write(path, text).map_err(|e| Failure::io("the report", path, &e));
    if let Some(path) = &args.json {
        file(path, &text)?;
    }
    if let Some(d) = destination {
        file(&d.json, &text)?;
        file(&d.html, &html())?;
    }
    Ok(())
}

/// Reads the JSON of another run.
///
/// # Errors
/// [`Failure::Usage`] for a file that is no such JSON.
pub fn other<D: DeserializeOwned>(path: Option<&PathBuf>, schema: &str) -> Result<Option<Other<D>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let bytes = read_bytes("other run", path)?;
    let wrong = |what: &str| Failure::Usage(format!("{} cannot be compared with: {what}", path.display()));
    let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| wrong(&format!("it is no JSON: {e}")))?;
    match json.get("schema").and_then(serde_json::Value::as_str) {
        Some(found) if found == schema => {}
        Some(found) => return Err(wrong(&format!("it is of the schema {found}, and this run is of {schema}"))),
        None => return Err(wrong(&format!("it has no schema, which must be {schema}"))),
    }
    let document = serde_json::from_value(json).map_err(|e| wrong(&e.to_string()))?;
    Ok(Some(Other { name: file_name(path), document }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_file_or_lies_in_a_folder() {
        let at = |target: &str| Destination::of(Path::new(target));
        assert_eq!(at("out/a.html").html, Path::new("out/a.html"));
        assert_eq!(at("out/a.HTML").json, Path::new("out/a.json"));
        assert_eq!(at("out").html, Path::new("out/report.html"));
        assert_eq!(at("out.d").json, Path::new("out.d/report.json"));
    }
}
