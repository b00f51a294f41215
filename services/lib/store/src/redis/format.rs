//! The form of a stored record, and how the server's answers read.
//!
//! A record is its revision (u64, little-endian), its moment of expiry in ms (u64, 0 for never), and the value.

use bytes::{Buf, Bytes};
use domain::Timestamp;
use link::redis::Value;

use crate::{Change, Changes, Keys, Mark, Page, Record, Revision, StoreError};

/// The largest whole number that scripts can hold.
const LARGEST: i64 = (1 << 53) - 1;

/// A moment of expiry as scripts take it; 0 for never.
pub fn expiry(at: Option<Timestamp>) -> i64 {
    at.map_or(0, |t| t.as_millis().clamp(1, LARGEST))
}

/// Something to tell this commit from any other of the same revision.
pub fn fresh_token() -> Result<String, StoreError> {
    let token = getrandom::u64().map_err(|e| StoreError::Unavailable(format!("no randomness: {e}")))?;
    Ok(format!("{:x}", token.max(1)))
}

/// The record stored under `key`, unless there is none or it has expired.
pub fn record(key: &str, stored: Value, now: Timestamp) -> Result<Option<Record>, StoreError> {
    if stored == Value::Nil {
        return Ok(None);
    }
    let (expires_at, record) = split(key, bytes(stored)?)?;
    Ok((expires_at == 0 || expires_at > u64::try_from(now.as_millis()).unwrap_or(0)).then_some(record))
}

fn split(key: &str, mut stored: Bytes) -> Result<(u64, Record), StoreError> {
    let damaged = |_| StoreError::Damaged { key: key.to_owned(), reason: "cut short".into() };
    let version = Revision(stored.try_get_u64_le().map_err(damaged)?);
    let expires_at = stored.try_get_u64_le().map_err(damaged)?;
    Ok((expires_at, Record { value: stored, version }))
}

/// A page of records: whether more follow, then keys and records by turns.
pub fn page(answer: Value) -> Result<Page, StoreError> {
    let mut items = array(answer)?.into_iter();
    let more = items.next() == Some(Value::Int(1));
    let mut records = Vec::with_capacity(items.len() / 2);
    while let (Some(key), Some(stored)) = (items.next(), items.next()) {
        let key = string(key)?;
        if stored == Value::Nil {
            return Err(StoreError::Damaged { key, reason: "listed without a value".into() });
        }
        let (_, record) = split(&key, bytes(stored)?)?;
        records.push((key, record));
    }
    Ok(Page { records, more })
}

/// A page of keys: whether more follow, then keys.
pub fn keys(answer: Value) -> Result<Keys, StoreError> {
    let mut items = array(answer)?.into_iter();
    let more = items.next() == Some(Value::Int(1));
    Ok(Keys { keys: items.map(string).collect::<Result<_, _>>()?, more })
}

/// A commit's revision, or which precondition did not hold.
pub fn committed(answer: Value) -> Result<Revision, StoreError> {
    let (outcome, what) = pair(answer)?;
    let what = string(what)?;
    match outcome {
        Value::Int(1) => Ok(Revision(number(&what)?)),
        Value::Int(0) => Err(StoreError::Precondition { key: what }),
        _ => Err(unexpected()),
    }
}

/// A space's head: revision and token.
pub fn mark(head: &[u8]) -> Result<Mark, StoreError> {
    let text = std::str::from_utf8(head).map_err(|_| unexpected())?;
    let (revision, token) = text.split_once(' ').ok_or_else(unexpected)?;
    Ok(Mark { revision: Revision(number(revision)?), token: token_of(token)? })
}

/// The feed after `after`: the space's head, then entries by id, of which several may be of one commit.
pub fn changes(answer: Value, after: Revision, limit: usize) -> Result<Changes, StoreError> {
    let (head, entries) = pair(answer)?;
    let last = mark(&bytes(head)?)?.revision;
    if after >= last {
        // Nothing to tell, unless the follower knows of a revision that this store never had.
        return Ok(if after > last { Changes::Trimmed } else { Changes::Since(Vec::new()) });
    }
    let mut changes: Vec<Change> = Vec::new();
    for entry in array(entries)? {
        let (id, fields) = pair(entry)?;
        let id = string(id)?;
        let (revision, part) = id.split_once('-').ok_or_else(unexpected)?;
        let revision = Revision(number(revision)?);
        let known = changes.last().map_or(after, |c| c.revision);
        if part == "0" {
            if revision.0 != known.0 + 1 {
                return Ok(Changes::Trimmed);
            }
            changes.push(Change { revision, token: 0, keys: Vec::new() });
        }
        let Some(change) = changes.last_mut().filter(|c| c.revision == revision) else { return Ok(Changes::Trimmed) };
        let mut fields = array(fields)?.into_iter();
        while let (Some(key), Some(token)) = (fields.next(), fields.next()) {
            let token = string(token)?;
            change.token = token_of(token.trim_end_matches('-'))?;
            if !token.ends_with('-') {
                change.keys.push(string(key)?);
            }
        }
    }
    if changes.is_empty() {
        return Ok(Changes::Trimmed);
    }
    changes.truncate(limit);
    Ok(Changes::Since(changes))
}

