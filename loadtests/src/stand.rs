//! The service under load: a local cluster of real processes, or one that is told by its origin.

use std::{
    fs,
    io::{self, BufRead},
    net::SocketAddr,
    path::PathBuf,
};

use tempfile::TempDir;
use testkit::{Client, Cluster, ClusterOptions, Http, Service, get_plainly, memory_of};
use tokio::task::block_in_place;

use crate::{
    cli::{ClusterArgs, StandArgs},
    failure::Failure,
    output,
    promotion::{self, Newcomer},
    scenario::{Action, Event, Processes},
};

/// A service.
pub enum Stand {
    /// Started here; with a place for objects, if need be.
    Local(Box<Cluster>, #[expect(dead_code, reason = "it goes with the cluster")] Option<TempDir>),
    /// Somewhere.
    Remote { origin: String, ca: PathBuf, key: String, admins: Vec<SocketAddr> },
}

impl Stand {
    /// What the arguments name: a running service, or a cluster with the scenario's processes.
    ///
    /// # Errors
    /// Arguments that cannot be used.
    pub fn open(args: &StandArgs, processes: Processes, promotes: bool) -> Result<Self, Failure> {
        if let (Some(origin), Some(ca), Some(file)) = (&args.url, &args.ca, &args.key_file) {
            let key = fs::read_to_string(file).map_err(|e| Failure::file(file, &e))?.trim().to_owned();
            fs::metadata(ca).map_err(|e| Failure::file(ca, &e))?;
            return Ok(Self::Remote { origin: origin.clone(), ca: ca.clone(), key, admins: args.admins.clone() });
        }
        let processes = Processes {
            gateways: args.gateways.unwrap_or(processes.gateways),
            workers: args.workers.unwrap_or(processes.workers),
        };
        let given = settings(&args.settings)?;
        if !promotes {
            return Ok(Self::local(processes, given));
        }
        let objects = tempfile::tempdir().map_err(|e| Failure::Other(format!("a folder for objects: {e}")))?;
        let all = promotion::settings(&objects.path().display().to_string()).into_iter().chain(given).collect();
        Ok(Self::Local(Box::new(started(processes, all)), Some(objects)))
    }

    /// A fresh cluster with these settings of every process.
    pub fn local(processes: Processes, environment: Vec<(String, String)>) -> Self {
        Self::Local(Box::new(started(processes, environment)), None)
    }

    /// Whether everything that is to happen can be done to this one; said before the load, not in the middle of it.
    ///
    /// # Errors
    /// The first thing that cannot.
    pub fn can(&self, events: &[Event]) -> Result<(), Failure> {
        let why = |e: &Event| match (self, e.action, &e.model) {
            (_, Action::Post, _)
            | (Self::Local(..), _, None)
            | (Self::Remote { .. }, Action::PromoteModel, Some(_)) => None,
            (Self::Local(..), _, Some(_)) => Some("a local cluster is given a model: name none"),
            (Self::Remote { .. }, Action::PromoteModel, None) => {
                Some("at a running service the event has to name a registered model: model = \"ID\"")
            }
            (Self::Remote { .. }, ..) => Some("this can be done to a local cluster alone"),
        };
        let refused = events.iter().find_map(|e| Some((e, why(e)?)));
        refused.map_or(Ok(()), |(e, why)| Err(Failure::Other(format!("{:?}: {why}", e.action))))
    }

    /// The model that the event promotes.
    ///
    /// # Errors
    /// One that cannot be made.
    pub fn newcomer(&self, event: &Event) -> Result<Newcomer, Failure> {
        event.model.clone().map_or_else(|| block_in_place(Newcomer::make), |id| Ok(Newcomer::Registered(id)))
    }

    /// For people.
    pub fn name(&self) -> String {
        match self {
            Self::Local(cluster, _) => format!(
                "a local cluster: {} gateways, {} workers, nginx, Valkey",
                cluster.gateways().count(),
                cluster.workers().count()
            ),
            Self::Remote { origin, .. } => origin.clone(),
        }
    }

