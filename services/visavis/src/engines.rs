//! Opens the queue and the store: inside this process, or on a server that processes share. A server that is away is
//! waited for, so that everything may be started in any order; one that will not do is refused by name.

use std::sync::Arc;
use std::time::Duration;

use crops::{Crops, CropsError};
use link::{Link, LinkError, LinkOptions, ServerReport};
use objects::Objects;
use queue::{Queue, RedisEngine, RedisOptions};
use registry::{Registry, Rules};
use runtime::config::{Erase, QueueEngine, RedisSection, StoreEngine};
use runtime::{Condition, Config, Secret, Shutdown};
use store::{EraseMode, RedbOptions, RedbStore, RedisStore, RedisStoreOptions, Store};

use seal::Keyring;

use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::objects_place;
use crate::sealing::{self, Keys};
use crate::wiring;

/// Pause between attempts to reach a server.
const RETRY: Duration = Duration::from_secs(1);

/// Queue and store, open.
pub struct Engines {
    /// Lanes and replies.
    pub queue: Queue,
    /// Records.
    pub store: Arc<dyn Store>,
    /// What an acknowledged write survives, for people.
    pub durability: String,
    /// Where crops are kept; none on a shared store without a place for them.
    pub crops: Option<Crops>,
    /// The place that these lie in, for others.
    pub objects: Option<Objects>,
    /// Registered models, whose files lie in the same place.
    pub models: Option<Registry>,
    /// Keys that seal what this process keeps beside them; none where nothing is sealed.
    pub keyring: Option<Arc<Keyring>>,
}

/// Opens what the configuration names. Gives nothing when the process is told to stop while it waits for a server.
///
/// # Errors
/// A store that cannot be opened, an address that cannot be read, a server that will not do.
pub async fn open(
    config: &Config,
    data: &DataDir,
    shutdown: &Shutdown,
    waiting: &Condition,
) -> Result<Option<Engines>, Failure> {
    let keys = sealing::keys(config, data.is_fresh()).await?;
    let Some(queue) = queue(config, &keys, shutdown, waiting).await? else { return Ok(None) };
    let Some((store, durability)) = store(config, data, shutdown, waiting).await? else { return Ok(None) };
    let store = keys.over_store(store).await?;
    store::bring_up(&store).await?;
    let objects = objects_place::objects(config, data)?;
    let Some(crops) = crops(objects.clone(), &store, (shutdown, waiting)).await? else { return Ok(None) };
    let rules = Rules { accept_licence: config.models.accept_licence };
    let models = objects.clone().map(|objects| Registry::new(store.clone(), objects, rules));
    Ok(Some(Engines { queue, store, durability, crops, objects, models, keyring: keys.ring()? }))
}

/// The queue on the configured server, for tools.
///
/// # Errors
/// No server named, or an address that cannot be read.
pub fn shared_queue(config: &Config, keys: &Keys) -> Result<(Queue, RedisEngine), Failure> {
    let url = config.redis.queue_url.as_ref().or(config.redis.url.as_ref());
    let missing = || Failure::Usage("name the server of the queue: --redis URL, or redis.url".into());
    let options = RedisOptions { lane_bytes: config.queue.lane_bytes, ..RedisOptions::default() };
    let engine = RedisEngine::new(connect(&config.redis, url.ok_or_else(missing)?)?, options);
    let sealed = keys.over_queue(Arc::new(engine.clone()))?;
    Ok((Queue::new(sealed).lane_capacity(config.queue.lane_jobs), engine))
}

/// The store on the configured server, for tools that read and change job records only.
///
/// # Errors
/// No server named, an address that cannot be read, a server that is away, keys that are not the store's.
pub async fn shared_store(config: &Config, keys: &Keys) -> Result<Arc<dyn Store>, Failure> {
    let options = RedisStoreOptions { erase: EraseMode::Logical, allow_weak_durability: true, ..store_options(config) };
    let store = keys.over_store(Arc::new(RedisStore::open(store_link(config)?, options).await?)).await?;
    store::check(&*store).await?;
    Ok(store)
}

/// The configured store as it lies there, for the tools that look after its keys. An embedded one must not be in use.
///
/// # Errors
/// A store that is not there, in use or away.
pub async fn store_for_tools(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    if config.store.engine == StoreEngine::Redis {
        return Ok(Arc::new(RedisStore::open(store_link(config)?, store_options(config)).await?));
    }
    let path = config.store.data_dir.join("store.redb");
    if !path.exists() {
        return Err(Failure::Usage(format!("there is no store at {}: --data-dir DIR or --redis URL", path.display())));
    }
    let options = RedbOptions { cache_bytes: config.store.cache_bytes, ..RedbOptions::default() };
    Ok(Arc::new(RedbStore::open_with(&path, options)?))
}

async fn queue(
    config: &Config,
    keys: &Keys,
    shutdown: &Shutdown,
    waiting: &Condition,
) -> Result<Option<Queue>, Failure> {
    if config.queue.engine == QueueEngine::Memory {
        return Ok(Some(Queue::memory(wiring::queue(config))));
    }
    let (queue, engine) = shared_queue(config, keys)?;
    let look = async || match engine.check_server().await {
        Ok(report) => Look::Answered(report),
        Err(error) if error.is_final() => Look::Refused(error.to_string()),
        Err(error) => Look::Away(error.to_string()),
    };
    Ok(reached("queue", look, shutdown, waiting).await?.map(|()| queue))
}

