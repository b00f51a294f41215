//! Jobs this gateway waits for: job id → the handler's channel. A guard removes the entry and cancels the job when
//! the handler goes away first, because the client hung up or the deadline passed.

use std::{collections::HashMap, sync::Arc};

use domain::JobId;
use parking_lot::Mutex;
use queue::Queue;
use tokio::sync::oneshot;
use wire::v1::Reply;

/// Everything waited for. Bounded by the permits of admission: one entry per admitted request.
#[derive(Clone, Default)]
pub(crate) struct Pending {
    waiting: Arc<Mutex<HashMap<JobId, oneshot::Sender<Reply>>>>,
}

/// One wait. Dropping it before the reply came removes the entry and cancels the job.
pub(crate) struct Waiting {
    job: JobId,
    pending: Pending,
    queue: Queue,
    reply: oneshot::Receiver<Reply>,
    cancel: bool,
}

impl Pending {
    /// Begins to wait for `job`. A second wait for the same job takes the first one's place.
    /// With `cancel`, giving up the wait cancels the job.
    pub fn register(&self, job: JobId, queue: Queue, cancel: bool) -> Waiting {
        let (sender, reply) = oneshot::channel();
        self.waiting.lock().insert(job.clone(), sender);
        Waiting { job, pending: self.clone(), queue, reply, cancel }
    }

    /// Hands a reply to whoever waits for it; `false` when nobody does any more.
    pub fn complete(&self, job: &JobId, reply: Reply) -> bool {
        let sender = self.waiting.lock().remove(job);
        sender.is_some_and(|s| s.send(reply).is_ok())
    }
}

impl Waiting {
    /// The reply; `None` when another request took over the wait for the same job.
    pub async fn reply(&mut self) -> Option<Reply> {
        let reply = (&mut self.reply).await.ok();
        self.cancel = false;
        reply
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // After a reply or a takeover the entry is not ours any more.
        self.reply.close();
        let mut waiting = self.pending.waiting.lock();
        if waiting.get(&self.job).is_some_and(oneshot::Sender::is_closed) {
            waiting.remove(&self.job);
        }
        drop(waiting);
        if !self.cancel {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (queue, job) = (self.queue.clone(), self.job.clone());
            runtime.spawn(async move {
                if let Err(e) = queue.cancel(&job).await {
                    tracing::debug!(%job, error = %e, "cancel");
                }
            });
        }
    }
}
