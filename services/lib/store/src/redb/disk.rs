//! What the disk under the store has to say: whether there is room for a commit before it is begun, and whether a
//! failure was for want of room. redb takes a failed write for the end of the database, so the first is what keeps
//! reads going on a full disk, and the second tells a store that may be opened anew from one that is broken.

use std::{
    any::Any,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use ::redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use crate::StoreError;

/// A commit of this many bytes is larger than what one request puts down, bulk jobs with pictures aside.
pub const USUAL: u64 = 1 << 20;

/// The file system that the store's files lie on.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    reserve: u64,
}

impl Disk {
    /// The one of `folder`; this many bytes are to stay free.
    pub const fn new(folder: PathBuf, reserve: u64) -> Self {
        Self { folder, reserve }
    }

    /// Whether a commit with so many bytes of values may begin. One that `erases` may use most of the reserve: removing
    /// is what makes room, and has to be possible when there is next to none.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`].
    pub fn room_for(&self, bytes: u64, erases: bool) -> Result<(), StoreError> {
        // Pages are copied on write, and the tree above them with them.
        let needed = bytes.saturating_mul(2).saturating_add(if erases { self.reserve / 8 } else { self.reserve });
        match free(&self.folder) {
            Some(free) if free < needed => {
                Err(StoreError::NoRoom(format!("{free} bytes are free, and {needed} are needed")))
            }
            // A file system that does not tell is tried.
            _ => Ok(()),
        }
    }
}

fn free(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// Whether `e` is the disk's refusal to take more, which ends when somebody makes room. Anything else, such as a write
/// that the disk lost, is not trusted again without a person having looked.
pub fn takes_no_more(e: &dyn Any) -> bool {
    let of_io = |e: &io::Error| {
        let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
        kinds.contains(&e.kind()) || e.kind() == ErrorKind::ReadOnlyFilesystem
    };
    let of_storage = |e: &StorageError| matches!(e, StorageError::Io(e) if of_io(e));
    e.downcast_ref().is_some_and(of_io)
        || e.downcast_ref().is_some_and(of_storage)
        || matches!(e.downcast_ref(), Some(TransactionError::Storage(e)) if of_storage(e))
        || matches!(e.downcast_ref(), Some(TableError::Storage(e)) if of_storage(e))
        || matches!(e.downcast_ref(), Some(CommitError::Storage(e)) if of_storage(e))
        || matches!(e.downcast_ref(), Some(DatabaseError::Storage(e)) if of_storage(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_room_is_told_from_damage_however_it_is_wrapped() {
        let io = |kind: ErrorKind| io::Error::from(kind);
        let full = || StorageError::Io(io(ErrorKind::StorageFull));
        assert!(takes_no_more(&io(ErrorKind::ReadOnlyFilesystem)) && takes_no_more(&full()));
        assert!(takes_no_more(&TransactionError::Storage(full())) && takes_no_more(&TableError::Storage(full())));
        assert!(takes_no_more(&CommitError::Storage(full())) && takes_no_more(&DatabaseError::Storage(full())));
        assert!(!takes_no_more(&io(ErrorKind::Other)) && !takes_no_more(&StorageError::PreviousIo));
        assert!(!takes_no_more(&CommitError::Storage(StorageError::Corrupted("x".into()))));
    }

    #[test]
    fn a_commit_needs_the_reserve_and_an_erasure_a_part_of_it() {
        let here = || std::env::temp_dir();
        let free = free(&here()).unwrap();
        Disk::new(here(), 0).room_for(1, false).unwrap();
        let disk = Disk::new(here(), free.saturating_mul(4));
        assert!(matches!(disk.room_for(1, false), Err(StoreError::NoRoom(_))));
        disk.room_for(1, true).unwrap();
        Disk::new("/no/such/folder".into(), u64::MAX).room_for(1, false).unwrap();
    }
}
