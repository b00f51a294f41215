//! Keys derived for one purpose, one from each key-encryption key: for what is written and read within minutes, so that
//! no data key need be kept for it. Used by the queue.

use crate::{DataKey, KeyId, SealError};

/// Keys of one purpose; the first seals, all of them open.
#[derive(Clone, Debug)]
pub struct PurposeKeys {
    first: DataKey,
    former: Vec<DataKey>,
}

impl PurposeKeys {
    pub(crate) const fn new(first: DataKey, former: Vec<DataKey>) -> Self {
        Self { first, former }
    }

    /// `value` sealed for `context`.
    ///
    /// # Errors
    /// [`SealError::Randomness`], [`SealError::TooLarge`].
    pub fn seal(&self, context: &[u8], value: &[u8]) -> Result<Vec<u8>, SealError> {
        self.first.seal(context, value)
    }

    /// What was sealed for `context` under any of the key-encryption keys.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`] names the key-encryption key that is missing; [`SealError::Broken`],
    /// [`SealError::Form`].
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let id: KeyId = DataKey::sealer(sealed).ok_or(SealError::Form)?;
        let key = std::iter::once(&self.first).chain(&self.former).find(|k| k.id() == id);
        key.ok_or(SealError::UnknownKey(id))?.open(context, sealed)
    }
}
