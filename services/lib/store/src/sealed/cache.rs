//! Data keys at hand, unwrapped: a bounded number, the least recently used go first. Part of the sealed store.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use seal::DataKey;

use super::owner::Owner;
use crate::{Revision, Space};

/// A data key and the version of the record it was read from.
#[derive(Clone, Debug)]
pub struct Held {
    pub key: DataKey,
    pub version: Revision,
}

type Keys = HashMap<(Space, Owner), Held>;

/// In two generations: what was used since the last turn, and what was used before.
#[derive(Debug)]
pub struct Cache {
    generations: Mutex<(Keys, Keys)>,
    half: usize,
}

impl Cache {
    /// Of at most `capacity` keys.
    pub fn new(capacity: usize) -> Self {
        Self { generations: Mutex::default(), half: (capacity / 2).max(1) }
    }

    pub fn get(&self, space: &Space, owner: Owner) -> Option<Held> {
        let mut both = self.lock();
        let at = (space.clone(), owner);
        if let Some(held) = both.0.get(&at) {
            return Some(held.clone());
        }
        let held = both.1.remove(&at)?;
        self.put(&mut both, at, held.clone());
        Some(held)
    }

    pub fn insert(&self, space: &Space, owner: Owner, held: Held) {
        self.put(&mut self.lock(), (space.clone(), owner), held);
    }

    pub fn remove(&self, space: &Space, owner: Owner) {
        let (mut both, at) = (self.lock(), (space.clone(), owner));
        both.0.remove(&at);
        both.1.remove(&at);
    }

    fn put(&self, (young, old): &mut (Keys, Keys), at: (Space, Owner), held: Held) {
        if young.len() >= self.half {
            *old = std::mem::take(young);
        }
        old.remove(&at);
        young.insert(at, held);
    }

    fn lock(&self) -> MutexGuard<'_, (Keys, Keys)> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SubjectHandle;

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let (cache, space) = (Cache::new(20), Space::system());
        let owner = |n: u8| Owner::Subject(SubjectHandle([n; 16]));
        let held = |n: u64| Held { key: DataKey::generate().unwrap(), version: Revision(n) };
        for n in 0..200u8 {
            cache.insert(&space, owner(n), held(u64::from(n)));
            assert!(cache.get(&space, owner(0)).is_some_and(|h| h.version == Revision(0)), "{n}");
        }
        let left = (0..200u8).filter(|n| cache.get(&space, owner(*n)).is_some()).count();
        assert!((2..=20).contains(&left), "{left}");
        cache.remove(&space, owner(0));
        assert!(cache.get(&space, owner(0)).is_none());
    }
}
