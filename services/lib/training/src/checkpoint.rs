//! The whole state of a run after a step: weights, what the optimiser remembers, averages, statistics, and how good it
//! was. Nothing random is in it: every draw is named by the seed and the step it is for. Called by the loop.
//!
//! A header as JSON, then the values as they are, then a checksum over both. A file that was cut is refused.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    TrainingError,
    backend::NamedValues,
    files::{bytes_of, floats_of, read, write_whole},
};

const MAGIC: &[u8; 8] = b"VVTRAIN1";
const SUM: usize = 32;

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Steps done.
    pub step: u64,
    /// Step of the best validation.
    pub best_step: u64,
    /// True accept rate there, and area under the ROC.
    pub best: Option<(f64, f64)>,
    /// Validations since then.
    pub since_best: u32,
    /// Step of the last validation.
    pub validated: Option<u64>,
    /// Ended before its last step, for nothing got better.
    pub ended_early: bool,
}

#[derive(Serialize, Deserialize)]
struct Header {
    run: String,
    place: Place,
    tensors: Vec<(String, usize)>,
}

/// State of a run. `values` are named by what they are, such as `weights/…` and `first/…`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Checkpoint {
    /// Id of the run it is of.
    pub run: String,
    pub place: Place,
    pub values: Vec<NamedValues>,
}

impl Checkpoint {
    /// Puts it down in place of the one before.
    ///
    /// # Errors
    /// As [`write_whole`].
    pub fn write(&self, path: &Path) -> Result<(), TrainingError> {
        let tensors = self.values.iter().map(|v| (v.name.clone(), v.values.len())).collect();
        let header = Header { run: self.run.clone(), place: self.place.clone(), tensors };
        let header = serde_json::to_vec(&header).map_err(|e| TrainingError::run(path, e.to_string()))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        self.values.iter().for_each(|v| bytes.extend(bytes_of(&v.values)));
        let sum: [u8; SUM] = Sha256::digest(&bytes).into();
        bytes.extend(sum);
        write_whole(path, &bytes)
    }

    /// Reads it, if it is there.
    ///
    /// # Errors
    /// A file that is damaged or of another run.
    pub fn read(path: &Path, run: &str) -> Result<Option<Self>, TrainingError> {
        let Some(bytes) = read(path)? else { return Ok(None) };
        let damaged = || TrainingError::run(path, "the checkpoint is damaged; delete it to begin anew");
        let (body, sum) = bytes.split_last_chunk::<SUM>().ok_or_else(damaged)?;
        if <[u8; SUM]>::from(Sha256::digest(body)) != *sum {
            return Err(damaged());
        }
        let rest = body.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
        let (header, mut rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
        let header: Header = serde_json::from_slice(header).map_err(|_| damaged())?;
        if header.run != run {
            return Err(TrainingError::run(path, "the checkpoint is of another run"));
        }
        let mut values = Vec::with_capacity(header.tensors.len());
        for (name, count) in header.tensors {
            let (these, after) = count.checked_mul(4).and_then(|n| rest.split_at_checked(n)).ok_or_else(damaged)?;
            values.push(NamedValues { name, values: floats_of(these) });
            rest = after;
        }
        Ok(Some(Self { run: header.run, place: header.place, values }))
    }

    /// Values whose name begins so, without that beginning.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a [f32])> {
        let named = self.values.iter().filter_map(move |v| Some((v.name.strip_prefix(kind)?, v.values.as_slice())));
        named.filter_map(|(name, values)| Some((name.strip_prefix('/')?, values)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_down_is_read_again_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.bin");
        assert!(Checkpoint::read(&path, "r").unwrap().is_none());
        let named = |name: &str, values: &[f32]| NamedValues { name: name.into(), values: values.to_vec() };
        let place = Place { step: 7, best: Some((0.5, 0.9)), ..Place::default() };
        let values =
            vec![named("weights/a", &[1.0, f32::MIN_POSITIVE]), named("first/a", &[]), named("weights/b", &[3.0])];
        let c = Checkpoint { run: "r".into(), place, values };
        c.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path, "r").unwrap(), Some(c.clone()));
        assert_eq!(c.of("weights").map(|(n, _)| n).collect::<Vec<_>>(), ["a", "b"]);
        assert!(Checkpoint::read(&path, "other").unwrap_err().to_string().contains("another run"));
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 5, 12, 40, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(Checkpoint::read(&path, "r").unwrap_err().to_string().contains("damaged"), "{cut}");
        }
        for at in [9, whole.len() / 2, whole.len() - 1] {
            let mut turned = whole.clone();
            turned[at] ^= 1;
            std::fs::write(&path, &turned).unwrap();
            assert!(Checkpoint::read(&path, "r").is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.bin");
        Checkpoint::default().write(&path).unwrap();
        let before = std::fs::read(&path).unwrap();
        std::fs::create_dir(path.with_added_extension("part")).unwrap();
        assert!(Checkpoint { run: "x".into(), ..Checkpoint::default() }.write(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
