//! Reply streams: one per process, bounded, gone by themselves when their reader is. A task of its own reads, so that
//! the reader's future may be dropped at any moment.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use link::{
    Connection, Link, LinkError, MAX_BLOCK,
    redis::{self, streams::StreamInfoStreamReply},
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::inner::failed;
use crate::{QueueError, ReplyStream};

/// Replies read ahead of their reader.
const AHEAD: usize = 64;

/// Pause after the server could not be read.
const BACKOFF: Duration = Duration::from_millis(100);

/// What a read answers: entries by stream, of which there is one; each with its id and fields.
type Streams = Option<Vec<(String, Vec<(String, HashMap<String, Vec<u8>>)>)>>;

/// The reading end.
pub struct RedisReplies {
    address: String,
    arrived: mpsc::Receiver<Result<Bytes, QueueError>>,
    task: JoinHandle<()>,
    link: Link,
}

impl RedisReplies {
    /// Begins to read the stream `address`.
    pub fn open(link: Link, address: String) -> Self {
        let (send, arrived) = mpsc::channel(AHEAD);
        let task = tokio::spawn(follow(link.clone(), address.clone(), send));
        Self { address, arrived, task, link }
    }
}

#[async_trait]
impl ReplyStream for RedisReplies {
    fn address(&self) -> &str {
        &self.address
    }

    async fn next(&mut self) -> Result<Bytes, QueueError> {
        let gone = || QueueError::Unavailable("the reply stream has ended".into());
        self.arrived.recv().await.unwrap_or_else(|| Err(gone()))
    }
}

impl Drop for RedisReplies {
    fn drop(&mut self) {
        self.task.abort();
        let (link, address) = (self.link.clone(), self.address.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Without it the stream expires a little later.
            runtime.spawn(async move {
                if let Ok(mut connection) = link.connection().await {
                    let _ = redis::cmd("DEL").arg(address).query_async::<()>(&mut connection).await;
                }
            });
        }
    }
}

async fn follow(link: Link, address: String, send: mpsc::Sender<Result<Bytes, QueueError>>) {
    let (mut connection, mut last) = (None, "0-0".to_owned());
    loop {
        match read(&link, &mut connection, &address, &mut last).await {
            Ok(replies) => {
                for reply in replies {
                    if send.send(Ok(reply)).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                connection = None;
                // Told once, not once for each attempt: the reader would go through all of them, with its pauses, when
                // the server is long back.
                if send.capacity() == AHEAD {
                    let _ = send.try_send(Err(failed(error, Duration::ZERO)));
                }
                if tokio::time::timeout(BACKOFF, send.closed()).await.is_ok() {
                    return;
                }
            }
        }
    }
}

/// The replies after `last`, which moves on; those before it are dropped from the stream.
async fn read(
    link: &Link,
    kept: &mut Option<Connection>,
    address: &str,
    last: &mut String,
) -> Result<Vec<Bytes>, LinkError> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => {
            let mut connection = link.dedicated().await?;
            if forgotten(&mut connection, address, last).await? {
                "0-0".clone_into(last);
            }
            connection
        }
    };
    // In one go: a reply that comes now waits for no other answer.
    let mut both = redis::pipe();
    both.cmd("XTRIM").arg(address).arg("MINID").arg(&*last).ignore();
    both.cmd("XREAD").arg("COUNT").arg(AHEAD).arg("BLOCK").arg(MAX_BLOCK.as_millis() as u64);
    both.arg("STREAMS").arg(address).arg(&*last);
    let (found,): (Streams,) = both.query_async(&mut connection).await?;
    *kept = Some(connection);
    let mut replies = Vec::new();
    for (id, mut fields) in found.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries) {
        *last = id;
        replies.extend(fields.remove("r").map(Bytes::from));
    }
    Ok(replies)
}

/// Whether the server, which may be another one or have lost its data, knows of no entry as late as `last`: the ids it
/// gives out from now on may be earlier ones.
async fn forgotten(connection: &mut Connection, address: &str, last: &str) -> Result<bool, LinkError> {
    let stream: Result<StreamInfoStreamReply, _> =
        redis::cmd("XINFO").arg("STREAM").arg(address).query_async(connection).await;
    match stream {
        Ok(stream) => Ok(parts(&stream.last_generated_id) < parts(last)),
        Err(e) if e.is_io_error() => Err(e.into()),
        Err(_) => Ok(true),
    }
}

/// An entry's id as numbers, which compare as the entries do.
fn parts(id: &str) -> (u64, u64) {
    let (ms, seq) = id.split_once('-').unwrap_or((id, "0"));
    (ms.parse().unwrap_or(0), seq.parse().unwrap_or(0))
}
