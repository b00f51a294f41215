//! Reading through the seal. A data key that is not at hand is asked for along with the value, so that nothing takes a
//! further round trip; scans ask for the keys of a page at once. Part of the sealed store.

use std::collections::{HashMap, HashSet};

use seal::aside;

use super::{
    SealedStore,
    cache::Held,
    open,
    owner::{self, Owner},
};
use crate::{Keys, Page, Record, Space, StoreError};

/// Data keys of some records.
type Found = HashMap<Owner, Held>;

/// What a scan goes over, and whether it wants values.
struct Range<'a> {
    space: &'a Space,
    prefix: &'a str,
    values: bool,
}

/// Rows of a range, without wrapped keys; without records where only keys are wanted.
struct Rows {
    rows: Vec<(String, Option<Record>)>,
    more: bool,
}

impl SealedStore {
    pub(super) async fn read(&self, space: &Space, key: &str) -> Result<Option<Record>, StoreError> {
        if Owner::named(key).is_some() {
            return Ok(None);
        }
        let owner = Owner::of(space, key);
        if let Some(held) = self.cache.get(space, owner) {
            let Some(record) = self.inner.get(space, key).await? else { return Ok(None) };
            if let Some(record) = opened(space, key, &held, record)? {
                return Ok(Some(record));
            }
            self.cache.remove(space, owner);
        }
        let mut found = self.inner.get_many(space, &[owner.name(), key.to_owned()]).await?.into_iter();
        // Without its key a value is as good as gone; sealed with another, it was left by a subject that was erased.
        let (Some(wrapped), Some(record)) = (found.next().flatten(), found.next().flatten()) else { return Ok(None) };
        let held = self.unwrap(space, owner, &wrapped)?;
        self.cache.insert(space, owner, held.clone());
        opened(space, key, &held, record)
    }

    pub(super) async fn read_many(&self, space: &Space, keys: &[String]) -> Result<Vec<Option<Record>>, StoreError> {
        let (mut found, missing) = self.at_hand(space, keys.iter().map(String::as_str));
        let all: Vec<String> = missing.iter().map(|o| o.name()).chain(keys.iter().cloned()).collect();
        let mut records = self.inner.get_many(space, &all).await?;
        let values = records.split_off(missing.len());
        self.take_in(space, missing, records, &mut found)?;
        let rows = keys.iter().cloned().zip(values).collect();
        let opened = open_all(space, rows, &found)?;
        let mut result = Vec::with_capacity(keys.len());
        for (key, row) in keys.iter().zip(opened) {
            result.push(match row {
                Row::Opened(record) => Some(record),
                Row::Gone => None,
                Row::OtherKey => self.afresh(space, key).await?,
            });
        }
        Ok(result)
    }

    pub(super) async fn read_range(
        &self,
        space: &Space,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (range, mut after) = (Range { space, prefix, values: true }, after.map(str::to_owned));
        loop {
            let Rows { rows, more } = self.rows(&range, after.as_deref(), limit).await?;
            let names: Vec<String> = rows.iter().map(|(key, _)| key.clone()).collect();
            let (mut found, missing) = self.at_hand(space, names.iter().map(String::as_str));
            if !missing.is_empty() {
                let wrapped: Vec<String> = missing.iter().map(|o| o.name()).collect();
                let records = self.inner.get_many(space, &wrapped).await?;
                self.take_in(space, missing, records, &mut found)?;
            }
            let mut records = Vec::with_capacity(names.len());
            for (key, row) in names.iter().zip(open_all(space, rows, &found)?) {
                let record = match row {
                    Row::Opened(record) => Some(record),
                    Row::Gone => None,
                    Row::OtherKey => self.afresh(space, key).await?,
                };
                records.extend(record.map(|r| (key.clone(), r)));
            }
            // A page without records would end the caller's walk.
            if !records.is_empty() || !more {
                return Ok(Page { records, more });
            }
            after = names.into_iter().next_back();
        }
    }

