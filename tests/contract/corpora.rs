//! What fuzzing has found and reached, read again: every input of tests/fuzz/corpus keeps the promises that the fuzz
//! targets hold their readers to. `cargo test -p visavis-tests --test contract corpora`

#[path = "../fuzz/src/harness.rs"]
mod harness;

use std::fs;

use crate::workspace::root;

fn each(target: &str, least: usize, read: fn(&[u8])) {
    let folder = root().join("tests/fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = files.map(|f| f.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= least, "{target}: only {} inputs", paths.len());
    for path in paths {
        let input = fs::read(&path).expect("an input");
        let kept = std::panic::catch_unwind(|| read(&input));
        assert!(kept.is_ok(), "{}", path.display());
    }
}

#[test]
fn pictures() {
    each("image", 17, harness::image);
}

#[test]
fn envelopes() {
    each("envelope", 12, harness::envelope);
}

#[test]
fn texts() {
    each("text", 11, harness::text);
}

#[test]
fn manifests() {
    each("manifest", 4, harness::manifest);
}

#[test]
fn graphs() {
    each("graph", 1, harness::graph);
}

#[test]
fn exports() {
    each("transfer", 4, harness::transfer);
}

/// The corpora are for reading, not for shipping: small enough that nobody minds them.
#[test]
fn corpora_stay_small() {
    let (mut files, mut bytes) = (0, 0);
    for folder in fs::read_dir(root().join("tests/fuzz/corpus")).expect("corpora").flatten() {
        for file in fs::read_dir(folder.path()).expect("a corpus").flatten() {
            files += 1;
            bytes += file.metadata().expect("an input").len();
        }
    }
    assert!(files < 1_000 && bytes < 1 << 19, "{files} files, {bytes} bytes");
}
