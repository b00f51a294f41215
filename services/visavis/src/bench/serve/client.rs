//! The HTTP client of the load: one connection, one request at a time, so that what is measured is the server. Called
//! by `load` and for enrolling.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::Failure;

/// Where requests go.
#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    key: Option<String>,
}

/// What is sent.
#[derive(Clone)]
pub struct Post {
    /// Path and query.
    pub path: String,
    /// Media type of the body.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

impl Server {
    /// A server over TLS 1.3 that is trusted by this certificate alone.
    ///
    /// # Errors
    /// A certificate that cannot be used.
    pub fn over_tls(address: SocketAddr, certificate: &Path, key: String) -> Result<Self, Failure> {
        let unusable =
            |e: String| Failure::Other(format!("the certificate {} is not usable: {e}", certificate.display()));
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_file(certificate).map_err(|e| unusable(e.to_string()))?;
        roots.add(own).map_err(|e| unusable(e.to_string()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| unusable(e.to_string()))?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { address, tls: Some(TlsConnector::from(Arc::new(config))), key: Some(key) })
    }

    /// A server over plain HTTP.
    pub const fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, key: None }
    }

    /// A new connection.
    ///
    /// # Errors
    /// A server that is not there.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        let failed = |e: String| Failure::Other(format!("no connection to {}: {e}", self.address));
        let stream = TcpStream::connect(self.address).await.map_err(|e| failed(e.to_string()))?;
        stream.set_nodelay(true).map_err(|e| failed(e.to_string()))?;
        let sender = match &self.tls {
            Some(tls) => {
                let name = ServerName::from(self.address.ip());
                let stream = tls.connect(name, stream).await.map_err(|e| failed(e.to_string()))?;
                handshake(stream).await
            }
            None => handshake(stream).await,
        };
        Ok(Connection { sender: sender.map_err(|e| failed(e.to_string()))?, server: self.clone() })
    }
}

async fn handshake<S>(stream: S) -> hyper::Result<SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection; what goes wrong on it is told to the request that is under way.
    tokio::spawn(connection);
    Ok(sender)
}

/// A connection that is kept.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    server: Server,
}

impl Connection {
    /// Sends a request and takes in its answer: status and body.
    ///
    /// # Errors
    /// A connection that broke.
    pub async fn post(&mut self, post: &Post) -> Result<(u16, Bytes), Failure> {
        let failed = |e: hyper::Error| Failure::Other(format!("the connection to {} broke: {e}", self.server.address));
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&post.path)
            .header(HOST, self.server.address.to_string())
            .header(CONTENT_TYPE, &post.content_type);
        if let Some(key) = &self.server.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Full::new(post.body.clone()));
        let request = request.map_err(|e| Failure::Other(format!("a request cannot be made: {e}")))?;
        self.sender.ready().await.map_err(failed)?;
        let answer = self.sender.send_request(request).await.map_err(failed)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(failed)?;
        Ok((status, body.to_bytes()))
    }
}
