//! Dead letters on a server: looked at, put back, dropped. Part of the engine's inside.

use domain::{Lane, Timestamp};

use super::{
    inner::{Inner, millis},
    scripts,
};
use crate::{DeadLetter, EntryId, QueueError};

/// A dead letter as its scripts tell it: id, body's name, reason, deliveries, when it died.
type Letter = (String, String, String, u32, i64);

impl Inner {
    /// Drops a dead letter or puts it back on its lane.
    pub async fn letter(&self, lane: Lane, id: &EntryId, what: &str, bytes: &[u8]) -> Result<bool, QueueError> {
        let keys = &self.keys;
        let mut call = scripts::LETTER.key(keys.dead(lane));
        call.key(keys.jobs(lane)).key(keys.bytes(lane));
        call.arg(id.as_str()).arg(what).arg(keys.body(lane)).arg(bytes);
        self.run(&call).await
    }

    /// Dead letters between two ids, newest first.
    pub async fn letters(&self, lane: Lane, range: [&str; 2], limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let mut call = scripts::LETTERS.key(self.keys.dead(lane));
        call.arg(limit).arg(millis(self.options.dead_letter_ttl)).arg(self.keys.body(lane)).arg(&range);
        let found: Vec<Letter> = self.run_again(&call).await?;
        let names: Vec<&str> = found.iter().map(|(_, body, ..)| body.as_str()).collect();
        let bodies = self.bodies(lane, &names).await?;
        let letters = found.into_iter().zip(bodies).map(|((id, _, reason, deliveries, at), bytes)| DeadLetter {
            id: EntryId::new(id),
            bytes,
            reason,
            deliveries,
            died_at: Timestamp::from_millis(at),
        });
        Ok(letters.collect())
    }
}
