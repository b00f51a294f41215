//! Rules about files: sizes, headers, lints, line ends of the tracked text.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::workspace::{members, root};

/// More lines than this is more than a reader keeps in mind.
const MOST_LINES: usize = 500;

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for member in members() {
        collect(&member.folder, &mut found);
    }
    found.sort();
    found.dedup();
    assert!(found.len() > 50, "only {} source files found", found.len());
    let read = |p: PathBuf| (p.clone(), fs::read_to_string(&p).unwrap_or_else(|e| panic!("{}: {e}", p.display())));
    found.into_iter().map(read).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a member's folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn no_source_file_is_longer_than_a_reader_can_follow() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(p, text)| (shown(p), text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(p, lines)| format!("{p}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "over {MOST_LINES} lines: {long:#?}");
}

#[test]
fn a_file_opens_by_saying_what_it_is() {
    let silent: Vec<String> = sources()
        .iter()
        .filter(|(_, text)| !text.lines().find(|l| !l.trim().is_empty()).is_some_and(|l| l.starts_with("//")))
        .map(|(p, _)| shown(p))
        .collect();
    assert!(silent.is_empty(), "without a line on what they are: {silent:#?}");
}

#[test]
fn every_member_takes_the_workspace_lints_and_licence() {
    for member in members() {
        let path = member.folder.join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(&path).expect("manifest").parse().expect("manifest is TOML");
        let inherits = |table: &toml::Value| table.get("workspace").and_then(toml::Value::as_bool) == Some(true);
        assert!(manifest.get("lints").is_some_and(inherits), "{} lacks [lints] workspace = true", shown(&path));
        for field in ["version", "edition", "rust-version", "license", "publish"] {
            let taken = manifest["package"].get(field).is_some_and(inherits);
            assert!(taken, "{}: {field}.workspace = true is missing", shown(&path));
        }
    }
}

/// Lints are switched off only where `#[expect]` says why, which the compiler itself holds up to date. What several
/// test binaries share is the exception: none of them uses all of it.
#[test]
fn lints_are_expected_with_a_reason_not_allowed() {
    let openings = [["#", "[allow("].concat(), ["#!", "[allow("].concat()];
    let excused = |path: &Path, line: &str| path.ends_with("tests/common/mod.rs") && line.contains("reason = ");
    let mut found = Vec::new();
    for (path, text) in sources() {
        let allows = |l: &str| openings.iter().any(|o| l.trim_start().starts_with(o.as_str())) && !excused(&path, l);
        found.extend(text.lines().filter(|l| allows(l)).map(|l| format!("{}: {l}", shown(&path))));
    }
    assert!(found.is_empty(), "use #[expect(lint, reason = \"…\")]: {found:#?}");
}

/// `unsafe` needs a reason in the file that holds it, and only the kernels of search and training may have one. The lint is denied, not
/// forbidden, so that they can expect it; nothing else does.
#[test]
fn unsafe_code_stays_where_it_is_explained() {
    const KERNELS: [&str; 2] = ["services/lib/gallery/src/kernels", "services/lib/autograd/src/kernels"];
    let words = ["unsafe {", "unsafe fn", "unsafe impl"];
    let lint = ["unsafe", "_code"].concat();
    let (mut found, mut elsewhere) = (Vec::new(), Vec::new());
    for (path, text) in sources() {
        let code = text.lines().map(str::trim_start).filter(|l| !l.starts_with("//") && !l.contains('"'));
        if text.contains(&lint)
            && !KERNELS.iter().any(|k| shown(&path).starts_with(k))
            && !path.ends_with("contract/files.rs")
        {
            elsewhere.push(shown(&path));
        }
        if code.into_iter().any(|l| words.iter().any(|w| l.contains(w))) && !text.contains("SAFETY:") {
            found.push(shown(&path));
        }
    }
    assert!(found.is_empty(), "unsafe without a SAFETY: comment: {found:#?}");
    assert!(elsewhere.is_empty(), "only the kernels may expect the lint: {elsewhere:#?}");
}

/// Error slugs are part of the API: the snapshot is what callers have built on.
#[test]
fn error_slugs_of_the_first_release_are_still_there() {
    const SLUGS: &str = "invalid_request invalid_cursor unauthenticated forbidden consent_required purpose_not_allowed \
        not_found collection_not_found subject_not_found face_not_found consent_not_found key_not_found job_not_found \
        model_not_found method_not_allowed erased conflict collection_model_mismatch gate_failed precondition_failed \
        payload_too_large image_too_large unsupported_media_type image_undecodable no_face multiple_faces low_quality \
        spoof_suspected idempotency_key_reused rate_limited internal inference_failed overloaded queue_unavailable \
        store_unavailable issuer_unavailable model_not_ready deadline_exceeded";
    for slug in SLUGS.split_whitespace() {
        assert!(domain::ErrorCode::from_slug(slug).is_some(), "{slug} has been renamed or removed");
    }
    assert_eq!(SLUGS.split_whitespace().count(), domain::ErrorCode::ALL.len(), "a new slug belongs in this list");
}
