//! Which workers live, and how to reach each of them alone. A worker announces itself for a lease at a time; a gateway
//! that needs every worker's word, as for an erasure, asks each at its inbox. An inbox is a reply stream that carries
//! envelopes.

use std::{fmt, time::Duration};

use wire::v1::{Envelope, WorkerPresence};

use crate::{Member, Queue, QueueError, ReplyStream};

impl Queue {
    /// Announces a worker, or renews it: it counts as alive for `lease` from now on.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn announce(&self, presence: &WorkerPresence, lease: Duration) -> Result<(), QueueError> {
        let member = Member { name: presence.name.clone(), note: wire::encode_presence(presence) };
        self.engine.join(&member, lease).await
    }

    /// Takes a worker's announcement back.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn withdraw(&self, name: &str) -> Result<(), QueueError> {
        self.engine.part(name).await
    }

    /// Every worker whose lease has not ended, by name. One whose word cannot be read is told by its name alone: it is
    /// alive all the same.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn workers(&self) -> Result<Vec<WorkerPresence>, QueueError> {
        let read = |member: Member| {
            wire::decode_presence(member.note)
                .unwrap_or_else(|_| WorkerPresence { name: member.name, ..WorkerPresence::default() })
        };
        Ok(self.engine.members().await?.into_iter().map(read).collect())
    }

    /// An inbox of this process; its address goes into the announcement.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn open_inbox(&self) -> Result<Inbox, QueueError> {
        Ok(Inbox { stream: self.engine.open_replies().await? })
    }

    /// Sends an envelope to one worker's inbox. Nobody takes it over if that worker is gone.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn send(&self, inbox: &str, envelope: &Envelope) -> Result<(), QueueError> {
        self.engine.reply(inbox, wire::encode_envelope(envelope)).await
    }

    /// Answers an envelope that came to an inbox.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn answer(&self, envelope: &Envelope, reply: &wire::v1::Reply) -> Result<(), QueueError> {
        if envelope.reply_to.is_empty() {
            return Ok(());
        }
        self.engine.reply(&envelope.reply_to, wire::encode_reply(reply)).await
    }
}

/// Envelopes for this process alone. Dropping it ends the stream.
pub struct Inbox {
    stream: Box<dyn ReplyStream>,
}

impl Inbox {
    /// Where envelopes are sent.
    #[must_use]
    pub fn address(&self) -> &str {
        self.stream.address()
    }

    /// Waits for the next envelope; one that cannot be read is skipped. Cancel safe.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]; call again after a pause.
    pub async fn next(&mut self) -> Result<Envelope, QueueError> {
        loop {
            match wire::decode_envelope(self.stream.next().await?) {
                Ok(envelope) => return Ok(envelope),
                Err(error) => tracing::warn!(%error, "an envelope in the inbox cannot be read and is skipped"),
            }
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("address", &self.address()).finish_non_exhaustive()
    }
}
