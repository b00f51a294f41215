//! What `cargo metadata` says about the members, and where the repository lies.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

/// A member of the workspace.
pub struct Member {
    /// Its name without the common prefix: `visavis-wire` is `wire`.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What its manifest names.
    pub dependencies: Vec<Dependency>,
}

/// A dependency as a manifest names it.
pub struct Dependency {
    /// The package's full name.
    pub package: String,
    /// Only for tests.
    pub dev: bool,
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie one folder below the root")
}

/// A member's name without the common prefix; the binary keeps it.
pub fn short(package: &str) -> &str {
    package.strip_prefix("visavis-").unwrap_or(package)
}

/// All members, read once.
pub fn members() -> &'static [Member] {
    static MEMBERS: OnceLock<Vec<Member>> = OnceLock::new();
    MEMBERS.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
        list(&json["packages"]).map(member).collect()
    })
}

fn member(package: &Value) -> Member {
    let manifest = Path::new(text(&package["manifest_path"]));
    let dependencies = list(&package["dependencies"])
        .map(|d| Dependency { package: text(&d["name"]).to_owned(), dev: d["kind"] == "dev" })
        .collect();
    Member {
        name: short(text(&package["name"])).to_owned(),
        folder: manifest.parent().expect("a manifest lies in a folder").to_owned(),
        dependencies,
    }
}

fn list(v: &Value) -> impl Iterator<Item = &Value> {
    v.as_array().expect("an array").iter()
}

fn text(v: &Value) -> &str {
    v.as_str().expect("a string")
}
