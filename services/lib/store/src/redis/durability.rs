//! What the server does to keep an acknowledged commit: looked at when the store is opened and whenever its health is
//! asked for, because settings can be changed while a server runs.

use std::collections::HashMap;

use link::redis::{self, Value};

use super::{
    client::Client,
    format::{array, string, unexpected},
    options::{Appendfsync, RedisStoreOptions},
};
use crate::{Durability, StoreError};

/// What one server says of itself.
#[derive(Clone, Debug, Default)]
pub struct Info(HashMap<String, String>);

impl Info {
    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(|l| l.split_once(':')).map(|(k, v)| (k.into(), v.trim().into())).collect())
    }

    /// A field, empty if the server does not have it.
    pub fn text(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    /// A field that is a number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.text(field).parse().ok()
    }

    /// A field that says whether.
    pub fn is(&self, field: &str) -> bool {
        self.text(field) == "1"
    }

    fn is_valkey(&self) -> bool {
        !self.text("valkey_version").is_empty()
    }

    fn version(&self) -> &str {
        self.text(if self.is_valkey() { "valkey_version" } else { "redis_version" })
    }

    /// Major and minor version of the Redis whose commands the server has.
    fn level(&self) -> (u64, u64) {
        let mut parts = self.text("redis_version").split('.').map(|p| p.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

/// What each of the servers that hold records says of itself: one, or the primaries of a cluster.
pub async fn info(client: &Client) -> Result<Vec<Info>, StoreError> {
    let mut info = redis::cmd("INFO");
    info.arg("server").arg("persistence").arg("replication");
    let texts = match client.read(&info).await? {
        Value::Map(nodes) => nodes.into_iter().map(|(_, text)| words(text)).collect::<Result<Vec<_>, _>>()?,
        one => vec![words(one)?],
    };
    Ok(texts.iter().map(|t| Info::parse(t)).collect())
}

fn words(answer: Value) -> Result<String, StoreError> {
    match answer {
        Value::VerbatimString { text, .. } => Ok(text),
        other => string(other),
    }
}

/// How acknowledged commits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// The server has them on disk before it answers.
    Always,
    /// The server answers earlier; `WAITAOF` tells when they are on disk.
    ByWaiting,
    /// On disk within a second.
    EverySecond,
    /// In memory, and on disk some time later or never.
    Volatile,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Standing {
    kept: Kept,
    /// The same in the trait's words.
    pub durability: Durability,
    /// The same for people.
    pub detail: String,
    /// Servers that hold records.
    pub nodes: usize,
    /// Whether they are a cluster.
    pub cluster: bool,
    /// Their replicas.
    pub replicas: u64,
    failing: Option<String>,
}

impl Standing {
    /// Whether commits are waited for with `WAITAOF`.
    pub fn by_waiting(&self) -> bool {
        self.kept == Kept::ByWaiting
    }

    /// Whether this is durable enough.
    pub fn accept(&self, options: &RedisStoreOptions) -> Result<(), StoreError> {
        if self.durability == Durability::Fsync || options.allow_weak_durability {
            return Ok(());
        }
        Err(StoreError::Unavailable(format!(
            "{} may lose acknowledged records when it crashes: set `appendonly yes` and `appendfsync always` there \
             (`everysec` is enough on a single server that has WAITAOF: Redis 7.2, Valkey), or allow weak durability",
            self.detail
        )))
    }

    /// Logs what was found.
    pub fn tell(&self) {
        match self.durability {
            Durability::Fsync => tracing::info!(server = %self.detail, "the store keeps what it acknowledges"),
            _ => tracing::warn!(server = %self.detail, "acknowledged records may be lost when the server crashes"),
        }
    }

    /// Whether the server's disk takes what it writes.
    pub fn writes(&self) -> Result<(), StoreError> {
        self.failing.clone().map_or(Ok(()), |why| Err(StoreError::Unavailable(why)))
    }
}

/// Asks the server.
pub async fn look(client: &Client, options: &RedisStoreOptions) -> Result<Standing, StoreError> {
    let nodes = info(client).await?;
    let first = nodes.first().ok_or_else(unexpected)?;
    let old = nodes.iter().find(|n| n.level() < (7, 0));
    if let Some(old) = old {
        let version = old.version();
        return Err(StoreError::Unavailable(format!("the server is version {version}; Redis 7.0 or Valkey is needed")));
    }
    if nodes.iter().any(|n| n.text("role") == "slave") {
        return Err(StoreError::Unavailable("the server is a replica and takes no writes".into()));
    }
    let settings = settings(client).await;
    let said = settings.as_ref().and_then(|s| match s.get("appendfsync")?.as_str() {
        "always" => Some(Appendfsync::Always),
        "everysec" => Some(Appendfsync::EverySecond),
        _ => Some(Appendfsync::No),
    });
    // Left out by a server that does not fsync while it rewrites its file.
    let pauses = settings.as_ref().is_some_and(|s| s.get("no-appendfsync-on-rewrite").is_some_and(|v| v == "yes"));
    let policy = said.or(options.assured_appendfsync);
    let cluster = [first.text("server_mode"), first.text("redis_mode")].contains(&"cluster");
    let waits = !cluster && nodes.iter().all(|n| n.level() >= (7, 2));
    let kept = match policy {
        _ if !nodes.iter().all(|n| n.is("aof_enabled")) => Kept::Volatile,
        Some(Appendfsync::Always) if !pauses => Kept::Always,
        Some(Appendfsync::Always | Appendfsync::EverySecond) if waits && !pauses => Kept::ByWaiting,
        Some(Appendfsync::Always | Appendfsync::EverySecond) => Kept::EverySecond,
        Some(Appendfsync::No) | None => Kept::Volatile,
    };
    let durability = match kept {
        Kept::Always | Kept::ByWaiting => Durability::Fsync,
        Kept::EverySecond => Durability::EverySecond,
        Kept::Volatile => Durability::Volatile,
    };
    let replicas = nodes.iter().filter_map(|n| n.number("connected_slaves")).sum();
    let failing = nodes.iter().find(|n| n.text("aof_last_write_status") == "err");
    let failing = failing.map(|_| "the server cannot write its append-only file".to_owned());
    let mut detail = format!("{} {}", if first.is_valkey() { "valkey" } else { "redis" }, first.version());
    if cluster {
        detail += &format!(", cluster of {}", nodes.len());
    }
    detail += match (kept, policy) {
        (Kept::Volatile, None) if first.is("aof_enabled") => ", appendfsync unknown",
        (Kept::Volatile, _) if !first.is("aof_enabled") => ", appendonly no",
        (_, Some(Appendfsync::Always)) => ", appendfsync always",
        (Kept::ByWaiting, _) => ", appendfsync everysec and WAITAOF",
        (_, Some(Appendfsync::EverySecond)) => ", appendfsync everysec",
        (_, Some(Appendfsync::No) | None) => ", appendfsync no",
    };
    if said.is_none() && policy.is_some() {
        detail += " (as assured)";
    }
    if pauses {
        detail += ", no-appendfsync-on-rewrite";
    }
    Ok(Standing { kept, durability, detail, nodes: nodes.len(), cluster, replicas, failing })
}

/// Whether the server writes dumps now and then, where it lets that be read.
pub async fn saves_dumps(client: &Client) -> Option<bool> {
    Some(!settings(client).await?.get("save")?.is_empty())
}

/// The server's settings, where it lets them be read.
async fn settings(client: &Client) -> Option<HashMap<String, String>> {
    let mut get = redis::cmd("CONFIG");
    get.arg("GET").arg("append*").arg("no-appendfsync-on-rewrite").arg("save");
    let mut words: Vec<String> = Vec::new();
    match client.read(&get).await.ok()? {
        Value::Map(pairs) => {
            pairs.into_iter().for_each(|(k, v)| words.extend([string(k), string(v)].into_iter().flatten()))
        }
        other => words.extend(array(other).ok()?.into_iter().flat_map(string)),
    }
    Some(words.chunks_exact(2).map(|kv| (kv[0].clone(), kv[1].clone())).collect())
}
