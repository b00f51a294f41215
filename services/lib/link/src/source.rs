//! Makes connections: to the one server, to the master the sentinels name, or to a cluster. Used by the pool and for
//! connections of one's own.

use std::{path::Path, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, RedisError,
    RedisFuture, RedisResult, TlsCertificates, TlsMode, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo},
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::sync::Mutex;

use crate::{LinkError, LinkOptions, address::Address};

/// Longest time a blocking call may wait at the server.
pub const MAX_BLOCK: Duration = Duration::from_secs(2);

/// Times a cluster's client looks again for the node that has a slot, within the response timeout.
const REDIRECTIONS: u32 = 3;

/// A connection as the library makes them.
pub enum Raw {
    /// To one server.
    One(MultiplexedConnection),
    /// To every node of a cluster.
    Cluster(ClusterConnection),
}

/// Where connections come from.
pub struct Source {
    options: LinkOptions,
    client: Kind,
}

enum Kind {
    /// One server.
    Single(Box<Client>),
    /// The master that the sentinels name at that moment.
    Sentinel(Box<Mutex<SentinelClient>>),
    /// A cluster; time limits belong to the client, so there is one for each kind of call.
    Cluster { quick: Box<ClusterClient>, blocking: Box<ClusterClient> },
}

impl Source {
    /// Reads address and certificates.
    ///
    /// # Errors
    /// [`LinkError::Address`].
    pub fn new(options: LinkOptions) -> Result<Self, LinkError> {
        // The process may have chosen already. Without a choice the library would have to guess, and panic where two
        // providers are compiled in.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tls = certificates(&options)?;
        let client = match Address::parse(&options.url)? {
            Address::Single(info) => match tls {
                Some(tls) => Client::build_with_tls(info, tls),
                None => Client::open(info),
            }
            .map(|client| Kind::Single(Box::new(client))),
            Address::Sentinel { sentinels, service, master } => {
                sentinel(&sentinels, &service, &master, tls).map(|c| Kind::Sentinel(Box::new(Mutex::new(c))))
            }
            Address::Cluster(nodes) => {
                let make = |response: Duration| {
                    let mut builder = ClusterClient::builder(nodes.clone())
                        .connection_timeout(options.connect_timeout)
                        .response_timeout(response)
                        .retries(REDIRECTIONS);
                    if let Some(tls) = tls.clone() {
                        builder = builder.certs(tls);
                    }
                    builder.build().map(Box::new)
                };
                let blocking = make(options.response_timeout + MAX_BLOCK);
                make(options.response_timeout).and_then(|quick| Ok(Kind::Cluster { quick, blocking: blocking? }))
            }
        };
        let client = client.map_err(|e| LinkError::Address(format!("Redis cannot be addressed so: {e}")))?;
        Ok(Self { options, client })
    }

    /// What it was made from.
    pub fn options(&self) -> &LinkOptions {
        &self.options
    }

    /// Whether commands go to nodes by key.
    pub fn is_cluster(&self) -> bool {
        matches!(self.client, Kind::Cluster { .. })
    }

    /// A new connection, each call on it bounded by the response timeout; with `blocking`, by that and the longest
    /// wait of a blocking call.
    ///
    /// # Errors
    /// The server is away or refuses.
    pub async fn connect(&self, blocking: bool) -> RedisResult<Raw> {
        let extra = if blocking { MAX_BLOCK } else { Duration::ZERO };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.response_timeout + extra));
        match &self.client {
            Kind::Single(client) => client.get_multiplexed_async_connection_with_config(&config).await.map(Raw::One),
            Kind::Sentinel(client) => {
                // Not held while connecting: one silent master would keep all others waiting.
                let client = client.lock().await.async_get_client().await?;
                client.get_multiplexed_async_connection_with_config(&config).await.map(Raw::One)
            }
            Kind::Cluster { quick, blocking: patient } => {
                let client = if blocking { patient } else { quick };
                client.get_async_connection().await.map(Raw::Cluster)
            }
        }
    }
}

fn sentinel(
    sentinels: &[ConnectionInfo],
    service: &str,
    master: &ConnectionInfo,
    tls: Option<TlsCertificates>,
) -> Result<SentinelClient, RedisError> {
    let addresses = sentinels.iter().map(|s| s.addr().clone());
    let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?;
    if matches!(master.addr(), ConnectionAddr::TcpTls { .. }) {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        if let Some(tls) = tls {
            builder = builder.set_client_to_redis_certificates(tls.clone()).set_client_to_sentinel_certificates(tls);
        }
    }
    let login = master.redis_settings();
    if let Some(name) = login.username() {
        builder = builder.set_client_to_redis_username(name);
    }
    if let Some(password) = login.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    let asked = sentinels.first().map(ConnectionInfo::redis_settings);
    if let Some(name) = asked.and_then(redis::RedisConnectionInfo::username) {
        builder = builder.set_client_to_sentinel_username(name);
    }
    if let Some(password) = asked.and_then(redis::RedisConnectionInfo::password) {
        builder = builder.set_client_to_sentinel_password(password);
    }
    builder.set_client_to_redis_db(login.db()).build()
}

fn certificates(options: &LinkOptions) -> Result<Option<TlsCertificates>, LinkError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|e| LinkError::Address(format!("{} cannot be read: {e}", path.display())))
    };
    let root_cert = options.tls_ca.as_deref().map(read).transpose()?;
    let client_tls = match &options.tls_identity {
        Some((cert, key)) => Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? }),
        None => None,
    };
    Ok((root_cert.is_some() || client_tls.is_some()).then_some(TlsCertificates { client_tls, root_cert }))
}

impl Raw {
    /// Asks the server, or every master of a cluster.
    ///
    /// # Errors
    /// One of them does not answer, or refuses.
    pub async fn everywhere(&mut self, command: Cmd) -> RedisResult<Vec<Value>> {
        match self {
            Self::One(connection) => Ok(vec![command.query_async(connection).await?]),
            Self::Cluster(connection) => {
                let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                match connection.route_command(command, all).await? {
                    Value::Map(answers) => answers.into_iter().map(|(_, answer)| answer.extract_error()).collect(),
                    other => Ok(vec![other]),
                }
            }
        }
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
