//! XAES-256-GCM (C2SP): AES-256-GCM under a key derived for each nonce, so that nonces of 24 bytes may be drawn at random
//! for any number of messages under one key. With 12 bytes a busy key would have to be replaced every few weeks.

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::AeadInOut,
    aes::{Aes256, Block, cipher::BlockCipherEncrypt},
};

use crate::SealError;

/// Bytes of a key.
pub const KEY: usize = 32;
/// Bytes of a nonce.
pub const NONCE: usize = 24;
/// Bytes of a tag.
pub const TAG: usize = 16;

/// The cipher for one message and the nonce that is left for it.
fn derived<'n>(key: &[u8; KEY], nonce: &'n [u8; NONCE]) -> (Aes256Gcm, &'n [u8; 12]) {
    let cipher = Aes256::new(key.into());
    // The subkey of CMAC: the encrypted zero block, doubled in GF(2^128).
    let mut doubled = Block::default();
    cipher.encrypt_block(&mut doubled);
    let mut carry = 0;
    for byte in doubled.iter_mut().rev() {
        let next = *byte >> 7;
        *byte = *byte << 1 | carry;
        carry = next;
    }
    doubled[15] ^= carry * 0x87;
    let (first, last) = nonce.split_at(12);
    let half = |counter: u8| {
        let mut block = Block::default();
        block[..4].copy_from_slice(&[0, counter, b'X', 0]);
        block[4..].copy_from_slice(first);
        block.iter_mut().zip(&doubled).for_each(|(b, d)| *b ^= d);
        cipher.encrypt_block(&mut block);
        block
    };
    let mut subkey = zeroize::Zeroizing::new([0; KEY]);
    subkey[..16].copy_from_slice(&half(1));
    subkey[16..].copy_from_slice(&half(2));
    let mut rest = &[0; 12];
    // Twelve are left of twenty-four.
    if let Ok(twelve) = last.try_into() {
        rest = twelve;
    }
    (Aes256Gcm::new((&*subkey).into()), rest)
}

/// Encrypts `out[from..]` in place and appends the tag.
pub fn encrypt(
    key: &[u8; KEY],
    nonce: &[u8; NONCE],
    context: &[u8],
    out: &mut Vec<u8>,
    from: usize,
) -> Result<(), SealError> {
    let (cipher, nonce) = derived(key, nonce);
    let tag = cipher.encrypt_inout_detached(nonce.into(), context, (&mut out[from..]).into());
    out.extend(tag.map_err(|_| SealError::TooLarge)?);
    Ok(())
}

/// Decrypts a text with its tag at the end.
pub fn decrypt(key: &[u8; KEY], nonce: &[u8; NONCE], context: &[u8], text: &[u8]) -> Result<Vec<u8>, SealError> {
    let (text, tag) = text.split_last_chunk::<TAG>().ok_or(SealError::Form)?;
    let (cipher, nonce) = derived(key, nonce);
    let mut plain = text.to_vec();
    let opened = cipher.decrypt_inout_detached(nonce.into(), context, (&mut plain[..]).into(), tag.into());
    opened.map_err(|_| SealError::Broken)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two vectors of the specification, one for each value of the doubling's carry.
    #[test]
    fn agrees_with_the_specification() {
        let nonce = *b"ABCDEFGHIJKLMNOPQRSTUVWX";
        for (byte, context, expected) in [
            (1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
            (3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
        ] {
            let mut out = b"XAES-256-GCM".to_vec();
            encrypt(&[byte; KEY], &nonce, context.as_bytes(), &mut out, 0).unwrap();
            assert_eq!(hex::encode(&out), expected);
            assert_eq!(decrypt(&[byte; KEY], &nonce, context.as_bytes(), &out).unwrap(), b"XAES-256-GCM");
        }
    }
}