    /// Where requests go.
    pub fn origin(&self) -> String {
        match self {
            Self::Local(cluster, _) => format!("https://{}", cluster.address()),
            Self::Remote { origin, .. } => origin.clone(),
        }
    }

    /// The certificate to trust.
    pub fn ca(&self) -> PathBuf {
        match self {
            Self::Local(cluster, _) => cluster.certificate(),
            Self::Remote { ca, .. } => ca.clone(),
        }
    }

    /// An admin key.
    pub fn key(&self) -> &str {
        match self {
            Self::Local(cluster, _) => cluster.admin_key(),
            Self::Remote { key, .. } => key,
        }
    }

    /// A caller over so many connections of HTTP/2.
    pub fn client(&self, connections: usize) -> Client {
        Client::of_origin(connections.max(1), &self.origin(), &self.ca(), (self.key(), Http::Any))
    }

    /// Every process that runs, by name.
    fn services(&self) -> Vec<(String, &Service)> {
        let Self::Local(cluster, _) = self else { return Vec::new() };
        let gateways = cluster.gateways().enumerate().map(|(i, s)| (format!("gateway {i}"), s));
        let workers = cluster.workers().enumerate().map(|(i, s)| (format!("worker {i}"), s));
        gateways.chain(workers).filter(|(_, s)| s.is_up()).collect()
    }

    /// Name and process id of everything that runs here.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let mut all: Vec<_> = self.services().into_iter().map(|(name, s)| (name, s.pid())).collect();
        if let Self::Local(cluster, _) = self {
            all.push(("redis".into(), cluster.redis().pid()));
            all.push(("nginx".into(), cluster.nginx().pid()));
        }
        all
    }

    /// The local cluster.
    ///
    /// # Errors
    /// There is none.
    pub fn cluster(&mut self) -> Result<&mut Cluster, Failure> {
        match self {
            Self::Local(cluster, _) => Ok(cluster),
            Self::Remote { .. } => Err(Failure::Other("this can be done to a local cluster alone".into())),
        }
    }

    /// Resident memory of every process, where it can be told.
    pub fn memory(&self) -> Vec<(String, u64)> {
        match self {
            Self::Local(..) => {
                let bytes = |(name, pid): (String, u32)| Some((name, memory_of(pid)?.resident));
                self.processes().into_iter().filter_map(bytes).collect()
            }
            Self::Remote { admins, .. } => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
                let bytes = |a: &SocketAddr| {
                    Some((a.to_string(), sum(&metrics(*a)?, "process_resident_memory_bytes", "") as u64))
                };
                admins.iter().filter_map(bytes).collect()
            }
        }
    }

    /// Sum of a metric over every process that has it; of the gateways alone where each tells the same of the queue.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        self.pages().iter().map(|page| sum(page, name, labels)).sum()
    }

    /// The largest value of a metric over every process.
    pub fn most(&self, name: &str, labels: &str) -> f64 {
        self.pages().iter().map(|page| sum(page, name, labels)).fold(0.0, f64::max)
    }

    fn pages(&self) -> Vec<String> {
        match self {
            Self::Local(..) => self.services().iter().filter_map(|(_, s)| metrics(s.admin_address())).collect(),
            Self::Remote { admins, .. } => admins.iter().filter_map(|a| metrics(*a)).collect(),
        }
    }

    /// Does to the service what the event says. Gives what came of it, for people.
    ///
    /// # Errors
    /// What cannot be done to this one.
    pub async fn act(&mut self, event: &Event) -> Result<String, Failure> {
        let name = event.action.name();
        if event.action == Action::Post {
            let (path, body) = (event.path.clone().unwrap_or_default(), event.body.clone().unwrap_or("{}".into()));
            let client = self.client(1);
            let request = client.request("POST", &path).header("content-type", "application/json").body(body);
            let answer = client.send(request).await;
            return Ok(format!("{name}: POST {path} was answered with {}", answer.status));
        }
        if event.action == Action::PromoteModel {
            return Ok(name.to_owned());
        }
        let (cluster, i) = (self.cluster()?, event.process);
        block_in_place(|| match event.action {
            Action::KillWorker => cluster.worker_mut(i).kill(),
            Action::StartWorker => cluster.worker_mut(i).restart(),
            Action::KillGateway => cluster.gateway_mut(i).kill(),
            Action::StartGateway => cluster.gateway_mut(i).restart(),
            Action::PauseRedis => cluster.redis().pause(),
            Action::ResumeRedis => cluster.redis().resume(),
            // The one is a request, the other goes on for a while.
            Action::Post | Action::PromoteModel => {}
        });
        Ok(name.to_owned())
    }
}

