//! Writing through the seal: values sealed, the keys they need made in the same commit, the keys of what is erased
//! destroyed in it. Part of the sealed store.

use std::collections::{HashMap, HashSet};

use seal::{DataKey, aside};

use super::{SealedStore, cache::Held, owner::Owner, place, sealing};
use crate::{Commit, Op, Precondition, Revision, Space, StoreError};

/// How often a commit is tried again that lost a race for a key.
const ATTEMPTS: usize = 16;

/// What a commit needs of keys.
struct Needs {
    /// Whose values it puts.
    written: Vec<Owner>,
    /// Whose keys it destroys.
    destroyed: HashSet<Owner>,
    /// Whose first record it writes, if its conditions hold: subjects that must not be there.
    new: HashSet<Owner>,
}

impl Needs {
    fn of(space: &Space, commit: &Commit) -> Self {
        let (mut written, mut seen, mut destroyed) = (Vec::new(), HashSet::new(), HashSet::new());
        for op in &commit.ops {
            match op {
                Op::Put { key, .. } => {
                    let owner = Owner::of(space, key);
                    if seen.insert(owner) {
                        written.push(owner);
                    }
                }
                Op::Erase { key } => destroyed.extend(Owner::destroyed_with(space, key)),
                Op::Delete { .. } => {}
            }
        }
        // Something of it is there after this commit.
        destroyed.retain(|owner| !seen.contains(owner));
        let new = commit.preconditions.iter().filter_map(|p| match p {
            Precondition::Absent(key) => Owner::destroyed_with(space, key),
            _ => None,
        });
        Self { written, destroyed, new: new.collect() }
    }
}

/// A key to write under: known to be there, or made by this commit.
enum Ready {
    There(Held),
    Fresh(DataKey),
}

impl Ready {
    const fn key(&self) -> &DataKey {
        match self {
            Self::There(held) => &held.key,
            Self::Fresh(key) => key,
        }
    }
}

impl SealedStore {
    pub(super) async fn write(&self, space: &Space, commit: Commit) -> Result<Revision, StoreError> {
        for op in &commit.ops {
            let (Op::Put { key, .. } | Op::Delete { key } | Op::Erase { key }) = op;
            if Owner::named(key).is_some() {
                return Err(StoreError::Unavailable("the name of a record is one of the store's own".into()));
            }
        }
        let mut needs = Needs::of(space, &commit);
        for _ in 0..ATTEMPTS {
            let keys = self.ready(space, &needs).await?;
            let sealed = self.sealed(space, commit.clone(), &needs, &keys)?;
            match self.inner.commit(space, sealed).await {
                Ok(revision) => {
                    self.settle(space, needs, keys, revision);
                    return Ok(revision);
                }
                Err(StoreError::Precondition { key }) => match Owner::named(&key) {
                    // Made, wrapped anew or destroyed by another meanwhile.
                    Some(owner) => {
                        self.cache.remove(space, owner);
                        needs.new.remove(&owner);
                    }
                    None => return Err(StoreError::Precondition { key }),
                },
                Err(e) => {
                    // It may have happened all the same.
                    needs.destroyed.iter().for_each(|owner| self.cache.remove(space, *owner));
                    return Err(e);
                }
            }
        }
        Err(StoreError::Unavailable("a key is being changed by too many at once".into()))
    }

    /// The keys to write under. Whoever is new has none: not asked for, as the commit finds out anyway.
    async fn ready(&self, space: &Space, needs: &Needs) -> Result<HashMap<Owner, Ready>, StoreError> {
        let (mut keys, mut missing) = (HashMap::new(), Vec::new());
        for owner in &needs.written {
            match self.cache.get(space, *owner) {
                Some(held) => drop(keys.insert(*owner, Ready::There(held))),
                None if needs.new.contains(owner) => drop(keys.insert(*owner, fresh()?)),
                None => missing.push(*owner),
            }
        }
        if missing.is_empty() {
            return Ok(keys);
        }
        let names: Vec<String> = missing.iter().map(|o| o.name()).collect();
        for (owner, record) in missing.into_iter().zip(self.inner.get_many(space, &names).await?) {
            let ready = match record {
                Some(record) => Ready::There(self.unwrap(space, owner, &record)?),
                None => fresh()?,
            };
            keys.insert(owner, ready);
        }
        Ok(keys)
    }

    /// The commit as the engine gets it. Its own conditions come first: they are the caller's to hear of.
    fn sealed(
        &self,
        space: &Space,
        commit: Commit,
        needs: &Needs,
        keys: &HashMap<Owner, Ready>,
    ) -> Result<Commit, StoreError> {
        let mut out = Commit { preconditions: commit.preconditions, ops: Vec::with_capacity(commit.ops.len() + 1) };
        for owner in &needs.written {
            let name = owner.name();
            out = match keys.get(owner) {
                Some(Ready::There(held)) => out.when(Precondition::Unchanged(name, held.version)),
                Some(Ready::Fresh(key)) => {
                    let wrapped = self.wrap(space, *owner, key)?;
                    out.when(Precondition::Absent(name.clone())).put(name, wrapped)
                }
                None => out,
            };
        }
        let bytes = commit.ops.iter().map(|op| if let Op::Put { value, .. } = op { value.len() } else { 0 }).sum();
        let seal_all = || commit.ops.into_iter().map(|op| seal_op(space, op, keys)).collect::<Result<_, _>>();
        let sealed: Vec<Op> = aside(bytes, seal_all)?;
        out.ops.extend(sealed);
        Ok(needs.destroyed.iter().fold(out, |out, owner| out.erase(owner.name())))
    }

    /// After the commit: what it made is at hand, what it destroyed no longer is.
    fn settle(&self, space: &Space, needs: Needs, keys: HashMap<Owner, Ready>, revision: Revision) {
        for (owner, ready) in keys {
            let held = match ready {
                Ready::There(held) => held,
                Ready::Fresh(key) => Held { key, version: revision },
            };
            self.cache.insert(space, owner, held);
        }
        needs.destroyed.into_iter().for_each(|owner| self.cache.remove(space, owner));
    }
}

fn fresh() -> Result<Ready, StoreError> {
    Ok(Ready::Fresh(DataKey::generate().map_err(|e| sealing(&e))?))
}

fn seal_op(space: &Space, op: Op, keys: &HashMap<Owner, Ready>) -> Result<Op, StoreError> {
    let Op::Put { key, value, expires_at } = op else { return Ok(op) };
    let ready = keys.get(&Owner::of(space, &key));
    let ready = ready.ok_or_else(|| StoreError::Unavailable("a value is without a key to seal it with".into()))?;
    let value = ready.key().seal(&place(space, &key), &value).map_err(|e| sealing(&e))?;
    Ok(Op::Put { key, value: value.into(), expires_at })
}
