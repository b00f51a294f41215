//! Sealing and opening on async threads: what is large lets the other tasks of its thread go on elsewhere meanwhile.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Bytes sealed or opened at once without a word to the runtime: a few hundred microseconds.
const INLINE: usize = 1 << 19;

/// Does work on `bytes` bytes. Nothing is awaited, so that whoever calls this may be dropped only before or after.
pub fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let several = || Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes > INLINE && several() { tokio::task::block_in_place(work) } else { work() }
}