/// Keeps a local cluster until somebody ends its input.
///
/// # Errors
/// A cluster that cannot be described.
pub async fn hold(args: &ClusterArgs) -> Result<bool, Failure> {
    let stand = Stand::open(&args.stand, Processes { gateways: 2, workers: 1 }, false)?;
    let key_file = std::env::temp_dir().join(format!("visavis-load-{}.key", std::process::id()));
    fs::write(&key_file, stand.key()).map_err(|e| Failure::file(&key_file, &e))?;
    let (origin, ca, file) = (stand.origin(), stand.ca(), key_file.display().to_string());
    output::line(&stand.name());
    output::line(&format!("--url {origin} --ca {} --key-file {file}", ca.display()));
    for (name, service) in stand.services() {
        output::line(&format!("{name}: --admin {}", service.admin_address()));
    }
    output::line("it ends with the input (Ctrl-D)");
    // Blocking, in the thread that has nothing else to do.
    block_in_place(|| io::stdin().lock().lines().map_while(Result::ok).for_each(drop));
    fs::remove_file(&key_file).map_err(|e| Failure::file(&key_file, &e))?;
    Ok(true)
}

fn started(Processes { gateways, workers }: Processes, environment: Vec<(String, String)>) -> Cluster {
    // Everything comes from one address here; and a write is on disk before it is acknowledged, as it is by default.
    let nginx_variables = vec![("VISAVIS_CONNECTIONS_PER_ADDRESS".to_owned(), "65535".to_owned())];
    let options = ClusterOptions { gateways, workers, nginx_variables, environment, ..ClusterOptions::default() };
    block_in_place(|| Cluster::start(options))
}

fn settings(given: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let split = |s: &String| {
        let (name, value) = s.split_once('=').ok_or_else(|| Failure::Other(format!("--set {s}: write NAME=VALUE")))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    given.iter().map(split).collect()
}

/// A process's metrics; none while it does not answer.
fn metrics(address: SocketAddr) -> Option<String> {
    block_in_place(|| get_plainly(address, "/metrics")).ok()
}

/// The sum of a metric over all its labels that hold `labels`.
fn sum(page: &str, name: &str, labels: &str) -> f64 {
    let lines = page.lines().filter(|l| {
        let named = l.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        named && l.contains(labels)
    });
    lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let page = "# HELP a_total x\na_total{lane=\"bulk\"} 2\na_total{lane=\"interactive\"} 3\na_total_more 9\nb 4\n";
        assert_eq!((sum(page, "a_total", ""), sum(page, "a_total", "bulk"), sum(page, "b", "")), (5.0, 2.0, 4.0));
    }

    #[test]
    fn what_cannot_be_done_to_a_running_service_is_said_before_the_load() {
        let (origin, key) = ("https://faces.example".to_owned(), String::new());
        let stand = Stand::Remote { origin, ca: PathBuf::new(), key, admins: Vec::new() };
        let event = |action, model: Option<&str>| {
            let model = model.map(str::to_owned);
            Event { at_seconds: 1.0, action, process: 0, path: None, body: None, model }
        };
        let why = |event| stand.can(&[event]).map_err(|e| e.to_string());
        assert_eq!(why(event(Action::PromoteModel, Some("mine"))), Ok(()));
        assert!(why(event(Action::PromoteModel, None)).unwrap_err().contains("name a registered model"));
        assert!(why(event(Action::KillWorker, None)).unwrap_err().contains("local cluster alone"));
    }

    #[test]
    fn a_setting_has_a_name_and_a_value() {
        assert_eq!(settings(&["A=b=c".into()]).unwrap(), [("A".to_owned(), "b=c".to_owned())]);
        assert!(settings(&["A".into()]).is_err());
    }
}