async fn store(
    config: &Config,
    data: &DataDir,
    shutdown: &Shutdown,
    waiting: &Condition,
) -> Result<Option<(Arc<dyn Store>, String)>, Failure> {
    if config.store.engine == StoreEngine::Redb {
        let options = RedbOptions { cache_bytes: config.store.cache_bytes, ..RedbOptions::default() };
        let store = RedbStore::open_with(&data.store(), options)?;
        return Ok(Some((Arc::new(store), "redb, on disk before the acknowledgement".into())));
    }
    let link = store_link(config)?;
    // Reached first by hand: a server that is away is waited for, one that will not do is not.
    let look = async || match link.check_server().await {
        Ok(report) => Look::Answered(report),
        Err(LinkError::Refused(why)) => Look::Refused(why),
        Err(error) => Look::Away(error.to_string()),
    };
    if reached("store", look, shutdown, waiting).await?.is_none() {
        return Ok(None);
    }
    let store = RedisStore::open(link.clone(), store_options(config)).await?;
    let durability = store.durability_detail();
    Ok(Some((Arc::new(store), durability)))
}

fn store_link(config: &Config) -> Result<Link, Failure> {
    let missing = || Failure::Usage("name the server of the store: --redis URL, or redis.url".into());
    connect(&config.redis, config.redis.url.as_ref().ok_or_else(missing)?)
}

fn store_options(config: &Config) -> RedisStoreOptions {
    RedisStoreOptions {
        erase: match config.redis.erase {
            Erase::Rewrite => EraseMode::Rewrite,
            Erase::Logical => EraseMode::Logical,
        },
        allow_weak_durability: config.redis.allow_weak_durability,
        wait_timeout: response_timeout(&config.redis) * 4 / 5,
        ..RedisStoreOptions::default()
    }
}

/// The place of crops, if there is one. Like every other server, one that is away is waited for.
async fn crops(
    objects: Option<Objects>,
    store: &Arc<dyn Store>,
    (shutdown, waiting): (&Shutdown, &Condition),
) -> Result<Option<Option<Crops>>, Failure> {
    let Some(objects) = objects else { return Ok(Some(None)) };
    loop {
        match Crops::open(store.clone(), objects.clone()).await {
            Ok(crops) => return Ok(Some(Some(crops))),
            Err(CropsError::Elsewhere(why)) => {
                return Err(Failure::Unavailable(CropsError::Elsewhere(why).to_string()));
            }
            Err(error) => {
                tracing::warn!(%error, "waiting for the place of the crops");
                waiting.unmet(format!("waiting for the place of the crops: {error}"));
            }
        }
        if pause(shutdown).await.is_none() {
            return Ok(None);
        }
    }
}

/// What a server said when it was looked at.
enum Look {
    /// What it is.
    Answered(ServerReport),
    /// It will have nothing to do with this process.
    Refused(String),
    /// Nothing.
    Away(String),
}

/// Waits until a server answers, and sees whether it will do. Nothing when the process is told to stop meanwhile.
async fn reached(
    what: &str,
    look: impl AsyncFn() -> Look,
    shutdown: &Shutdown,
    waiting: &Condition,
) -> Result<Option<()>, Failure> {
    loop {
        match look().await {
            Look::Answered(report) => {
                for warning in &report.warnings {
                    tracing::warn!(server = report.product, "the {what}'s server: {warning}");
                }
                if !report.errors.is_empty() {
                    let errors = report.errors.join("; ");
                    return Err(Failure::Unavailable(format!("the {what}'s server will not do: {errors}")));
                }
                tracing::info!(server = report.product, "the {what} is in reach");
                return Ok(Some(()));
            }
            Look::Refused(why) => {
                return Err(Failure::Unavailable(format!("the {what}'s server refuses this process: {why}")));
            }
            Look::Away(why) => {
                tracing::warn!(why, "waiting for the {what}'s server");
                waiting.unmet(format!("waiting for the {what}'s server: {why}"));
            }
        }
        if pause(shutdown).await.is_none() {
            return Ok(None);
        }
    }
}

fn connect(section: &RedisSection, url: &Secret<String>) -> Result<Link, Failure> {
    let options = LinkOptions {
        prefix: section.prefix.clone(),
        tls_ca: section.tls_ca_file.clone(),
        tls_identity: section.tls_cert_file.clone().zip(section.tls_key_file.clone()),
        connect_timeout: Duration::from_millis(section.connect_timeout_ms),
        response_timeout: response_timeout(section),
        connections: section.connections,
        ..LinkOptions::new(url.expose().as_str())
    };
    Link::new(options).map_err(|e| Failure::Usage(e.to_string()))
}

const fn response_timeout(section: &RedisSection) -> Duration {
    Duration::from_millis(section.response_timeout_ms)
}

/// Waits a moment; nothing when the process is told to stop meanwhile.
async fn pause(shutdown: &Shutdown) -> Option<()> {
    tokio::select! {
        () = shutdown.begun() => None,
        () = tokio::time::sleep(RETRY) => Some(()),
    }
}
