//! What a test may ask of a Redis, and the command line it becomes.

use std::path::Path;

use crate::servers::Certificates;

/// Which server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Product {
    /// The pinned Valkey of the package index. Speaks no TLS.
    #[default]
    Valkey,
    /// The machine's own `redis-server`.
    Redis,
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Which server.
    pub product: Product,
    /// When the append-only file reaches the disk; none keeps everything in memory.
    pub appendfsync: Option<&'static str>,
    /// Serve TLS alone (Redis only, and only where there is an `openssl` command).
    pub tls: bool,
    /// With TLS: let in only who has a certificate of the same authority.
    pub client_certificates: bool,
    /// The one user there is, and its password; the default user is off then.
    pub user: Option<(String, String)>,
    /// A Redis Cluster of one node that holds every slot.
    pub cluster: bool,
    /// In a cluster: the slots of this node, where others hold the rest; see [`crate::RedisCluster`].
    pub slots: Option<(u16, u16)>,
    /// More arguments, such as `--maxmemory` and `10mb`; they come last and win.
    pub arguments: Vec<String>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            product: Product::Valkey,
            appendfsync: Some("always"),
            tls: false,
            client_certificates: false,
            user: None,
            cluster: false,
            slots: None,
            arguments: Vec::new(),
        }
    }
}

impl RedisOptions {
    /// The command line for these ports (for clients; without TLS).
    pub(crate) fn command_line(
        &self,
        [port, plain]: [u16; 2],
        data: &Path,
        certificates: Option<&Certificates>,
    ) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut set = |name: &str, values: &[&str]| {
            all.push(format!("--{name}"));
            all.extend(values.iter().map(|&v| v.to_owned()));
        };
        let path = |p: &Path| p.to_str().expect("a temporary folder has a UTF-8 name").to_owned();
        set("port", &[&plain.to_string()]);
        set("bind", &["127.0.0.1"]);
        set("dir", &[&path(data)]);
        set("save", &[""]);
        set("maxmemory-policy", &["noeviction"]);
        match self.appendfsync {
            Some(when) => {
                set("appendonly", &["yes"]);
                set("appendfsync", &[when]);
            }
            None => set("appendonly", &["no"]),
        }
        if let Some(certificates) = certificates {
            set("tls-port", &[&port.to_string()]);
            set("tls-cert-file", &[&path(&certificates.certificate)]);
            set("tls-key-file", &[&path(&certificates.key)]);
            set("tls-ca-cert-file", &[&path(&certificates.ca)]);
            set("tls-auth-clients", &[if self.client_certificates { "yes" } else { "no" }]);
        }
        if let Some((name, password)) = &self.user {
            // A user that is told of twice keeps the server from starting.
            if name != "default" {
                set("user", &["default", "off"]);
            }
            set("user", &[name, "on", &format!(">{password}"), "~*", "&*", "+@all"]);
        }
        if self.cluster {
            set("cluster-enabled", &["yes"]);
            set("cluster-config-file", &["nodes.conf"]);
        }
        all.extend(self.arguments.iter().cloned());
        all
    }
}
