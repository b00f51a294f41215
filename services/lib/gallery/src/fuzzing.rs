//! Hostile snapshots against their reader: whoever can write to a worker's disk can write these. Called by the fuzz target
//! `snapshot` (tests/fuzz), which turns on the feature `fuzzing`, and by the test below over the corpus that such runs
//! have left.

use domain::Template;
use sha2::{Digest, Sha256};

use crate::snapshot::form;

/// Reads one snapshot, plain: as its bytes are, and with the checksum put right, since no chance would.
///
/// # Panics
/// Where the reader breaks its promises: that is what the fuzzer looks for.
pub fn snapshot(data: &[u8]) {
    let body = &data[..data.len().saturating_sub(32)];
    let whole = [body, &Sha256::digest(body)].concat();
    let Some((rows, bytes)) = read(data).or_else(|| read(&whole)) else { return };
    assert!(bytes <= data.len() && rows <= data.len() / 20, "{rows} rows of {bytes} bytes from {}", data.len());
}

/// Rows, and bytes of their templates, of one that is taken.
fn read(mut from: &[u8]) -> Option<(usize, usize)> {
    let header = form::read_header(&mut &*from).ok()?;
    assert!(!header.tenant.as_str().is_empty() && !header.collection.as_str().is_empty());
    let (mut rows, mut bytes) = (0, 0);
    let mut row = |_, template: &Template| {
        rows += 1;
        bytes += template.to_bytes().len();
        Ok(())
    };
    form::read_rows(&mut from, &header, &mut row).ok()?;
    Some((rows, bytes))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// What fuzzing has found, and a whole snapshot, must be read or refused without harm.
    #[test]
    fn the_corpus_is_read_or_refused() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fuzz/corpus/snapshot");
        let inputs: Vec<_> = fs::read_dir(corpus).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap()).collect();
        assert!(inputs.len() >= 3, "only {} inputs", inputs.len());
        inputs.iter().for_each(|input| super::snapshot(input));
        assert!(inputs.iter().any(|input| super::read(input).is_some_and(|(rows, _)| rows > 0)), "none is whole");
    }
}
