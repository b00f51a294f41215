//! Whose data key seals a record, and under which names the wrapped data keys themselves lie. Part of the sealed store.

use crate::{Space, SubjectHandle};

/// Where wrapped data keys lie: `~key` the space's own, `~key/{h}` a subject's. No repository writes such keys.
pub const NAMES: &str = "~key";
/// After every wrapped key's name and before whatever else may follow.
const BEYOND: &str = "~key/\u{10ffff}";

/// Whose data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The space's: what belongs to no single subject of a collection.
    Space,
    /// A subject's: destroyed when the subject is erased.
    Subject(SubjectHandle),
}

impl Owner {
    /// Whose key seals the record under `key`. Below a subject's handle lies what is the subject's, but for the trace of
    /// its erasure, which outlives its key.
    pub fn of(space: &Space, key: &str) -> Self {
        let subject = || {
            let (kind, rest) = key.split_once('/')?;
            let handle = rest.split('/').next().filter(|h| h.len() == 32)?;
            if kind == "x" { None } else { handle.parse().ok() }
        };
        if space.is_collection() { subject().map_or(Self::Space, Self::Subject) } else { Self::Space }
    }

    /// Where the wrapped key lies.
    pub fn name(self) -> String {
        match self {
            Self::Space => NAMES.to_owned(),
            Self::Subject(h) => format!("{NAMES}/{h}"),
        }
    }

    /// Whose wrapped key lies under this name.
    pub fn named(name: &str) -> Option<Self> {
        match name.strip_prefix(NAMES)? {
            "" => Some(Self::Space),
            rest => Some(Self::Subject(rest.strip_prefix('/')?.parse().ok()?)),
        }
    }

    /// Whose key goes with the record whose erasure is asked for: a subject's with the subject or with the guard that
    /// stands as long as anything of it does, a collection's with the collection.
    pub fn destroyed_with(space: &Space, key: &str) -> Option<Self> {
        match Self::of(space, key) {
            owner @ Self::Subject(_) if key.len() == 34 && matches!(&key[..2], "s/" | "g/") => Some(owner),
            Self::Space if space.is_collection() && key == crate::repo::META => Some(Self::Space),
            _ => None,
        }
    }
}

/// Whether a range of keys may hold wrapped keys.
pub fn may_meet(prefix: &str) -> bool {
    NAMES.starts_with(prefix) || prefix.starts_with(NAMES)
}

/// From where a scan goes on that has met `last`: past all wrapped keys, if that is one.
pub fn past(last: &str) -> String {
    if Owner::named(last).is_some() { BEYOND.to_owned() } else { last.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subjects_records_are_sealed_with_its_key_and_all_else_with_the_spaces() {
        let (tenant, collection) = ("acme".parse().unwrap(), "staff".parse().unwrap());
        let (space, h) = (Space::collection(&tenant, &collection), SubjectHandle([7; 16]));
        let subjects = [format!("s/{h}"), format!("v/{h}/face"), format!("d/{h}/job"), format!("new/{h}/a/b")];
        for key in &subjects {
            assert_eq!(Owner::of(&space, key), Owner::Subject(h), "{key}");
            assert_eq!(Owner::of(&Space::tenant(&tenant), key), Owner::Space, "{key}");
        }
        for key in ["meta".to_owned(), format!("x/{h}"), "s/short".to_owned(), format!("s{h}"), String::new()] {
            assert_eq!(Owner::of(&space, &key), Owner::Space, "{key}");
        }
        for owner in [Owner::Space, Owner::Subject(h)] {
            assert_eq!(Owner::named(&owner.name()), Some(owner));
            assert!(owner.name().as_str() < BEYOND && past(&owner.name()) == BEYOND);
        }
        assert_eq!((Owner::named("~keys"), Owner::named("~"), Owner::named("~key/x")), (None, None, None));
        assert!(["", "~", "~k", "~key", "~key/1"].into_iter().all(may_meet));
        assert!(!["a", "v/", "~x"].into_iter().any(may_meet));
    }

    #[test]
    fn a_key_goes_with_the_subject_or_the_collection_it_is_for() {
        let (tenant, collection) = ("acme".parse().unwrap(), "staff".parse().unwrap());
        let (space, h) = (Space::collection(&tenant, &collection), SubjectHandle([7; 16]));
        let of = |key: &str| Owner::destroyed_with(&space, key);
        assert_eq!(of(&format!("s/{h}")), Some(Owner::Subject(h)));
        assert_eq!(of(&format!("g/{h}")), Some(Owner::Subject(h)));
        assert_eq!(of("meta"), Some(Owner::Space));
        for key in [format!("v/{h}/s"), format!("x/{h}"), format!("n/{h}/g"), "s/".to_owned()] {
            assert_eq!(of(&key), None, "{key}");
        }
        assert_eq!(Owner::destroyed_with(&Space::tenant(&tenant), "meta"), None);
    }
}
