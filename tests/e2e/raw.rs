//! Bytes over TLS as no honest client would send them. Used by `hostile`.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Longest time that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes connections to one server.
#[derive(Clone)]
pub struct Raw {
    connector: TlsConnector,
    address: SocketAddr,
}

/// One of them.
pub struct Wire(TlsStream<TcpStream>);

impl Raw {
    /// To the server at `address`, which shows this certificate; speaking `http/1.1` or `h2`.
    pub fn new(address: SocketAddr, certificate: &Path, protocol: &str) -> Self {
        let pem = std::fs::read(certificate).expect("the certificate");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.expect("PEM")).expect("a certificate");
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Self { connector: Arc::new(config).into(), address }
    }

    /// A connection, or why there is none.
    pub async fn try_connect(&self) -> std::io::Result<Wire> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let shaken = tokio::time::timeout(PATIENCE, self.connector.connect(name, stream)).await;
        shaken.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map(Wire)
    }

    /// A connection.
    pub async fn connect(&self) -> Wire {
        self.try_connect().await.expect("a connection")
    }
}

impl Wire {
    /// Sends bytes; false once the other side has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = async { self.0.write_all(bytes).await.is_ok() && self.0.flush().await.is_ok() };
        tokio::time::timeout(PATIENCE, sent).await.expect("the server stops reading without closing")
    }

    /// Everything up to the close by the other side, or up to a silence this long.
    pub async fn rest(&mut self, silence: Duration) -> Rest {
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            match tokio::time::timeout(silence, self.0.read(&mut buffer)).await {
                Err(_) => return Rest { bytes, closed: false },
                Ok(Ok(n)) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
                Ok(_) => return Rest { bytes, closed: true },
            }
        }
    }
}

/// What came back.
pub struct Rest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether the other side closed.
    pub closed: bool,
}

impl Rest {
    /// Status lines of HTTP/1.1 answers, in order.
    pub fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        text.split("HTTP/1.1 ").skip(1).filter_map(|a| a.get(..3)?.parse().ok()).collect()
    }
}