fn token_of(text: &str) -> Result<u64, StoreError> {
    u64::from_str_radix(text, 16).map_err(|_| unexpected())
}

/// Elements of an answer that is a list.
pub fn array(answer: Value) -> Result<Vec<Value>, StoreError> {
    match answer {
        Value::Array(items) | Value::Set(items) => Ok(items),
        Value::Nil => Ok(Vec::new()),
        _ => Err(unexpected()),
    }
}

/// An answer that is a list of two.
pub fn pair(answer: Value) -> Result<(Value, Value), StoreError> {
    let [first, second] = <[Value; 2]>::try_from(array(answer)?).map_err(|_| unexpected())?;
    Ok((first, second))
}

/// An answer that is bytes.
pub fn bytes(answer: Value) -> Result<Bytes, StoreError> {
    match answer {
        Value::BulkString(bytes) => Ok(bytes.into()),
        Value::SimpleString(text) => Ok(text.into()),
        _ => Err(unexpected()),
    }
}

/// An answer that is text.
pub fn string(answer: Value) -> Result<String, StoreError> {
    String::from_utf8(bytes(answer)?.into()).map_err(|_| unexpected())
}

fn number(text: &str) -> Result<u64, StoreError> {
    text.parse().map_err(|_| unexpected())
}

/// The server says something that no version of this engine makes it say.
pub fn unexpected() -> StoreError {
    StoreError::Unavailable("the server's answer cannot be read".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn entry(id: &str, fields: &[&str]) -> Value {
        Value::Array(vec![bulk(id), Value::Array(fields.iter().map(|f| bulk(f)).collect())])
    }

    fn feed(head: &str, entries: Vec<Value>, after: u64) -> Changes {
        changes(Value::Array(vec![bulk(head), Value::Array(entries)]), Revision(after), 10).unwrap()
    }

    #[test]
    fn a_feed_with_a_gap_or_no_entries_where_there_should_be_some_is_trimmed() {
        let told =
            feed("4 c", vec![entry("3-0", &["a", "b"]), entry("3-1", &["b", "b"]), entry("4-0", &["", "c-"])], 2);
        let change = |n, token, keys: &[&str]| Change {
            revision: Revision(n),
            token,
            keys: keys.iter().map(|&k| k.to_owned()).collect(),
        };
        assert_eq!(told, Changes::Since(vec![change(3, 11, &["a", "b"]), change(4, 12, &[])]));
        assert_eq!(feed("4 c", vec![entry("4-0", &["a", "c"])], 2), Changes::Trimmed);
        assert_eq!(feed("4 c", vec![entry("3-1", &["a", "c"])], 2), Changes::Trimmed);
        assert_eq!(feed("4 c", vec![], 2), Changes::Trimmed);
        assert_eq!(feed("4 c", vec![], 5), Changes::Trimmed);
        assert_eq!(feed("4 c", vec![], 4), Changes::Since(vec![]));
    }

    #[test]
    fn expiry_stays_within_what_scripts_can_count() {
        assert_eq!(expiry(None), 0);
        assert_eq!(expiry(Some(Timestamp::from_millis(-5))), 1);
        assert_eq!(expiry(Some(Timestamp::from_millis(i64::MAX))), LARGEST);
    }

    #[test]
    fn answers_of_another_shape_are_errors() {
        let odd = [Value::Int(7), Value::Nil, Value::Array(vec![Value::Int(1)]), bulk("x")];
        for value in odd {
            assert!(committed(value.clone()).is_err());
            assert!(changes(value.clone(), Revision(0), 1).is_err());
        }
        assert!(record("k", bulk("short"), Timestamp::now()).is_err());
        assert!(mark(b"12").is_err() && mark(b"a b").is_err() && mark(b"1 zz").is_err());
    }
}
