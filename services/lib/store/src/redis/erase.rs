//! Erasing from the server's files. The append-only file holds every value ever put until the server rewrites it, so an
//! erasure is acknowledged after a rewrite that began later than its commit. All erasures that wait share the next one.
//! See the decision record on erasure on Redis.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use link::redis::{self, Pipeline, RedisResult, Value};
use tokio::{sync::watch, time::Instant};

use super::{
    RedisStore,
    client::{Client, unavailable},
    durability::{Info, Standing, info, saves_dumps},
    scripts::{self, Call},
};
use crate::{Space, StoreError};

/// First and longest pause between two looks at a rewrite.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));
/// How often a rewrite that failed is tried again.
const ATTEMPTS: usize = 3;

/// Outcome of a round, once there is one.
type Outcome = Option<Result<(), String>>;

/// Rewrites of the server's files, one round at a time.
#[derive(Debug)]
pub struct Rewrites {
    client: Client,
    timeout: Duration,
    /// The round that has not begun yet, if anybody waits for it.
    next: Mutex<Option<watch::Receiver<Outcome>>>,
    turn: tokio::sync::Mutex<()>,
}

impl Rewrites {
    /// None under way.
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout, next: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Returns when the files have been rewritten since this call.
    pub async fn next(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut round = self.join();
        let ended = tokio::time::timeout(self.timeout, round.wait_for(Option::is_some)).await;
        let outcome = match ended {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Ok(())),
            Ok(Err(_)) => Err("the rewrite was given up".into()),
            Err(_) => Err(format!("the rewrite took longer than {:?}", self.timeout)),
        };
        outcome.map_err(|why| {
            StoreError::Unavailable(format!("removed, but not yet erased from the server's files: {why}"))
        })
    }

    /// The round that begins next; it begins when the one under way has ended.
    fn join(self: &Arc<Self>) -> watch::Receiver<Outcome> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(round) = &*next {
            return round.clone();
        }
        let (done, round) = watch::channel(None);
        *next = Some(round.clone());
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let _turn = this.turn.lock().await;
            this.next.lock().unwrap_or_else(PoisonError::into_inner).take();
            let outcome = this.rewrite().await.map_err(|e| e.to_string());
            if let Err(error) = &outcome {
                tracing::warn!(%error, "erased values are still in the server's files");
            }
            done.send_replace(Some(outcome));
        });
        round
    }

    async fn rewrite(&self) -> Result<(), StoreError> {
        let until = Instant::now() + self.timeout;
        let began = one(info(&self.client).await?)?;
        if began.is("aof_enabled") {
            self.child(&APPEND_ONLY, &began, until).await?;
        }
        // A dump that the server writes now and then, or was once told to write.
        if saves_dumps(&self.client).await.unwrap_or(true) || began.number("rdb_saves").unwrap_or(1) > 0 {
            self.child(&DUMP, &one(info(&self.client).await?)?, until).await?;
        }
        Ok(())
    }

    /// Has the server write a file anew and waits until one begun after `began` is done.
    async fn child(&self, file: &File, began: &Info, until: Instant) -> Result<(), StoreError> {
        let mut since = began.number(file.started).ok_or_else(|| refused("the server does not count its rewrites"))?;
        let (mut pause, mut failures) = (PAUSES.0, 0);
        while Instant::now() < until {
            let now = one(info(&self.client).await?)?;
            if now.text("run_id") != began.text("run_id") {
                return Err(refused("the server was restarted or replaced meanwhile"));
            }
            let (busy, started) = (now.is(file.busy), now.number(file.started).unwrap_or(0));
            if started > since && !busy {
                if now.text(file.status) == "ok" {
                    return Ok(());
                }
                failures += 1;
                if failures == ATTEMPTS {
                    return Err(refused("the server cannot rewrite its files"));
                }
                since = started;
            }
            if started == since && !busy && !(file.waits)(&now) {
                // Refused when another process was faster, whose rewrite serves as well.
                let asked = self.client.write(&(file.order)()).await;
                tracing::debug!(?asked, "rewrite asked for");
            }
            tokio::time::sleep(pause).await;
            pause = PAUSES.1.min(pause * 2);
        }
        Err(refused("it took too long"))
    }
}

/// A file that the server writes anew, and what it says of that.
struct File {
    started: &'static str,
    busy: &'static str,
    status: &'static str,
    waits: fn(&Info) -> bool,
    order: fn() -> redis::Cmd,
}

const APPEND_ONLY: File = File {
    started: "aof_rewrites",
    busy: "aof_rewrite_in_progress",
    status: "aof_last_bgrewrite_status",
    waits: |now| now.is("aof_rewrite_scheduled"),
    order: || redis::cmd("BGREWRITEAOF"),
};

const DUMP: File = File {
    started: "rdb_saves",
    busy: "rdb_bgsave_in_progress",
    status: "rdb_last_bgsave_status",
    waits: |_| false,
    order: || {
        let mut order = redis::cmd("BGSAVE");
        order.arg("SCHEDULE");
        order
    },
};

fn one(mut nodes: Vec<Info>) -> Result<Info, StoreError> {
    match nodes.pop() {
        Some(node) if nodes.is_empty() => Ok(node),
        _ => Err(refused("a cluster of several servers cannot be told to rewrite")),
    }
}

fn refused(why: &str) -> StoreError {
    StoreError::Unavailable(why.into())
}

/// Whether this user may have the server rewrite its files. Asked within a transaction that is then dropped.
pub async fn permitted(client: &Client, standing: &Standing) -> Result<(), StoreError> {
    let advice = "; grant it, or set the store's erase mode to `logical`, which leaves erased values in the server's \
                  files until it rewrites them by itself";
    if standing.nodes > 1 {
        return Err(refused(&format!(
            "erasing from the files of a cluster of several servers is not possible{advice}"
        )));
    }
    if standing.replicas > 0 {
        tracing::warn!("replicas keep erased values in their own files until they rewrite these");
    }
    if standing.cluster {
        return Ok(());
    }
    let mut ask = Pipeline::new();
    ask.cmd("MULTI").add_command((APPEND_ONLY.order)()).add_command((DUMP.order)()).cmd("DISCARD").ignore_errors();
    let mut connection = client.connection().await?;
    let answers: Vec<RedisResult<Value>> = ask.query_async(&mut connection).await.map_err(unavailable)?;
    for (answer, name) in answers.into_iter().skip(1).zip(["BGREWRITEAOF", "BGSAVE"]) {
        if let Err(e) = answer {
            return Err(refused(&format!("erasing needs {name}, which the server refuses ({e}){advice}")));
        }
    }
    Ok(())
}

impl RedisStore {
    /// Forgets that erasures up to this revision were to be finished. If that fails, the next sweep rewrites once more.
    pub(super) async fn finished(&self, space: &Space, revision: u64) {
        let mut call = Call::new(&scripts::FINISH, [self.keys_of(space).erasures]);
        call.text(revision);
        if let Err(error) = self.client.read_script(&call).await {
            tracing::debug!(%error, "a finished erasure is still marked");
        }
    }
}
