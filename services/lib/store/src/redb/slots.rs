//! Which slots of the key file are in use. The truth is in the redb file and changes with the records, in the same
//! transaction; this is the writer's copy.

use std::collections::BTreeSet;

/// Slots per row of the table: 512 bytes.
pub const CHUNK: u64 = 4_096;
const WORDS: usize = (CHUNK / 64) as usize;

#[derive(Debug, Default)]
pub struct SlotMap {
    words: Vec<u64>,
    /// No free slot lies in a word before this one.
    first_free: usize,
    changed: BTreeSet<u32>,
}

impl SlotMap {
    /// Takes over a row of the table.
    pub fn load(&mut self, chunk: u32, bits: &[u8]) {
        let start = chunk as usize * WORDS;
        self.grow(start + WORDS);
        for (word, bytes) in self.words[start..].iter_mut().zip(bits.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
    }

    pub fn is_used(&self, slot: u64) -> bool {
        let word = usize::try_from(slot / 64).ok().and_then(|w| self.words.get(w));
        word.is_some_and(|w| w >> (slot % 64) & 1 == 1)
    }

    /// Takes the lowest free slot.
    pub fn allocate(&mut self) -> u64 {
        while self.words.get(self.first_free).is_some_and(|w| *w == u64::MAX) {
            self.first_free += 1;
        }
        if self.first_free == self.words.len() {
            self.grow(self.words.len() + WORDS);
        }
        let bit = self.words[self.first_free].trailing_ones();
        self.words[self.first_free] |= 1 << bit;
        self.touch(self.first_free);
        self.first_free as u64 * 64 + u64::from(bit)
    }

    /// Gives a slot back. It may be taken again at once, so only after the last allocation of a transaction:
    /// until that is durable the slot still holds the key of a value that a crash would bring back.
    pub fn free(&mut self, slot: u64) {
        if !self.is_used(slot) {
            return;
        }
        let Ok(word) = usize::try_from(slot / 64) else { return };
        self.words[word] &= !(1 << (slot % 64));
        self.first_free = self.first_free.min(word);
        self.touch(word);
    }

    /// The rows that changed since the last call.
    pub fn take_changed(&mut self) -> Vec<(u32, Vec<u8>)> {
        let row = |chunk: u32| {
            let start = chunk as usize * WORDS;
            self.words[start..start + WORDS].iter().flat_map(|w| w.to_le_bytes()).collect()
        };
        let rows = self.changed.iter().map(|chunk| (*chunk, row(*chunk))).collect();
        self.changed.clear();
        rows
    }

    fn touch(&mut self, word: usize) {
        self.changed.extend(u32::try_from(word / WORDS));
    }

    fn grow(&mut self, words: usize) {
        if self.words.len() < words {
            self.words.resize(words.next_multiple_of(WORDS), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slots_in_use_are_never_given_out_and_rows_restore_the_map(frees in prop::collection::vec(0u64..9_000, 0..300)) {
            let mut map = SlotMap::default();
            let mut used: std::collections::BTreeSet<u64> = (0..9_000).map(|_| map.allocate()).collect();
            prop_assert_eq!(used.len(), 9_000);
            let mut rows: std::collections::BTreeMap<_, _> = map.take_changed().into_iter().collect();
            for f in frees {
                map.free(f);
                used.remove(&f);
            }
            for _ in 0..40 {
                prop_assert!(used.insert(map.allocate()));
            }
            rows.extend(map.take_changed());
            let mut again = SlotMap::default();
            rows.iter().for_each(|(chunk, bits)| again.load(*chunk, bits));
            prop_assert!((0..10_000).all(|s| again.is_used(s) == used.contains(&s)));
        }
    }
}
