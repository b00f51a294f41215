//! Finds what has expired, for the writer to erase.

use std::collections::{BTreeMap, HashMap};

use ::redb::ReadableTable;
use domain::Timestamp;

use super::{
    format::{EXPIRY, split_record_key, unavailable},
    reader::Reader,
};
use crate::{Commit, Space, StoreError};

/// Most values erased by one call.
const BATCH: usize = 1_000;

/// Erasures of the first values that expired by `now`, a commit for each space.
pub fn expired(reader: &Reader, now: Timestamp) -> Result<Vec<(Space, Commit)>, StoreError> {
    let spaces: HashMap<u32, Space> = reader.spaces.all().into_iter().map(|(s, (number, _))| (number, s)).collect();
    let read = reader.begin_read()?;
    let expiry = read.open_table(EXPIRY).map_err(unavailable)?;
    let mut commits: BTreeMap<u32, Commit> = BTreeMap::new();
    for row in expiry.iter().map_err(unavailable)?.take(BATCH) {
        let (at, _) = row.map_err(unavailable)?;
        let (moment, at) = at.value();
        if moment > now.as_millis() {
            break;
        }
        if let Some((number, key)) = split_record_key(at) {
            let commit = commits.entry(number).or_default();
            *commit = std::mem::take(commit).erase(key);
        }
    }
    Ok(commits.into_iter().filter_map(|(number, commit)| Some((spaces.get(&number)?.clone(), commit))).collect())
}
