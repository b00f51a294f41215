//! `visavis up`, `gateway`, `worker` and `trainer`: the roles of a process. Starts what answers first (probes, HTTPS), then what
//! takes long (downloads, models), and stops in the order that loses nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use gallery::{Galleries, GalleryOptions};
use gateway::{Gateway, GatewayConfig, GatewayDeps, GatewayError, ensure_admin_key};
use prometheus::Registry;
use runtime::admin::AdminServer;
use runtime::config::{ModelsSection, Precision, QueueEngine, StoreEngine};
use runtime::{Config, Loaded, Readiness, Shutdown};
use tokio::sync::oneshot;
use trace::Tracer;
use trainer::TrainerError;
use worker::{Worker, WorkerConfig, WorkerDeps, WorkerError};

use crate::artefacts::{self, Shelf};
use crate::banner::{self, Banner};
use crate::data_dir::DataDir;
use crate::engines::{self, Engines};
use crate::failure::Failure;
use crate::maintenance::Reach;
use crate::progress::Bars;
use crate::roles::{Role, Roles, ended_early};
use crate::system::Process;
use crate::{data_dir, descriptors, maintenance, output, sample, traces, trainer_role, wiring};

/// What the roles share.
struct Core {
    roles: Roles,
    config: Config,
    data: Arc<DataDir>,
    registry: Registry,
    readiness: Readiness,
    shutdown: Shutdown,
    engines: Engines,
    galleries: Arc<Galleries>,
    process: Arc<Process>,
    tracer: Tracer,
}

/// Runs until a signal, or until a role ends by itself.
///
/// # Errors
/// Whatever keeps a role from starting or going on.
pub async fn run(loaded: Loaded, roles: Roles) -> Result<(), Failure> {
    runtime::telemetry::init(&loaded.config.telemetry)?;
    descriptors::raise_limit();
    let config = loaded.config;
    joined(&config, roles)?;
    let data = Arc::new(DataDir::take(&config.store.data_dir)?);
    let shutdown = Shutdown::on_signals(config.shutdown.grace())
        .map_err(|e| Failure::Other(format!("signals cannot be handled: {e}")))?;
    let (readiness, registry) = (Readiness::new(), Registry::new());
    let reach = Reach { queue: readiness.condition("queue"), store: readiness.condition("store") };
    let admin = AdminServer::bind(config.admin.listen, registry.clone(), readiness.clone()).await?;
    let admin_address = admin.local_addr();
    let mut admin = Role::spawn(|stop| admin.serve(stop));
    let (tracer, mut traces) = traces::start(&config, roles, &registry)?;

    let outcome = match engines::open(&config, &data, &shutdown, &reach.store).await {
        Ok(Some(engines)) => {
            let core = Core::new(roles, (config, data), (registry, readiness.clone(), shutdown), (engines, tracer));
            let (queue, store) = (core.engines.queue.clone(), core.engines.store.clone());
            reach.queue.met();
            reach.store.met();
            let mut watch = Role::spawn(|stop| maintenance::watch(queue, store, reach, stop));
            let outcome = core.run(admin_address).await;
            watch.finish("watch").await;
            outcome
        }
        // A signal while waiting for a server: there is nothing to drain.
        Ok(None) => Ok(()),
        Err(failure) => Err(failure),
    };
    readiness.drain();
    if let Some(traces) = &mut traces {
        traces.finish("traces").await;
    }
    admin.finish("admin server").await;
    tracing::info!("stopped");
    outcome
}

/// A process that does not have every role must reach the others.
fn joined(config: &Config, roles: Roles) -> Result<(), Failure> {
    let alone = config.queue.engine == QueueEngine::Memory || config.store.engine == StoreEngine::Redb;
    if roles == Roles::Up || !alone {
        return Ok(());
    }
    let role = roles.names()[0];
    let detail = format!("a {role} of its own shares queue and store with the others: name their server, --redis URL");
    Err(Failure::Usage(detail))
}

impl Core {
    fn new(
        roles: Roles,
        (config, data): (Config, Arc<DataDir>),
        (registry, readiness, shutdown): (Registry, Readiness, Shutdown),
        (engines, tracer): (Engines, Tracer),
    ) -> Self {
        let max_bytes = Some(config.gallery.max_bytes).filter(|b| *b > 0);
        let keyring = engines.keyring.clone();
        let options = GalleryOptions { snapshots: Some(data.snapshots()), keyring, max_bytes, threads: 0 };
        let galleries = Arc::new(Galleries::new(engines.store.clone(), options));
        let queue_engine = match config.queue.engine {
            QueueEngine::Memory => "memory",
            QueueEngine::Redis => "redis",
        };
        let process = Process::new(roles, readiness.clone(), engines.durability.clone(), queue_engine);
        Self {
            roles,
            config,
            data,
            registry,
            readiness,
            shutdown,
            engines,
            galleries,
            process: Arc::new(process),
            tracer,
        }
    }

    /// Starts the roles, serves, and drains them again: the gateway first, so that the worker has nothing new to do.
    async fn run(&self, admin: SocketAddr) -> Result<(), Failure> {
        let (mut gateway, mut banner) = (None, None);
        if self.roles.gateway() {
            let key_file = self.key_file()?;
            ensure_admin_key(self.engines.store.clone(), Some(&key_file)).await?;
            let bound = self.bind_gateway().await?;
            banner = Some(self.banner(bound.address(), admin, key_file));
            gateway = Some(Role::spawn(|stop| bound.serve(stop)));
        }
        let mut worker = None;
        let outcome = tokio::select! {
            served = self.serve(&mut worker, banner, admin) => served,
            failure = ended_early::<GatewayError>(&mut gateway, "gateway") => Err(failure),
        };
        self.readiness.drain();
        if let Some(gateway) = &mut gateway {
            gateway.finish("gateway").await;
        }
        if let Some(worker) = &mut worker {
            worker.finish("worker").await;
        }
        outcome
    }

