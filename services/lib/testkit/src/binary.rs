//! The binary under test.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The binary under test: `VISAVIS_BIN`, else the one beside the running test or tool, brought up to date first.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("VISAVIS_BIN").map_or_else(build_once, PathBuf::from))
}

/// Builds the binary as `cargo test --workspace` would, so that nothing is compiled twice.
#[must_use]
pub fn build_once() -> PathBuf {
    let test = env::current_exe().expect("a test has a path");
    // TARGET/PROFILE/deps/TEST, or TARGET/PROFILE/TOOL
    let folder = test.parent().expect("a test lies in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().expect("deps lies in a profile") } else { folder };
    let target = folder.parent().expect("a profile lies in the target directory");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("the repository's root");
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--workspace", "--bin", "visavis", "--target-dir"]).arg(target).current_dir(root);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let built = build.status().expect("cargo runs");
    assert!(built.success(), "the service does not compile");
    folder.join("visavis")
}
