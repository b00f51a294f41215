//! A service of the bench's own: this very program in one process or in two that share a Redis, on free ports and in a
//! folder that goes with it. Called by `serve`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::client::Server;
use crate::cli::ServeArgs;
use crate::failure::Failure;
use crate::sealing;

/// A first start fetches models.
const START: Duration = Duration::from_secs(300);

/// A running service; ended with it.
pub struct Service {
    /// Each with its log and what it says there once everything is warm.
    processes: Vec<(Child, PathBuf, String)>,
    address: SocketAddr,
    folder: PathBuf,
}

impl Service {
    /// Starts `visavis up` with the bench's own configuration and waits until it answers.
    ///
    /// # Errors
    /// A service that does not start.
    pub async fn in_one_process(args: &ServeArgs) -> Result<Self, Failure> {
        let mut service = Self::new("one")?;
        let listen = ["--listen".to_owned(), service.address.to_string()];
        service.start(args, "up", &listen, "curl")?;
        service.wait().await
    }

    /// Starts a gateway and a worker that share this Redis, and waits until both serve.
    ///
    /// # Errors
    /// Processes that do not start.
    pub async fn over_redis(args: &ServeArgs, redis: &str) -> Result<Self, Failure> {
        let mut service = Self::new("two")?;
        let shared = ["--redis".to_owned(), redis.to_owned()];
        let listen = ["--listen".to_owned(), service.address.to_string()];
        service.start(args, "gateway", &[&listen[..], &shared].concat(), "https://")?;
        service.start(args, "worker", &shared, "Worker is ready")?;
        service.wait().await
    }

    fn new(name: &str) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("visavis-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|e| failed(&e))?;
        let key = seal::Keyring::fresh_key().map_err(|e| Failure::Other(e.to_string()))?;
        sealing::write_new(&folder.join("sealing.key"), &key).map_err(|e| failed(&e))?;
        Ok(Self { processes: Vec::new(), address: free().map_err(|e| failed(&e))?, folder })
    }

    /// This program in another role, with files of its own.
    fn start(&mut self, args: &ServeArgs, role: &str, flags: &[String], warm: &str) -> Result<(), Failure> {
        let log = self.folder.join(role).with_extension("log");
        let output = fs::File::create(&log).map_err(|e| failed(&e))?;
        let admin = free().map_err(|e| failed(&e))?;
        let program = std::env::current_exe().map_err(|e| failed(&e))?;
        // Whoever runs the models; the gateway of two processes has the other cores.
        let mut command = match (&args.model_cores, role) {
            (Some(cores), "up" | "worker") => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", cores]).arg(program);
                command
            }
            _ => Command::new(program),
        };
        command.arg(role).args(flags).args(["--admin-listen", &admin.to_string()]);
        command.arg("--data-dir").arg(self.data(role)).args(args.models.as_arguments());
        // A key of the bench's own, for what lies on the Redis; without sealing where its caller turns that off.
        command.env("VISAVIS__SEALING__KEY_FILE", self.folder.join("sealing.key"));
        command.env_remove("VISAVIS__SEALING__KEY").env_remove("VISAVIS__SEALING__KEY_COMMAND");
        command.stdout(output.try_clone().map_err(|e| failed(&e))?).stderr(output);
        let process = command.spawn().map_err(|e| failed(&e))?;
        self.processes.push((process, log, warm.to_owned()));
        Ok(())
    }

    fn data(&self, role: &str) -> PathBuf {
        self.folder.join(role)
    }

    /// Where it answers, and with which key.
    ///
    /// # Errors
    /// Files of the service that cannot be read.
    pub fn server(&self) -> Result<Server, Failure> {
        let edge = if self.processes.len() == 1 { "up" } else { "gateway" };
        let (data, key) = (self.data(edge), self.data(edge).join("admin.key"));
        let key = fs::read_to_string(&key).map_err(|e| Failure::io("the key", &key, &e))?;
        Server::over_tls(self.address, &data.join("tls/cert.pem"), key.trim().to_owned())
    }

    /// Until each has said that it is warm.
    async fn wait(mut self) -> Result<Self, Failure> {
        let end = Instant::now() + START;
        for (process, log, warm) in &mut self.processes {
            loop {
                let said = fs::read_to_string(&*log).unwrap_or_default();
                if said.contains(warm.as_str()) {
                    break;
                }
                let ended = process.try_wait().ok().flatten();
                if ended.is_some() || Instant::now() > end {
                    return Err(Failure::Other(format!("the service did not start:\n{said}")));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(self)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Nothing of it is wanted any more, so it need not drain; what cannot be removed lies in the temporary folder.
        for (process, ..) in &mut self.processes {
            let _ = process.kill().and_then(|()| process.wait());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn failed(e: &std::io::Error) -> Failure {
    Failure::Other(format!("the service cannot be started: {e}"))
}

/// An address that was free a moment ago.
fn free() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
