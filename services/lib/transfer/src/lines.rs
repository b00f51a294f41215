//! Cuts what is received into lines, with a bound on how long one may be. Used by whoever reads an export.

use crate::TransferError;

/// Most bytes of a line: a subject of some thousands of faces. More is not held in memory.
pub const LONGEST_LINE: usize = 16 << 20;

/// Bytes received so far that are not yet a line given out.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    from: usize,
    /// Up to where there is no line end.
    looked: usize,
    given: u64,
}

impl Lines {
    /// Adds what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.from);
        self.looked -= self.from;
        self.from = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its end, if there is one.
    ///
    /// # Errors
    /// [`TransferError::TooLong`].
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, TransferError> {
        let end = self.buffer[self.looked..].iter().position(|b| *b == b'\n').map(|i| self.looked + i);
        if end.unwrap_or(self.buffer.len()) - self.from > LONGEST_LINE {
            return Err(TransferError::TooLong { line: self.given + 1, limit: LONGEST_LINE });
        }
        let Some(end) = end else {
            self.looked = self.buffer.len();
            return Ok(None);
        };
        let line = self.buffer[self.from..end].to_vec();
        (self.from, self.looked) = (end + 1, end + 1);
        self.given += 1;
        Ok(Some(line))
    }

    /// What is left when nothing more comes: a last line without an end, if any.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        let rest = self.buffer.split_off(self.from);
        *self = Self { given: self.given, ..Self::default() };
        if rest.is_empty() {
            return None;
        }
        self.given += 1;
        Some(rest)
    }

    /// Lines given out so far.
    #[must_use]
    pub const fn given(&self) -> u64 {
        self.given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_arrive(text in "[ab\n]{0,60}", cuts in prop::collection::vec(1usize..7, 0..60)) {
            let (mut lines, mut got, mut rest) = (Lines::default(), Vec::new(), text.as_bytes());
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                rest = later;
                lines.push(now);
                while let Some(line) = lines.take().unwrap() {
                    got.push(line);
                }
            }
            got.extend(lines.rest());
            let expected: Vec<_> = text.lines().map(|l| l.as_bytes().to_vec()).collect();
            prop_assert_eq!(got.len() as u64, lines.given());
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_gathered_for_ever() {
        let mut lines = Lines::default();
        lines.push(b"short\n");
        lines.push(&vec![b'x'; LONGEST_LINE + 1]);
        assert_eq!(lines.take().unwrap().unwrap(), b"short");
        assert_eq!(lines.take(), Err(TransferError::TooLong { line: 2, limit: LONGEST_LINE }));
    }
}
