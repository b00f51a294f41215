//! Makes connections: to the one server, to the master the sentinels name, or to a cluster. Used by the pool and for
//! connections of one's own.

use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, RedisError,
    RedisFuture, TlsCertificates, TlsMode, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType},
};
use tokio::sync::Mutex;

use crate::{LinkError, LinkOptions, address::Address};

/// A connection as the library makes them.
pub enum Raw {
    /// To one server.
    One(MultiplexedConnection),
    /// To every node of a cluster.
    Cluster(ClusterConnection),
}

/// Where connections come from.
pub enum Source {
    /// One server.
    Single(Box<Client>),
    /// The master that the sentinels name at that moment.
    Sentinel(Box<Mutex<SentinelClient>>),
    /// A cluster.
    Cluster(Box<Patience>),
}

/// A cluster's client for each kind of call: time limits belong to the client.
pub struct Patience {
    quick: ClusterClient,
    blocking: ClusterClient,
}

/// Longest time a blocking call may wait at the server.
pub const MAX_BLOCK: Duration = Duration::from_secs(2);

impl Source {
    /// Reads address and certificates.
    ///
    /// # Errors
    /// [`LinkError::Address`].
    pub fn new(options: &LinkOptions) -> Result<Self, LinkError> {
        let refused = |e: RedisError| LinkError::Address(e.to_string());
        match Address::parse(&options.url)? {
            Address::Single(info) => {
                let client = match certificates(options)? {
                    Some(tls) => Client::build_with_tls(info, tls),
                    None => Client::open(info),
                };
                client.map(|c| Self::Single(Box::new(c))).map_err(refused)
            }
            Address::Sentinel { sentinels, service, master } => {
                system_certificates_only(options)?;
                let node =
                    SentinelNodeConnectionInfo::default().set_redis_connection_info(master.redis_settings().clone());
                let node = if secured(&master) { node.set_tls_mode(TlsMode::Secure) } else { node };
                let client = SentinelClient::build(sentinels, service, Some(node), SentinelServerType::Master);
                client.map(|c| Self::Sentinel(Box::new(Mutex::new(c)))).map_err(refused)
            }
            Address::Cluster(nodes) => {
                let make = |response: Duration| {
                    let builder = ClusterClient::builder(nodes.clone())
                        .connection_timeout(options.connect_timeout)
                        .response_timeout(response)
                        .retries(3);
                    let builder = if nodes.iter().any(secured) { builder.tls(TlsMode::Secure) } else { builder };
                    Ok::<_, LinkError>(match certificates(options)? {
                        Some(tls) => builder.certs(tls),
                        None => builder,
                    })
                };
                let quick = make(options.response_timeout)?.build().map_err(refused)?;
                let blocking = make(options.response_timeout + MAX_BLOCK)?.build().map_err(refused)?;
                Ok(Self::Cluster(Box::new(Patience { quick, blocking })))
            }
        }
    }

    /// A new connection, each call on it bounded by the response timeout; with `blocking`, by that and the longest
    /// wait of a blocking call.
    ///
    /// # Errors
    /// The server is away or refuses.
    pub async fn connect(&self, options: &LinkOptions, blocking: bool) -> Result<Raw, RedisError> {
        let extra = if blocking { MAX_BLOCK } else { Duration::ZERO };
        let config = config(options, extra);
        match self {
            Self::Single(client) => client.get_multiplexed_async_connection_with_config(&config).await.map(Raw::One),
            Self::Sentinel(client) => client.lock().await.get_async_connection_with_config(&config).await.map(Raw::One),
            Self::Cluster(clients) => {
                let client = if blocking { &clients.blocking } else { &clients.quick };
                client.get_async_connection().await.map(Raw::Cluster)
            }
        }
    }
}

/// Time limits of a connection.
pub fn config(options: &LinkOptions, extra: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.connect_timeout))
        .set_response_timeout(Some(options.response_timeout + extra))
}

fn secured(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

fn certificates(options: &LinkOptions) -> Result<Option<TlsCertificates>, LinkError> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|e| LinkError::Address(format!("{} cannot be read: {e}", path.display())))
    };
    let root_cert = options.tls_ca.as_deref().map(read).transpose()?;
    let client_tls = match &options.tls_identity {
        Some((cert, key)) => Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? }),
        None => None,
    };
    Ok((root_cert.is_some() || client_tls.is_some()).then_some(TlsCertificates { client_tls, root_cert }))
}

/// The library takes no certificates for the master behind sentinels.
fn system_certificates_only(options: &LinkOptions) -> Result<(), LinkError> {
    if options.tls_ca.is_some() || options.tls_identity.is_some() {
        let detail = "behind sentinels only the system's certificates are trusted (SSL_CERT_FILE names others)";
        return Err(LinkError::Address(detail.into()));
    }
    Ok(())
}

/// Pools what [`deadpool_redis`] has no settings for: connections behind sentinels and to clusters.
pub struct Manager {
    /// Where connections come from.
    pub source: Source,
    /// Time limits.
    pub options: LinkOptions,
}

impl managed::Manager for Manager {
    type Type = Raw;
    type Error = RedisError;

    async fn create(&self) -> Result<Raw, RedisError> {
        self.source.connect(&self.options, false).await
    }

    /// A connection whose server is no master any more answers too: writing tells, and the error drops it.
    async fn recycle(&self, raw: &mut Raw, _: &Metrics) -> RecycleResult<RedisError> {
        redis::cmd("PING").query_async::<Value>(raw).await.map(drop).map_err(RecycleError::Backend)
    }
}

impl ConnectionLike for Raw {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(c) => c.req_packed_command(cmd),
            Self::Cluster(c) => c.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(c) => c.req_packed_commands(cmd, offset, count),
            Self::Cluster(c) => c.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(c) => c.get_db(),
            Self::Cluster(c) => c.get_db(),
        }
    }
}
