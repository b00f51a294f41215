//! Writes and opens the lines of an export, each sealed for its place.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::JobId;
use seal::context;
use serde::{Deserialize, Serialize};

use crate::{ExportKey, TransferError, VERSION};

const FORMAT: &str = "visavis-export";

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    /// Drawn for this file, so that no line of another opens in it.
    file: String,
    key: String,
}

/// Any other line.
#[derive(Serialize, Deserialize)]
enum Line {
    /// More follow.
    #[serde(rename = "sealed")]
    Sealed(String),
    /// None follows.
    #[serde(rename = "last")]
    Last(String),
}

/// What a sealed line is bound to: its file, its number from 1, whether it is the last.
fn place(header: &str, number: u64, last: bool) -> Vec<u8> {
    context(&["visavis export", header, &number.to_string(), if last { "last" } else { "more" }])
}

/// Seals line after line.
#[derive(Debug)]
pub struct Sealer {
    key: ExportKey,
    header: String,
    written: u64,
}

impl Sealer {
    /// Begins a file: the sealer, and the first line.
    ///
    /// # Errors
    /// [`TransferError::Content`] if the header cannot be written as JSON, which does not happen.
    pub fn new(key: ExportKey) -> Result<(Self, Vec<u8>), TransferError> {
        let file = JobId::generate().to_string();
        let header = Header { format: FORMAT.into(), version: VERSION, file, key: key.id() };
        let header = serde_json::to_string(&header).map_err(|e| unwritten(1, &e))?;
        let first = format!("{header}\n").into_bytes();
        Ok((Self { key, header, written: 1 }, first))
    }

    /// The next line.
    ///
    /// # Errors
    /// [`TransferError::Seal`].
    pub fn line<T: Serialize>(&mut self, value: &T) -> Result<Vec<u8>, TransferError> {
        self.seal(value, false)
    }

    /// The last line.
    ///
    /// # Errors
    /// [`TransferError::Seal`].
    pub fn last<T: Serialize>(mut self, value: &T) -> Result<Vec<u8>, TransferError> {
        self.seal(value, true)
    }

    fn seal<T: Serialize>(&mut self, value: &T, last: bool) -> Result<Vec<u8>, TransferError> {
        self.written += 1;
        let text = serde_json::to_vec(value).map_err(|e| unwritten(self.written, &e))?;
        let sealed = self.key.data_key().seal(&place(&self.header, self.written, last), &text);
        let sealed = STANDARD.encode(sealed.map_err(TransferError::Seal)?);
        let line = if last { Line::Last(sealed) } else { Line::Sealed(sealed) };
        let mut line = serde_json::to_vec(&line).map_err(|e| unwritten(self.written, &e))?;
        line.push(b'\n');
        Ok(line)
    }
}

fn unwritten(line: u64, reason: &serde_json::Error) -> TransferError {
    TransferError::Content { line, reason: reason.to_string() }
}

/// A line's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// More lines follow.
    More(Vec<u8>),
    /// The last one.
    Last(Vec<u8>),
}

/// Opens line after line.
#[derive(Debug)]
pub struct Opener {
    key: ExportKey,
    header: String,
    read: u64,
}

impl Opener {
    /// Begins with a file's first line.
    ///
    /// # Errors
    /// [`TransferError::NotAnExport`], [`TransferError::Version`], [`TransferError::OtherKey`].
    pub fn new(key: ExportKey, first: &[u8]) -> Result<Self, TransferError> {
        let header = std::str::from_utf8(first).map_err(|_| TransferError::NotAnExport)?;
        let read: Header = serde_json::from_str(header).map_err(|_| TransferError::NotAnExport)?;
        if read.format != FORMAT {
            return Err(TransferError::NotAnExport);
        }
        if read.version != VERSION {
            return Err(TransferError::Version(read.version));
        }
        if read.key != key.id() {
            let sealed_with = read.key.chars().filter(char::is_ascii_hexdigit).take(16).collect();
            return Err(TransferError::OtherKey { sealed_with, given: key.id() });
        }
        Ok(Self { key, header: header.to_owned(), read: 1 })
    }

    /// The text of the next line.
    ///
    /// # Errors
    /// [`TransferError::Broken`] for a line that does not belong here as it is.
    pub fn open(&mut self, line: &[u8]) -> Result<Opened, TransferError> {
        self.read += 1;
        let broken = || TransferError::Broken(self.read);
        let (sealed, last) = match serde_json::from_slice(line).map_err(|_| broken())? {
            Line::Sealed(sealed) => (sealed, false),
            Line::Last(sealed) => (sealed, true),
        };
        let sealed = STANDARD.decode(sealed).map_err(|_| broken())?;
        let text = self.key.data_key().open(&place(&self.header, self.read, last), &sealed).map_err(|_| broken())?;
        Ok(if last { Opened::Last(text) } else { Opened::More(text) })
    }

