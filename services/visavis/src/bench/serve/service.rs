//! A service of the bench's own: this very program in a process of its own, on free ports and in a folder that goes
//! with it. Called by `serve`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::client::Server;
use crate::cli::ServeArgs;
use crate::failure::Failure;

/// A first start fetches models.
const START: Duration = Duration::from_secs(300);

/// A running service; ended with it.
pub struct Service {
    process: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Service {
    /// Starts `visavis up` with the bench's own configuration and waits until it answers.
    ///
    /// # Errors
    /// A service that does not start.
    pub async fn start(args: &ServeArgs) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::Other(format!("the service cannot be started: {e}"));
        let folder = std::env::temp_dir().join(format!("visavis-bench-{}", std::process::id()));
        let address = free().map_err(failed)?;
        fs::create_dir_all(&folder).map_err(failed)?;
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("up").args([
            "--listen",
            &address.to_string(),
            "--admin-listen",
            &free().map_err(failed)?.to_string(),
        ]);
        command.arg("--data-dir").arg(folder.join("data")).args(args.models.as_arguments());
        command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        let process = command.spawn().map_err(failed)?;
        let mut service = Self { process, address, folder };
        service.wait().await?;
        Ok(service)
    }

    /// Where it answers, and with which key.
    ///
    /// # Errors
    /// Files of the service that cannot be read.
    pub fn server(&self) -> Result<Server, Failure> {
        let (data, key) = (self.folder.join("data"), self.folder.join("data/admin.key"));
        let key = fs::read_to_string(&key).map_err(|e| Failure::io("the key", &key, &e))?;
        Server::over_tls(self.address, &data.join("tls/cert.pem"), key.trim().to_owned())
    }

    /// Until the banner is there: it is printed once everything is warm.
    async fn wait(&mut self) -> Result<(), Failure> {
        let (log, end) = (self.folder.join("log"), Instant::now() + START);
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains(&format!("https://{}", self.address)) && said.contains("curl") {
                return Ok(());
            }
            let ended = self.process.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > end {
                return Err(Failure::Other(format!("the service did not start:\n{said}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Nothing of it is wanted any more, so it need not drain; what cannot be removed lies in the temporary folder.
        let _ = self.process.kill().and_then(|()| self.process.wait());
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// An address that was free a moment ago.
fn free() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
