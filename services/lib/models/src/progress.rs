//! How a download tells what it is doing. The binary draws bars; tests and services stay silent.

/// Told about each download, from the thread that called [`crate::fetch`].
pub trait Progress {
    /// A download begins: its name and size in bytes.
    fn begin(&self, what: &str, bytes: u64);
    /// So many bytes of it have arrived.
    fn advance(&self, bytes: u64);
    /// It has arrived and is genuine.
    fn end(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _bytes: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
}
