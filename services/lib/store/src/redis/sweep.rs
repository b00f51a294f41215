//! Removes what has expired, space by space, and finishes erasures whose process or server went away before the files
//! were rewritten. Every process may sweep; each step is a script of its own.

use domain::Timestamp;
use link::redis::{self, Value};

use super::{
    EraseMode, RedisStore,
    format::{array, fresh_token, pair, string, unexpected},
    keys,
    scripts::{self, Call},
};
use crate::{Space, StoreError};

/// Most values removed by one script.
const BATCH: u64 = 1_000;

impl RedisStore {
    pub(super) async fn sweep_all(&self, now: Timestamp) -> Result<usize, StoreError> {
        let (mut swept, mut unfinished) = (0, Vec::new());
        for space in self.known_spaces().await? {
            loop {
                let (removed, erasure) = self.sweep_some(&space, now).await?;
                swept += usize::try_from(removed).unwrap_or(0);
                if removed < BATCH {
                    unfinished.extend((erasure > 0).then_some((space, erasure)));
                    break;
                }
            }
        }
        if !unfinished.is_empty() && self.options.erase == EraseMode::Rewrite {
            self.rewrites.next().await?;
            for (space, erasure) in unfinished {
                self.finished(&space, erasure).await;
            }
        }
        Ok(swept)
    }

    /// The spaces listed on the server.
    pub(super) async fn known_spaces(&self) -> Result<Vec<Space>, StoreError> {
        let mut list = redis::cmd("SMEMBERS");
        list.arg(keys::spaces(self.client.link().prefix()));
        array(self.client.read(&list).await?)?.into_iter().map(|name| Ok(Space::named(&string(name)?))).collect()
    }

    /// One batch: how many were removed, and the space's last unfinished erasure or 0.
    async fn sweep_some(&self, space: &Space, now: Timestamp) -> Result<(u64, u64), StoreError> {
        let mut call = Call::new(&scripts::SWEEP, self.keys_of(space).all());
        let kept = space.feed_kept(self.options.feed_kept);
        call.text(now.as_millis()).text(kept).text(fresh_token()?).text(BATCH);
        match pair(self.client.write_script(&call).await?)? {
            (Value::Int(removed), Value::Int(erasure)) => {
                Ok((u64::try_from(removed).unwrap_or(0), u64::try_from(erasure).unwrap_or(0)))
            }
            _ => Err(unexpected()),
        }
    }
}
