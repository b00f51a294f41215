//! `visavis up`: every role in one process, on the memory queue and the embedded store. Starts what answers first
//! (probes, HTTPS), then what takes long (downloads, models), and stops in the order that loses nothing.

use std::path::PathBuf;
use std::sync::Arc;

use gallery::{Galleries, GalleryOptions};
use gateway::{Gateway, GatewayDeps, GatewayError, ensure_admin_key};
use prometheus::Registry;
use queue::Queue;
use runtime::admin::AdminServer;
use runtime::{Config, Loaded, Readiness, Shutdown};
use store::{RedbOptions, RedbStore, Store};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::{Worker, WorkerDeps};

use crate::artefacts::{self, Shelf};
use crate::banner::Banner;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::progress::Bars;
use crate::system::Process;
use crate::{data_dir, maintenance, output, sample, wiring};

/// What the roles share.
struct Core {
    config: Config,
    data: Arc<DataDir>,
    registry: Registry,
    readiness: Readiness,
    shutdown: Shutdown,
    store: Arc<RedbStore>,
    queue: Queue,
    galleries: Arc<Galleries>,
    process: Arc<Process>,
}

/// A role that runs, and the token that stops it.
struct Role<E> {
    stop: CancellationToken,
    task: JoinHandle<Result<(), E>>,
}

/// Runs until a signal, or until a role ends by itself.
///
/// # Errors
/// Whatever keeps a role from starting or going on.
pub async fn run(loaded: Loaded) -> Result<(), Failure> {
    runtime::telemetry::init(&loaded.config.telemetry)?;
    let core = Core::open(loaded.config)?;
    let admin = AdminServer::bind(core.config.admin.listen, core.registry.clone(), core.readiness.clone()).await?;
    let key_file = core.key_file()?;
    let store: Arc<dyn Store> = core.store.clone();
    ensure_admin_key(store, Some(&key_file)).await?;
    let gateway = core.bind_gateway().await?;
    let banner = core.banner(gateway.address(), admin.local_addr(), key_file);
    let mut admin = Role::spawn(|stop| admin.serve(stop));
    let mut gateway = Role::spawn(|stop| gateway.serve(stop));

    let started = tokio::select! {
        started = core.start_worker() => started.map(Some),
        // A signal during a download: there is nothing to drain.
        () = core.shutdown.begun() => Ok(None),
        ended = &mut gateway.task => Err(ended_early("gateway", ended)),
    };
    let outcome = match started {
        Ok(Some(worker)) => core.serve(worker, &mut gateway, banner).await,
        Ok(None) => Ok(()),
        Err(failure) => Err(failure),
    };
    core.readiness.drain();
    gateway.finish("gateway").await;
    core.close().await;
    admin.finish("admin server").await;
    tracing::info!("stopped");
    outcome
}

impl Core {
    /// Takes the data directory and opens the store.
    fn open(config: Config) -> Result<Self, Failure> {
        let data = Arc::new(DataDir::take(&config.store.data_dir)?);
        let shutdown = Shutdown::on_signals(config.shutdown.grace())
            .map_err(|e| Failure::Other(format!("signals cannot be handled: {e}")))?;
        let readiness = Readiness::new();
        let options = RedbOptions { cache_bytes: config.store.cache_bytes, ..RedbOptions::default() };
        let store = Arc::new(RedbStore::open_with(&data.store(), options)?);
        readiness.condition("store").met();
        let queue = Queue::memory(wiring::queue(&config));
        readiness.condition("queue").met();
        let max_bytes = Some(config.gallery.max_bytes).filter(|b| *b > 0);
        let galleries = Galleries::new(store.clone(), GalleryOptions { snapshots: Some(data.snapshots()), max_bytes });
        let process = Process::new(readiness.clone(), wiring::worker(&config).provider);
        Ok(Self {
            data,
            registry: Registry::new(),
            readiness,
            shutdown,
            store,
            queue,
            galleries: Arc::new(galleries),
            process: Arc::new(process),
            config,
        })
    }

    /// The file of the admin key; holds the configured key where there is one.
    fn key_file(&self) -> Result<PathBuf, Failure> {
        let g = &self.config.gateway;
        let file = g.admin_key_file.clone().unwrap_or_else(|| self.data.admin_key());
        let file = std::path::absolute(&file).unwrap_or(file);
        if let Some(key) = &g.admin_key {
            data_dir::keep_secret(&file, key)?;
        }
        Ok(file)
    }

