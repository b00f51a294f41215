//! Reply streams of the memory engine: one bounded box per gateway, found by its address, gone with its reader.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::JobId;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{MemoryOptions, QueueError, ReplyStream};

#[derive(Debug, Default)]
struct ReplyBox {
    unread: Mutex<VecDeque<(Instant, Bytes)>>,
    arrived: Notify,
}

/// Every open stream.
#[derive(Debug, Default)]
pub(super) struct Boxes(Mutex<HashMap<String, Arc<ReplyBox>>>);

impl Boxes {
    pub(super) fn open(self: &Arc<Self>, ttl: Duration) -> MemoryReplies {
        let (address, replies) = (format!("memory-{}", JobId::generate()), Arc::<ReplyBox>::default());
        self.0.lock().insert(address.clone(), Arc::clone(&replies));
        MemoryReplies { boxes: Arc::clone(self), address, replies, ttl }
    }

    /// A reply to a closed stream is dropped: nobody waits for it.
    pub(super) fn send(&self, address: &str, bytes: Bytes, options: &MemoryOptions) {
        let Some(replies) = self.0.lock().get(address).cloned() else { return };
        {
            let mut unread = replies.unread.lock();
            unread.push_back((Instant::now(), bytes));
            while unread.len() > options.reply_capacity {
                unread.pop_front();
                tracing::warn!(address, "replies are not read in time; the oldest is dropped");
            }
        }
        replies.arrived.notify_one();
    }
}

/// The reading end. There is one per box, so one stored notification is enough.
#[derive(Debug)]
pub(super) struct MemoryReplies {
    boxes: Arc<Boxes>,
    address: String,
    replies: Arc<ReplyBox>,
    ttl: Duration,
}

impl MemoryReplies {
    fn pop(&self) -> Option<Bytes> {
        let (mut unread, now) = (self.replies.unread.lock(), Instant::now());
        while let Some((at, bytes)) = unread.pop_front() {
            if now.saturating_duration_since(at) < self.ttl {
                return Some(bytes);
            }
        }
        None
    }
}

#[async_trait]
impl ReplyStream for MemoryReplies {
    fn address(&self) -> &str {
        &self.address
    }

    async fn next(&mut self) -> Result<Bytes, QueueError> {
        loop {
            if let Some(bytes) = self.pop() {
                return Ok(bytes);
            }
            self.replies.arrived.notified().await;
        }
    }
}

impl Drop for MemoryReplies {
    fn drop(&mut self) {
        self.boxes.0.lock().remove(&self.address);
    }
}
