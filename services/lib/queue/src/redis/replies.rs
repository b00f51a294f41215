//! Reply streams: one per process, bounded, gone by themselves when their reader is. A task of its own reads, so that
//! the reader's future may be dropped at any moment.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use link::{Connection, Link, LinkError, MAX_BLOCK, redis};
use tokio::{sync::mpsc, task::JoinHandle};

use super::engine::failed;
use crate::{QueueError, ReplyStream};

/// Replies read ahead of their reader.
const AHEAD: usize = 64;

/// Pause after the server could not be read.
const BACKOFF: Duration = Duration::from_millis(100);

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
                if send.send(Err(failed(error, Duration::ZERO))).await.is_err() {
                    return;
                }
                tokio::time::sleep(BACKOFF).await;
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
        None => link.dedicated().await?,
    };
    if last != "0-0" {
        redis::cmd("XTRIM").arg(address).arg("MINID").arg(&*last).query_async::<()>(&mut connection).await?;
    }
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(AHEAD).arg("BLOCK").arg(MAX_BLOCK.as_millis() as u64);
    command.arg("STREAMS").arg(address).arg(&*last);
    type Entry = (String, HashMap<String, Vec<u8>>);
    let found: Option<Vec<(String, Vec<Entry>)>> = command.query_async(&mut connection).await?;
    *kept = Some(connection);
    let mut replies = Vec::new();
    for (id, mut fields) in found.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries) {
        *last = id;
        replies.extend(fields.remove("r").map(Bytes::from));
    }
    Ok(replies)
}