    async fn bind_gateway(&self) -> Result<Gateway, Failure> {
        let deps = GatewayDeps {
            store: self.store.clone(),
            queue: self.queue.clone(),
            registry: self.registry.clone(),
            system: self.process.clone(),
        };
        Ok(Gateway::bind(wiring::gateway(&self.config, &self.data), deps).await?)
    }

    /// Fetches and loads the models, and warms the worker's sessions.
    async fn start_worker(&self) -> Result<Worker, Failure> {
        self.process.waiting("fetching and verifying the models");
        let (models, provider) = (self.config.models.clone(), self.config.worker.provider);
        let artefacts = blocking(move || artefacts::prepare(&models, provider)).await??;
        self.process.waiting("warming the models");
        self.process.loaded(&artefacts.models);
        let deps = WorkerDeps {
            store: self.store.clone(),
            queue: self.queue.clone(),
            models: artefacts.models,
            runtime: artefacts.runtime,
            galleries: self.galleries.clone(),
            registry: self.registry.clone(),
        };
        Ok(Worker::start(wiring::worker(&self.config), deps).await?)
    }

    /// Serves until a signal or a role's end, then drains the gateway first, so that the worker has nothing new to do.
    async fn serve(&self, worker: Worker, gateway: &mut Role<GatewayError>, mut banner: Banner) -> Result<(), Failure> {
        let mut worker = Role::spawn(|stop| async move { worker.run(stop).await.map(drop) });
        let mut upkeep = Role::spawn(|stop| maintenance::run(self.store.clone(), self.galleries.clone(), stop));
        self.process.warm();
        banner.photo = self.photo().await;
        banner.collection = sample::free_collection(self.store.clone()).await;
        banner.models = self.process.model_version();
        output::text(&banner.text());
        let outcome = tokio::select! {
            () = self.shutdown.begun() => Ok(()),
            ended = &mut gateway.task => Err(ended_early("gateway", ended)),
            ended = &mut worker.task => Err(ended_early("worker", ended)),
        };
        self.readiness.drain();
        gateway.finish("gateway").await;
        worker.finish("worker").await;
        upkeep.finish("maintenance").await;
        outcome
    }

    /// Saves what makes the next start quick. The store closes when its last holder lets go.
    async fn close(&self) {
        if let Err(error) = self.galleries.save_all().await {
            tracing::warn!(%error, "gallery snapshots could not be saved; the next start reads the store instead");
        }
    }

    /// The sample picture; looked for elsewhere only when the data directory is new.
    async fn photo(&self) -> Option<PathBuf> {
        let (data, models) = (self.data.clone(), self.config.models.clone());
        let find = move || {
            let shelf = Shelf::open(&models).ok()?;
            sample::photo(&data, &shelf.cache, data.is_fresh() && !models.offline, &Bars::default())
        };
        tokio::select! {
            photo = blocking(find) => photo.ok().flatten(),
            () = self.shutdown.begun() => None,
        }
    }

    fn banner(&self, address: std::net::SocketAddr, admin: std::net::SocketAddr, key_file: PathBuf) -> Banner {
        let (cert, _) = wiring::certificate(&self.config, &self.data);
        Banner { address, admin, cert, key_file, models: String::new(), collection: String::new(), photo: None }
    }
}

impl<E: std::fmt::Display + Send + 'static> Role<E> {
    fn spawn<F>(start: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(start(stop.clone())), stop }
    }

    /// Stops the role and waits for it. Each role bounds its own drain; a second signal ends the process.
    async fn finish(&mut self, name: &str) {
        self.stop.cancel();
        if self.task.is_finished() {
            return;
        }
        match (&mut self.task).await {
            Ok(Ok(())) => tracing::debug!(role = name, "drained"),
            Ok(Err(error)) => tracing::error!(role = name, %error, "ended with an error"),
            Err(error) => tracing::error!(role = name, %error, "ended abnormally"),
        }
    }
}

/// A role that has ended although nobody stopped it.
fn ended_early<E: std::fmt::Display>(role: &str, ended: Result<Result<(), E>, tokio::task::JoinError>) -> Failure {
    Failure::Other(match ended {
        Ok(Ok(())) => format!("the {role} stopped by itself"),
        Ok(Err(error)) => format!("the {role} stopped: {error}"),
        Err(error) => format!("the {role} ended abnormally: {error}"),
    })
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Failure::Other(format!("the start was interrupted: {e}")))
}