    pub(super) async fn range_of_keys(
        &self,
        space: &Space,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Keys, StoreError> {
        let Rows { rows, more } = self.rows(&Range { space, prefix, values: false }, after, limit).await?;
        Ok(Keys { keys: rows.into_iter().map(|(key, _)| key).collect(), more })
    }

    /// Up to `limit` rows; wrapped keys among them are passed over.
    async fn rows(&self, range: &Range<'_>, after: Option<&str>, limit: usize) -> Result<Rows, StoreError> {
        if !owner::may_meet(range.prefix) {
            return self.raw(range, after, limit).await;
        }
        let (mut rows, mut after) = (Vec::new(), after.map(str::to_owned));
        loop {
            let ask = limit.saturating_add(1).saturating_sub(rows.len());
            let found = self.raw(range, after.as_deref(), ask).await?;
            let cut_short = found.more && found.rows.len() < ask;
            after = found.rows.last().map(|(key, _)| owner::past(key));
            rows.extend(found.rows.into_iter().filter(|(key, _)| Owner::named(key).is_none()));
            if rows.len() > limit {
                rows.truncate(limit);
                return Ok(Rows { rows, more: true });
            }
            if !found.more || after.is_none() || cut_short && !rows.is_empty() {
                return Ok(Rows { rows, more: found.more });
            }
        }
    }

    /// Rows as the engine gives them.
    async fn raw(&self, range: &Range<'_>, after: Option<&str>, limit: usize) -> Result<Rows, StoreError> {
        let Range { space, prefix, values } = *range;
        if values {
            let page = self.inner.scan(space, prefix, after, limit).await?;
            Ok(Rows { rows: page.records.into_iter().map(|(k, r)| (k, Some(r))).collect(), more: page.more })
        } else {
            let page = self.inner.keys(space, prefix, after, limit).await?;
            Ok(Rows { rows: page.keys.into_iter().map(|k| (k, None)).collect(), more: page.more })
        }
    }

    /// The keys that open these records: those at hand, and whose are still to be asked for.
    fn at_hand<'k>(&self, space: &Space, keys: impl Iterator<Item = &'k str>) -> (Found, Vec<Owner>) {
        let (mut found, mut missing, mut seen) = (Found::new(), Vec::new(), HashSet::new());
        for owner in keys.map(|key| Owner::of(space, key)) {
            if seen.insert(owner) {
                match self.cache.get(space, owner) {
                    Some(held) => drop(found.insert(owner, held)),
                    None => missing.push(owner),
                }
            }
        }
        (found, missing)
    }

    /// Unwraps the keys that were asked for. Those of a large page are not kept: they would drive out what is used.
    fn take_in(
        &self,
        space: &Space,
        owners: Vec<Owner>,
        records: Vec<Option<Record>>,
        found: &mut Found,
    ) -> Result<(), StoreError> {
        let keep = owners.len() <= KEPT_OF_A_PAGE;
        for (owner, record) in owners.into_iter().zip(records) {
            let Some(record) = record else { continue };
            let held = self.unwrap(space, owner, &record)?;
            if keep || owner == Owner::Space {
                self.cache.insert(space, owner, held.clone());
            }
            found.insert(owner, held);
        }
        Ok(())
    }

    /// A record whose key at hand was not the one that sealed it.
    async fn afresh(&self, space: &Space, key: &str) -> Result<Option<Record>, StoreError> {
        self.cache.remove(space, Owner::of(space, key));
        self.read(space, key).await
    }
}

/// Keys of a page that are kept for later, at most.
const KEPT_OF_A_PAGE: usize = 64;

/// What became of a row.
enum Row {
    Opened(Record),
    Gone,
    OtherKey,
}

fn open_all(space: &Space, rows: Vec<(String, Option<Record>)>, keys: &Found) -> Result<Vec<Row>, StoreError> {
    let bytes = rows.iter().filter_map(|(_, r)| r.as_ref()).map(|r| r.value.len()).sum();
    let one = |(key, record): (String, Option<Record>)| {
        let held = keys.get(&Owner::of(space, &key)).filter(|_| Owner::named(&key).is_none());
        let (Some(record), Some(held)) = (record, held) else { return Ok(Row::Gone) };
        Ok(open(space, &key, held, record)?.map_or(Row::OtherKey, Row::Opened))
    };
    aside(bytes, || rows.into_iter().map(one).collect())
}

/// One record's value; nothing where another key sealed it.
fn opened(space: &Space, key: &str, held: &Held, record: Record) -> Result<Option<Record>, StoreError> {
    aside(record.value.len(), || open(space, key, held, record))
}
