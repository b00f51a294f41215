//! Key-encryption keys and sealed files as their users see them.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{self, Read, Write};

use visavis_seal::{DataKey, Keyring, SealError, SealedReader, SealedWriter, context};

const A: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const B: &str = "8PHy8/T19vf4+fr7/P3+/+Dh4uPk5ebn6Onq6+zt7u8=";

fn ring(text: &str) -> Keyring {
    Keyring::parse(text).unwrap()
}

#[test]
fn keys_are_read_from_lines_and_faults_name_the_line_alone() {
    let both = ring(&format!("# ours\n\n  {A}  # since May\r\n{B}\n"));
    assert_eq!(both.ids().collect::<Vec<_>>(), [ring(A).active(), ring(B).active()]);
    assert_eq!(both.active(), ring(A).active());
    let refused = |text: &str| Keyring::parse(text).unwrap_err();
    assert_eq!(refused(" \n# nothing\n"), SealError::NoKey);
    assert_eq!(refused(&format!("{A}\n\n{A}")), SealError::Repeated(3));
    for wrong in ["hunter2", &A[2..], &format!("{A}00"), &B[4..]] {
        let error = refused(&format!("{A}\n{wrong}"));
        assert_eq!(error, SealError::KeyText(2), "{wrong}");
        assert!(!error.to_string().contains(wrong));
    }
    let fresh = Keyring::fresh_key().unwrap();
    assert_ne!(*fresh, *Keyring::fresh_key().unwrap());
    assert!(!format!("{:?}", ring(&fresh)).contains(&*fresh));
}

#[test]
fn the_first_key_wraps_and_all_unwrap() {
    let (old, new, both) = (ring(A), ring(B), ring(&format!("{B}\n{A}")));
    let key = DataKey::generate().unwrap();
    let wrapped = old.wrap(&key, b"here").unwrap();
    assert_eq!(Keyring::wrapper(&wrapped), Some(old.active()));
    assert_eq!(both.unwrap(&wrapped, b"here").unwrap().id(), key.id());
    assert_eq!(both.unwrap(&wrapped, b"there").unwrap_err(), SealError::Broken);
    assert_eq!(new.unwrap(&wrapped, b"here").unwrap_err(), SealError::UnknownKey(old.active()));
    let again = both.wrap(&key, b"here").unwrap();
    assert_eq!(Keyring::wrapper(&again), Some(new.active()));
    assert_eq!(new.unwrap(&again, b"here").unwrap().id(), key.id());
    assert_eq!(new.unwrap(b"", b"here").unwrap_err(), SealError::Form);
    assert_eq!(new.unwrap(&[1; 100], b"here").unwrap_err().code(), { domain::ErrorCode::StoreUnavailable });
}

#[test]
fn purposes_have_keys_of_their_own_that_outlive_a_change_of_keys() {
    let (old, both) = (ring(A), ring(&format!("{B}\n{A}")));
    let sealed = old.purpose("queue").unwrap().seal(b"job", b"v").unwrap();
    assert_eq!(both.purpose("queue").unwrap().open(b"job", &sealed).unwrap(), b"v");
    assert_eq!(both.purpose("other").unwrap().open(b"job", &sealed), Err(SealError::Broken));
    assert_eq!(ring(B).purpose("queue").unwrap().open(b"job", &sealed), Err(SealError::UnknownKey(old.active())));
    assert_eq!(old.purpose("queue").unwrap().open(b"job", b"v"), Err(SealError::Form));
}

fn file(ring: &Keyring, text: &[u8]) -> Vec<u8> {
    let mut writer = ring.seal_file(Vec::new(), &context(&["export", "staff"])).unwrap();
    // In pieces that straddle the chunks.
    for piece in text.chunks(10_007) {
        writer.write_all(piece).unwrap();
    }
    writer.finish().unwrap()
}

fn open(ring: &Keyring, file: &[u8], place: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    ring.open_file(file, &context(&["export", place]))?.read_to_end(&mut text)?;
    Ok(text)
}

#[test]
fn files_open_whole_or_not_at_all() {
    let ring = ring(A);
    for len in [0, 1, 65_535, 65_536, 65_537, 300_000] {
        let text: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
        let sealed = file(&ring, &text);
        assert_eq!(open(&ring, &sealed, "staff").unwrap(), text);
        assert_eq!(open(&ring, &sealed, "guests").unwrap_err().kind(), io::ErrorKind::InvalidData);
        // Cut anywhere, also where a chunk ends.
        for cut in [0, 1, 40, 120, 200, 65_703, 65_727, 131_283].into_iter().filter(|c| *c < sealed.len()) {
            assert!(open(&ring, &sealed[..cut], "staff").is_err(), "{len} cut at {cut}");
        }
        let mut changed = sealed.clone();
        let at = changed.len() - 20;
        changed[at] ^= 1;
        assert!(open(&ring, &changed, "staff").is_err());
    }
    // A chunk taken out, and two exchanged: the head is 91 + 33 bytes, a full chunk 65,556.
    let sealed = file(&ring, &[7; 300_000]);
    let (head, chunk) = (sealed.len() - 4 * 65_556 - (300_000 - 4 * 65_536 + 20), 65_556);
    let without = [&sealed[..head], &sealed[head + chunk..]].concat();
    assert!(open(&ring, &without, "staff").is_err());
    let (first, second) = (&sealed[head..head + chunk], &sealed[head + chunk..head + 2 * chunk]);
    let exchanged = [&sealed[..head], second, first, &sealed[head + 2 * chunk..]].concat();
    assert!(open(&ring, &exchanged, "staff").is_err());
}

#[test]
fn a_data_key_seals_many_files_each_in_its_own_way() {
    let key = DataKey::generate().unwrap();
    let sealed = || {
        let mut writer = SealedWriter::new(Vec::new(), &key, b"crop").unwrap();
        writer.write_all(&[5; 1000]).unwrap();
        writer.finish().unwrap()
    };
    let (one, other) = (sealed(), sealed());
    assert!(one[40..].iter().zip(&other[40..]).filter(|(a, b)| a == b).count() < 100, "the key stream was used twice");
    let mut text = Vec::new();
    SealedReader::new(&one[..], &key, b"crop").unwrap().read_to_end(&mut text).unwrap();
    assert_eq!(text, [5; 1000]);
    let stranger = DataKey::generate().unwrap();
    let error = SealedReader::new(&one[..], &stranger, b"crop").err().unwrap();
    assert!(error.to_string().contains(&key.id().to_string()), "{error}");
}