    /// Number of the line opened last, from 1.
    #[must_use]
    pub const fn read(&self) -> u64 {
        self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> ExportKey {
        let bytes: Vec<u8> = (0..32).map(|i: u8| i.wrapping_mul(37) ^ byte).collect();
        ExportKey::parse(&hex::encode(bytes)).unwrap()
    }

    /// A file of this many lines beside header and trailer.
    fn file(key: &ExportKey, lines: u8) -> Vec<Vec<u8>> {
        let (mut sealer, first) = Sealer::new(key.clone()).unwrap();
        let mut file = vec![first];
        file.extend((0..lines).map(|i| sealer.line(&i).unwrap()));
        file.push(sealer.last(&"end").unwrap());
        file
    }

    /// How many lines open, and whether the last of them ended the file.
    fn opens(key: &ExportKey, file: &[Vec<u8>]) -> Result<(usize, bool), TransferError> {
        let mut opener = Opener::new(key.clone(), file[0].strip_suffix(b"\n").unwrap_or(&file[0]))?;
        let mut ended = false;
        for line in &file[1..] {
            ended = matches!(opener.open(line.strip_suffix(b"\n").unwrap_or(line))?, Opened::Last(_));
        }
        Ok((file.len() - 1, ended))
    }

    #[test]
    fn a_file_opens_whole_with_its_key_alone() {
        let made = file(&key(1), 3);
        assert_eq!(opens(&key(1), &made), Ok((4, true)));
        let other = TransferError::OtherKey { sealed_with: key(1).id(), given: key(2).id() };
        assert_eq!(opens(&key(2), &made), Err(other));
        // A header that lies about its key opens nothing.
        let claimed = String::from_utf8(made[0].clone()).unwrap().replace(&key(1).id(), &key(2).id()).into_bytes();
        assert_eq!(opens(&key(2), &[&[claimed], &made[1..]].concat()), Err(TransferError::Broken(2)));
        assert!(!made.concat().windows(3).any(|w| w == b"end"));
    }

    #[test]
    fn lines_that_are_cut_out_moved_repeated_or_of_another_file_do_not_open() {
        let (made, other) = (file(&key(1), 3), file(&key(1), 3));
        let with = |order: &[usize]| order.iter().map(|i| made[*i].clone()).collect::<Vec<_>>();
        for order in [&[0, 1, 3, 4][..], &[0, 2, 1, 3, 4], &[0, 1, 1, 2, 3, 4], &[0, 4], &[0, 1, 2, 4]] {
            assert!(matches!(opens(&key(1), &with(order)), Err(TransferError::Broken(_))), "{order:?}");
        }
        assert_eq!(opens(&key(1), &with(&[0, 1, 2, 3])), Ok((3, false)), "a file that was cut has no last line");
        let mixed = [&made[..2], &other[2..]].concat();
        assert_eq!(opens(&key(1), &mixed), Err(TransferError::Broken(3)));
        let renamed = String::from_utf8(made[2].clone()).unwrap().replace("sealed", "last").into_bytes();
        let cut = [&made[..2], &[renamed]].concat();
        assert_eq!(opens(&key(1), &cut), Err(TransferError::Broken(3)), "the end cannot be moved");
    }

    #[test]
    fn what_is_no_export_is_told() {
        for bad in ["", "{}", "hello", "{\"format\":\"zip\",\"version\":1,\"file\":\"x\",\"key\":\"y\"}"] {
            assert_eq!(Opener::new(key(1), bad.as_bytes()).unwrap_err(), TransferError::NotAnExport, "{bad}");
        }
        let newer = br#"{"format":"visavis-export","version":2,"file":"x","key":"y"}"#;
        assert_eq!(Opener::new(key(1), newer).unwrap_err(), TransferError::Version(2));
    }

    proptest! {
        #[test]
        fn a_changed_byte_anywhere_is_found(at in any::<prop::sample::Index>(), bit in 0u8..7) {
            let made = file(&key(3), 2);
            let mut bytes = made.concat();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let lines: Vec<_> = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect();
            let opened = opens(&key(3), &lines);
            // The very last line end may go: nothing is lost with it.
            prop_assert!(at == bytes.len() - 1 || !matches!(opened, Ok((3, true))), "{} {:?}", at, opened);
        }
    }
}