    /// Loads what the worker needs, says where everything is, and waits for a signal or a role's end.
    async fn serve(
        &self,
        running: &mut Option<Role<WorkerError>>,
        banner: Option<Banner>,
        admin: SocketAddr,
    ) -> Result<(), Failure> {
        let (mut upkeep, mut sweeps) = (None, None);
        if self.roles.worker() {
            let worker = tokio::select! {
                worker = self.start_worker() => worker?,
                // A signal during a download: there is nothing to drain.
                () = self.shutdown.begun() => return Ok(()),
            };
            let (ready, known) = oneshot::channel();
            *running = Some(Role::spawn(|stop| async move { worker.run(ready, stop).await.map(drop) }));
            let (store, galleries) = (self.engines.store.clone(), self.galleries.clone());
            upkeep = Some(Role::spawn(|stop| maintenance::run(store, galleries, stop)));
            if let Some(crops) = self.engines.crops.clone() {
                let o = &self.config.objects;
                let (every, older) = (o.sweep_every(), o.orphan_after());
                let models = self.engines.models.clone();
                sweeps =
                    Some(Role::spawn(move |stop| maintenance::sweep_objects((crops, models), (every, older), stop)));
            }
            self.process.waiting("joining the others");
            tokio::select! {
                // A worker that ends before it is known ends this process below.
                _ = known => {}
                () = self.shutdown.begun() => return Ok(()),
            }
            self.process.warm();
        }
        let mut trainer = self.start_trainer().await?;
        let text = match banner {
            Some(banner) if self.roles == Roles::Up => self.complete(banner).await.text(),
            Some(banner) => banner.role_text("Gateway"),
            None => banner::alone_text(if self.roles.worker() { "Worker" } else { "Trainer" }, admin),
        };
        output::text(&text);
        let outcome = tokio::select! {
            () = self.shutdown.begun() => Ok(()),
            failure = ended_early(running, "worker") => Err(failure),
            failure = ended_early(&mut trainer, "trainer") => Err(failure),
        };
        if let Some(trainer) = &mut trainer {
            trainer.finish("trainer").await;
        }
        if let Some(upkeep) = &mut upkeep {
            upkeep.finish("maintenance").await;
        }
        if let Some(sweeps) = &mut sweeps {
            sweeps.finish("sweeps of objects").await;
        }
        outcome
    }

    /// The trainer, where this process is to be one. Beside other roles it is left out where there is nowhere to keep what
    /// it makes.
    async fn start_trainer(&self) -> Result<Option<Role<TrainerError>>, Failure> {
        let beside = self.roles == Roles::Up && self.config.trainer.in_up;
        if !beside && self.roles != Roles::Trainer {
            return Ok(None);
        }
        if beside && let Some(why) = trainer_role::unable(&self.config, &self.engines) {
            tracing::info!(why, "this process carries out no training runs");
            return Ok(None);
        }
        tokio::select! {
            started = trainer_role::start(&self.config, &self.engines, &self.registry) => started.map(Some),
            // A signal during a download: there is nothing to drain.
            () = self.shutdown.begun() => Ok(None),
        }
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
            store: self.engines.store.clone(),
            queue: self.engines.queue.clone(),
            crops: self.engines.crops.clone(),
            models: self.engines.models.clone(),
            registry: self.registry.clone(),
            system: self.process.clone(),
        };
        let config = wiring::gateway(&self.config, &self.data);
        Ok(Gateway::bind(GatewayConfig { tracer: self.tracer.clone(), ..config }, deps).await?)
    }

    /// Fetches and loads the models, and warms the worker's sessions.
    async fn start_worker(&self) -> Result<Worker, Failure> {
        self.process.waiting("fetching and verifying the models");
        let (models, provider) = (self.config.models.clone(), self.config.worker.provider);
        let artefacts = blocking(move || artefacts::prepare(&models, provider)).await??;
        self.process.waiting("warming the models");
        let deps = WorkerDeps {
            store: self.engines.store.clone(),
            queue: self.engines.queue.clone(),
            models: artefacts.models,
            runtime: artefacts.runtime,
            galleries: self.galleries.clone(),
            crops: self.engines.crops.clone(),
            model_registry: self.engines.models.clone(),
            registry: self.registry.clone(),
        };
        let config = WorkerConfig { tracer: self.tracer.clone(), ..wiring::worker(&self.config) };
        Ok(Worker::start(config, deps).await?)
    }

    /// The banner with what is known only now: the sample picture and a free name for a collection.
    async fn complete(&self, banner: Banner) -> Banner {
        Banner {
            photo: self.photo().await,
            collection: sample::free_collection(self.engines.store.clone()).await,
            models: models_of(&self.config.models),
            ..banner
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

    fn banner(&self, address: SocketAddr, admin: SocketAddr, key_file: PathBuf) -> Banner {
        let (cert, _) = wiring::certificate(&self.config, &self.data);
        let (models, collection) = Default::default();
        let sealing_key = crate::sealing::kept_beside(&self.config);
        Banner { address, admin, cert, key_file, models, collection, photo: None, sealing_key }
    }
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Failure::Other(format!("the start was interrupted: {e}")))
}

/// Names of the models, for people.
fn models_of(section: &ModelsSection) -> String {
    let precision = match section.precision {
        Precision::Fp32 => "",
        Precision::Int8 => " in 8 bits",
    };
    format!("{}+{}{precision}", section.detector, section.embedder)
}
