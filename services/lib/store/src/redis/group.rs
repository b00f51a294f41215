//! Commits to a server that writes its file every second: sent together with `WAITAOF`, which answers when what this
//! connection wrote is on the disk. That takes up to a second, so the commits that come meanwhile wait and go together,
//! a few groups at a time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use link::redis::{self, Pipeline, RedisResult, Value};
use tokio::sync::{Semaphore, oneshot};

use super::{
    client::{Client, unavailable},
    format::{array, unexpected},
    scripts::{self, Call},
};
use crate::StoreError;

/// Groups on their way at once.
const GROUPS: usize = 8;
/// Most commits, and about how many bytes, in a group.
const COMMITS: usize = 256;
const BYTES: usize = 16 << 20;

type Reply = oneshot::Sender<Result<Value, StoreError>>;

/// Commits that wait, at most one of each caller, and those on their way.
#[derive(Clone)]
pub struct Groups {
    client: Client,
    wait: Duration,
    waiting: Arc<Mutex<VecDeque<(Call, Reply)>>>,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("wait", &self.wait).finish_non_exhaustive()
    }
}

impl Groups {
    /// Nothing waiting.
    pub fn new(client: Client, wait: Duration) -> Self {
        Self { client, wait, waiting: Arc::default(), places: Arc::new(Semaphore::new(GROUPS)) }
    }

    /// Sends a commit with the next group; the script's answer, once what it wrote is on the disk.
    pub async fn submit(&self, call: Call) -> Result<Value, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.waiting().push_back((call, reply));
        // On its own: the group goes on when the caller who happened to start it goes away.
        tokio::spawn(self.clone().dispatch());
        answer.await.map_err(|_| StoreError::Unavailable("the commit was given up; its outcome is not known".into()))?
    }

    /// Takes whatever waits once there is room for a group.
    async fn dispatch(self) {
        let Ok(_place) = self.places.acquire().await else { return };
        let (calls, replies) = self.take();
        if calls.is_empty() {
            return;
        }
        match self.send(&calls).await {
            Ok(answers) => replies.into_iter().zip(answers).for_each(|(reply, answer)| drop(reply.send(answer))),
            Err(e) => {
                let reason = format!("{e}; whether the commit was written is not known");
                replies.into_iter().for_each(|r| drop(r.send(Err(StoreError::Unavailable(reason.clone())))));
            }
        }
    }

    fn take(&self) -> (Vec<Call>, Vec<Reply>) {
        let mut waiting = self.waiting();
        let mut bytes = 0;
        let fit = waiting.iter().take(COMMITS).take_while(|(call, _)| {
            let first = bytes == 0;
            bytes += call.size();
            first || bytes <= BYTES
        });
        let n = fit.count();
        waiting.drain(..n).unzip()
    }

    /// One answer for each call, or an error when what they wrote may not be on the disk.
    async fn send(&self, calls: &[Call]) -> Result<Vec<Result<Value, StoreError>>, StoreError> {
        let mut together = Pipeline::with_capacity(calls.len() + 2);
        together.add_command(scripts::COMMIT.load());
        for call in calls {
            together.add_command(call.by_digest());
        }
        let mut wait = redis::cmd("WAITAOF");
        wait.arg(1).arg(0).arg(self.wait.as_millis().to_string());
        together.add_command(wait).ignore_errors();
        let mut connection = self.client.connection().await?;
        let mut answers: Vec<RedisResult<Value>> = together.query_async(&mut connection).await.map_err(unavailable)?;
        let synced = array(answers.pop().ok_or_else(unexpected)?.map_err(unavailable)?)?;
        if !matches!(synced.first(), Some(Value::Int(1..))) {
            return Err(StoreError::Unavailable("the commit did not reach the disk in time".into()));
        }
        Ok(answers.into_iter().skip(1).map(|a| a.map_err(unavailable)).collect())
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<(Call, Reply)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
