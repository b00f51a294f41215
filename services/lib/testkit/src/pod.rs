//! A pod of the chart as a process: started with the command, arguments, variables and files that its manifest says, and
//! watched by its probes. What cannot be the same here is put in its place: folders for mounts, free ports for those of
//! the container, addresses of this machine for those of the values.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Manifests, binary,
    manifests::{items, text},
    plain,
    process::{Log, Watchdog, signal},
    servers::free_port,
};

/// What the cluster has beside the chart's objects.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Secrets by name, each with its keys.
    pub secrets: BTreeMap<String, BTreeMap<String, String>>,
    /// Persistent volumes by the name of their claim.
    pub claims: BTreeMap<String, PathBuf>,
    /// What stands in the manifests, and what stands for it here.
    pub addresses: Vec<(String, String)>,
}

/// A pod's main container, running. Dropping it kills it.
#[derive(Debug)]
pub struct Pod {
    name: String,
    ports: BTreeMap<String, u16>,
    container: Value,
    grace: Duration,
    working: PathBuf,
    _folders: [TempDir; 2],
    child: Child,
    watchdog: Watchdog,
    log: Log,
}

/// Where a volume of the medium `Memory` lies.
const IN_MEMORY: &str = "/dev/shm";

/// A pod while it is put together.
struct Plan<'a> {
    manifests: &'a Manifests,
    surroundings: &'a Surroundings,
    folder: &'a Path,
    /// The same in memory.
    memory: &'a Path,
    /// Where each volume lies.
    volumes: HashMap<&'a str, PathBuf>,
}

impl Pod {
    /// Makes its files, runs its init containers to their end, and starts its container.
    #[must_use]
    pub fn start(manifests: &Manifests, deployment: &str, surroundings: &Surroundings) -> Self {
        let spec = &manifests.get("Deployment", deployment)["spec"]["template"]["spec"];
        let folder = tempfile::Builder::new().prefix("visavis-pod-").tempdir().expect("a folder");
        let memory = tempfile::Builder::new().prefix("visavis-pod-").tempdir_in(IN_MEMORY).expect("a folder in memory");
        let (volumes, places) = (HashMap::new(), (folder.path(), memory.path()));
        let mut plan = Plan { manifests, surroundings, folder: places.0, memory: places.1, volumes };
        plan.volumes = items(&spec["volumes"]).map(|v| (text(&v["name"]), plan.volume(v))).collect();
        // Nothing but mounts can be written to in a pod: what lands here would have failed there.
        let working = folder.path().join("root");
        fs::create_dir(&working).expect("a folder");
        for init in items(&spec["initContainers"]) {
            let mut command = plan.command(init, &BTreeMap::new(), &working);
            let output = command.output().expect("the init container runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{deployment}, init container {}: {said}", init["name"]);
        }
        let container = &spec["containers"][0];
        let ports: BTreeMap<_, _> =
            items(&container["ports"]).map(|p| (text(&p["name"]).to_owned(), free_port())).collect();
        let mut command = plan.command(container, &ports, &working);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the container runs");
        let (watchdog, log) = (Watchdog::over(child.id()), Log::default());
        log.follow(child.stdout.take(), |_| {});
        log.follow(child.stderr.take(), |_| {});
        let grace = Duration::from_secs(spec["terminationGracePeriodSeconds"].as_u64().expect("a grace period"));
        let (name, container) = (deployment.to_owned(), container.clone());
        Self { name, ports, container, grace, working, _folders: [folder, memory], child, watchdog, log }
    }

