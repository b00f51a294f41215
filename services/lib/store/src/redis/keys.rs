//! Where a space lies on the server, and ranges of its keys.

use crate::Space;

/// The keys of one space; the space's name in braces makes them one hash slot.
pub struct SpaceKeys {
    /// Hash: record key → head and value.
    pub values: String,
    /// Sorted set of all record keys, in byte order.
    pub order: String,
    /// Stream: revision → record keys touched.
    pub feed: String,
    /// Last revision and its token.
    pub head: String,
    /// Sorted set: record key → moment of expiry in ms.
    pub expiry: String,
    /// Revision of the last erasure whose values may still be in the server's files.
    pub erasures: String,
}

impl SpaceKeys {
    /// The keys of `space` under `prefix`.
    pub fn new(prefix: &str, space: &Space) -> Self {
        let at = |name: &str| format!("{prefix}:s:{{{}}}:{name}", space.as_str());
        Self { values: at("v"), order: at("k"), feed: at("f"), head: at("h"), expiry: at("x"), erasures: at("e") }
    }

    /// All of them, in the order scripts that write take them.
    pub fn all(self) -> [String; 6] {
        [self.values, self.order, self.feed, self.head, self.expiry, self.erasures]
    }
}

/// Set of the names of all spaces.
pub fn spaces(prefix: &str) -> String {
    format!("{prefix}:spaces")
}

/// The keys that begin with `prefix` and lie after `after`, as `ZRANGEBYLEX` takes ranges.
pub fn lex_range(prefix: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    let from = match after {
        Some(after) if after >= prefix => [b"(", after.as_bytes()].concat(),
        _ => [b"[", prefix.as_bytes()].concat(),
    };
    // The first text beyond all that begin with the prefix; no byte of UTF-8 is 255.
    let to = match prefix.as_bytes().split_last() {
        Some((last, rest)) => [b"(", rest, &[last.saturating_add(1)]].concat(),
        None => b"+".to_vec(),
    };
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_begins_with_the_prefix_and_comes_after_the_cursor() {
        let range = |prefix, after| {
            let (from, to) = lex_range(prefix, after);
            (String::from_utf8_lossy(&from).into_owned(), String::from_utf8_lossy(&to).into_owned())
        };
        let is = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(range("", None), is("[", "+"));
        assert_eq!(range("", Some("")), is("(", "+"));
        assert_eq!(range("a/", None), is("[a/", "(a0"));
        assert_eq!(range("a/", Some("a/1")), is("(a/1", "(a0"));
        assert_eq!(range("a/", Some("a")), is("[a/", "(a0"));
    }

    #[test]
    fn the_keys_of_a_space_share_its_hash_slot_and_no_other_spaces() {
        let keys = SpaceKeys::new("vv", &Space::tenant(&"acme".parse().unwrap())).all();
        assert!(keys.iter().all(|k| k.starts_with("vv:s:{tenant/acme}:")));
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), 6);
    }
}
