//! The key file: a header block, then one 32-byte slot per sealed value. Slots are overwritten in place, which is
//! what makes erasure possible. A slot never crosses a sector, so a torn write harms no neighbour.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use super::format::{SealingKey, unavailable};
use crate::StoreError;

const MAGIC: &[u8; 16] = b"visavis-keys\0\0\0\x01";
const HEADER: u64 = 4096;
const SLOT: u64 = 32;
/// The file grows by this many slots at a time: 1 MiB.
const GROWTH: u64 = 32_768;

#[derive(Debug)]
pub struct KeyFile {
    file: File,
}

impl KeyFile {
    /// Makes an empty key file, with its id. Keys whose records are missing are left alone: the records may be
    /// put back.
    pub fn create(path: &Path) -> Result<(Self, [u8; 16]), StoreError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(unavailable)?;
        if std::fs::metadata(path).is_ok_and(|m| m.len() > HEADER) {
            let reason = format!("{} holds the keys of a store whose records are missing", path.display());
            return Err(StoreError::Unavailable(reason));
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = file.map_err(|e| StoreError::Unavailable(format!("{} cannot be made: {e}", path.display())))?;
        let made = file.write_all_at(&[MAGIC, &id[..]].concat(), 0).and_then(|()| file.set_len(HEADER));
        made.and_then(|()| file.sync_all()).map_err(unavailable)?;
        Ok((Self { file }, id))
    }

    /// Opens the key file that has this id.
    pub fn open(path: &Path, id: &[u8]) -> Result<Self, StoreError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file =
            file.map_err(|e| StoreError::Unavailable(format!("the keys {} are missing: {e}", path.display())))?;
        let mut head = [0; 32];
        let read = file.read_exact_at(&mut head, 0);
        if read.is_err() || head[..16] != MAGIC[..] || head[16..] != *id {
            return Err(StoreError::Unavailable(format!("{} does not hold this store's keys", path.display())));
        }
        Ok(Self { file })
    }

    /// The key in a slot; zeros if it was destroyed.
    pub fn read(&self, slot: u64) -> Result<SealingKey, StoreError> {
        let mut key = [0; 32];
        match self.file.read_exact_at(&mut key, offset(slot)) {
            Err(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Err(unavailable(e)),
            _ => Ok(key),
        }
    }

    /// Writes keys, given by slot in any order. Durable after [`KeyFile::sync`].
    pub fn write(&self, keys: &mut [(u64, SealingKey)]) -> Result<(), StoreError> {
        keys.sort_unstable_by_key(|(slot, _)| *slot);
        let Some((last, _)) = keys.last() else { return Ok(()) };
        let needed = offset(last + 1);
        if self.file.metadata().map_err(unavailable)?.len() < needed {
            let slots = (last + 1).next_multiple_of(GROWTH);
            self.file.set_len(offset(slots)).map_err(unavailable)?;
        }
        for run in keys.chunk_by(|a, b| a.0 + 1 == b.0) {
            let bytes: Vec<u8> = run.iter().flat_map(|(_, key)| *key).collect();
            self.file.write_all_at(&bytes, offset(run[0].0)).map_err(unavailable)?;
        }
        Ok(())
    }

    /// Destroys keys. Durable after [`KeyFile::sync`].
    pub fn destroy(&self, slots: &[u64]) -> Result<(), StoreError> {
        let mut zeros: Vec<_> = slots.iter().map(|slot| (*slot, [0; 32])).collect();
        self.write(&mut zeros)
    }

    /// Makes what was written durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(unavailable)
    }

    /// Destroys every key whose slot is not `used`; how many that were.
    pub fn wipe_unless(&self, used: impl Fn(u64) -> bool) -> Result<usize, StoreError> {
        let len = self.file.metadata().map_err(unavailable)?.len();
        let mut block = vec![0; usize::try_from(GROWTH * SLOT).unwrap_or(usize::MAX)];
        let (mut at, mut stray) = (HEADER, Vec::new());
        while at < len {
            let n = usize::try_from(len - at).unwrap_or(usize::MAX).min(block.len());
            self.file.read_exact_at(&mut block[..n], at).map_err(unavailable)?;
            let first = (at - HEADER) / SLOT;
            let filled = (first..).zip(block[..n].chunks(32)).filter(|(_, key)| key.iter().any(|b| *b != 0));
            stray.extend(filled.map(|(slot, _)| slot).filter(|slot| !used(*slot)));
            at += n as u64;
        }
        if !stray.is_empty() {
            self.destroy(&stray)?;
            self.sync()?;
        }
        Ok(stray.len())
    }
}

const fn offset(slot: u64) -> u64 {
    HEADER + slot * SLOT
}