    /// Waits as its startup probe would, until it is ready and alive as well.
    pub fn await_started(&mut self) {
        let probe = &self.container["startupProbe"];
        let whole = |what: &str| probe[what].as_u64().unwrap_or_else(|| panic!("the startup probe has no {what}"));
        let limit = Duration::from_secs(whole("periodSeconds") * whole("failureThreshold"));
        let began = Instant::now();
        while !["startupProbe", "readinessProbe", "livenessProbe"].iter().all(|p| self.probe(p)) {
            let ended = self.child.try_wait().is_ok_and(|s| s.is_some());
            assert!(!ended && began.elapsed() < limit, "{} has not started; it wrote:\n{}", self.name, self.output());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether a probe of its manifest passes now.
    #[must_use]
    pub fn probe(&self, name: &str) -> bool {
        let get = &self.container[name]["httpGet"];
        let answer = plain::get(self.address(text(&get["port"])), text(&get["path"]));
        answer.is_ok_and(|a| a.split(' ').nth(1).is_some_and(|status| status.starts_with('2')))
    }

    /// Where one of the container's ports is here.
    #[must_use]
    pub fn address(&self, port: &str) -> SocketAddr {
        let port = self.ports.get(port).unwrap_or_else(|| panic!("{} has no port named {port}", self.name));
        SocketAddr::from((Ipv4Addr::LOCALHOST, *port))
    }

    /// What it tells Prometheus.
    #[must_use]
    pub fn metrics(&self) -> String {
        plain::get(self.address("admin"), "/metrics").expect("metrics are served")
    }

    /// Asks it to end, as the kubelet does, and waits as long as the kubelet would.
    pub fn stop(mut self) {
        signal(self.child.id(), "TERM");
        let began = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("its status") {
                Some(status) => break status,
                None => assert!(began.elapsed() < self.grace, "{} is still there after {:?}", self.name, self.grace),
            }
            thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{} ended with {status}; it wrote:\n{}", self.name, self.output());
        let written: Vec<_> = fs::read_dir(&self.working).expect("its folder").flatten().map(|e| e.path()).collect();
        assert!(written.is_empty(), "{} wrote beside its mounts: {written:?}", self.name);
    }

    /// Stops it where it is, or lets it go on.
    pub fn pause(&self, paused: bool) {
        signal(self.child.id(), if paused { "STOP" } else { "CONT" });
    }

    /// Everything it has written.
    #[must_use]
    pub fn output(&self) -> String {
        self.log.text()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.watchdog.call_off();
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Plan<'_> {
    /// The folder of a volume, with its files.
    fn volume(&self, volume: &Value) -> PathBuf {
        if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
            return self.surroundings.claims.get(claim).unwrap_or_else(|| panic!("there is no claim {claim}")).clone();
        }
        let name = text(&volume["name"]);
        let in_memory = volume["emptyDir"]["medium"] == "Memory";
        let folder = if in_memory { self.memory } else { self.folder }.join(name);
        fs::create_dir(&folder).expect("a folder");
        if let Some(config) = volume["configMap"]["name"].as_str() {
            let data = self.manifests.get("ConfigMap", config)["data"].as_object().expect("data");
            data.iter().for_each(|(key, value)| fs::write(folder.join(key), text(value)).expect("a file is written"));
        } else if let Some(secret) = volume["secret"]["secretName"].as_str() {
            for item in items(&volume["secret"]["items"]) {
                let file = folder.join(text(&item["path"]));
                fs::write(&file, self.secret(secret, text(&item["key"]))).expect("a file is written");
                let mode = u32::try_from(volume["secret"]["defaultMode"].as_u64().expect("a mode")).expect("a mode");
                fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("its mode is set");
            }
        } else {
            assert!(volume["emptyDir"].is_object(), "a volume of a kind that is not known here: {volume}");
        }
        folder
    }

    fn secret(&self, name: &str, key: &str) -> &str {
        let found = self.surroundings.secrets.get(name).and_then(|s| s.get(key));
        found.unwrap_or_else(|| panic!("the secret {name} has no key {key}"))
    }

    /// A container as a command. The files of its ConfigMap are changed to where everything is here.
    fn command(&self, container: &Value, ports: &BTreeMap<String, u16>, working: &Path) -> Command {
        let here = self.here(container, ports);
        for mount in items(&container["volumeMounts"]).filter(|m| m["name"] == "config") {
            for file in fs::read_dir(&self.volumes[text(&mount["name"])]).expect("its files").flatten() {
                let content = fs::read_to_string(file.path()).expect("a file");
                fs::write(file.path(), replaced(&content, &here)).expect("a file is written");
            }
        }
        let words: Vec<_> =
            items(&container["command"]).chain(items(&container["args"])).map(|w| replaced(text(w), &here)).collect();
        assert_eq!(words[0], "visavis", "the images have no other program");
        let mut command = Command::new(binary());
        command.args(&words[1..]).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(working);
        let mut known: Vec<(String, String)> = Vec::new();
        for variable in items(&container["env"]) {
            let value = match variable["valueFrom"]["secretKeyRef"].as_object() {
                Some(of) => self.secret(text(&of["name"]), text(&of["key"])).to_owned(),
                // As Kubernetes does, with those before it.
                None => known.iter().fold(text(&variable["value"]).to_owned(), |value, (name, known)| {
                    value.replace(&format!("$({name})"), known)
                }),
            };
            known.push((text(&variable["name"]).to_owned(), replaced(&value, &here)));
        }
        command.envs(known).stdin(Stdio::null());
        command
    }

    /// What stands in the manifests, and what stands for it here; longer ones first.
    fn here(&self, container: &Value, ports: &BTreeMap<String, u16>) -> Vec<(String, String)> {
        let mut pairs = self.surroundings.addresses.clone();
        for mount in items(&container["volumeMounts"]) {
            let folder = self.volumes[text(&mount["name"])].display().to_string();
            pairs.push((text(&mount["mountPath"]).to_owned(), folder));
        }
        for port in items(&container["ports"]) {
            let here = format!("127.0.0.1:{}", ports[text(&port["name"])]);
            pairs.push((format!("0.0.0.0:{}", port["containerPort"]), here));
        }
        pairs.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        pairs
    }
}

/// Text with every word replaced that is one of these, or begins with one and a slash. Words end with quotes and blanks.
fn replaced(text: &str, pairs: &[(String, String)]) -> String {
    let ends = |c: char| matches!(c, '"' | ' ' | '\n' | ',' | '@' | ']' | '[');
    let whole = |word: &str| {
        let fits =
            |(from, _): &&(String, String)| word.strip_prefix(from).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        match pairs.iter().find(fits) {
            Some((from, to)) => format!("{to}{}", &word[from.len()..]),
            None => word.to_owned(),
        }
    };
    text.split_inclusive(ends)
        .map(|piece| {
            let word = piece.trim_end_matches(ends);
            whole(word) + &piece[word.len()..]
        })
        .collect()
}
