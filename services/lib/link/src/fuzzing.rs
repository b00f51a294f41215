//! Hostile addresses against the reader of addresses. Called by the fuzz target `address` (tests/fuzz), which turns on the
//! feature `fuzzing`, and by the test below over the corpus that such runs have left.

use crate::{LinkError, address::Address};

/// Where this stands in an address it is a secret.
const SECRET: &str = "pw9x7q";

/// Reads one address: it is understood, or refused without showing what it holds.
///
/// # Panics
/// Where the reader breaks its promises: that is what the fuzzer looks for.
pub fn address(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Address::parse(&text) {
        Ok(Address::Single(_)) => {}
        Ok(Address::Cluster(nodes)) => assert!(!nodes.is_empty(), "a cluster without nodes"),
        Ok(Address::Sentinel { sentinels, service, .. }) => {
            assert!(!sentinels.is_empty() && !service.is_empty(), "a set without sentinels or name");
            assert!(!service.contains(['@', '?']), "credentials in a name");
        }
        Err(LinkError::Address(told)) => {
            assert!(!told.contains(SECRET), "a secret is told");
            assert!(told.len() < 300, "a long message");
        }
        Err(other) => unreachable!("{other:?} of an address"),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// What fuzzing has found, and one address of each kind, must be read or refused without harm.
    #[test]
    fn the_corpus_is_read_or_refused() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fuzz/corpus/address");
        let inputs: Vec<_> = fs::read_dir(corpus).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap()).collect();
        assert!(inputs.len() >= 6, "only {} inputs", inputs.len());
        inputs.iter().for_each(|input| super::address(input));
    }
}
