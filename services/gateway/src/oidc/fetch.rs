//! Fetches the documents of an identity provider: over TLS alone, within limits of time and size, without following
//! redirects. What comes is parsed elsewhere and believed only as far as the certificate goes.

use std::{path::Path, sync::Arc, time::Duration};

use axum::http::{Method, Request, StatusCode, Uri, header, uri::Scheme};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// Longest time for one document.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest document.
const MOST_BYTES: usize = 256 * 1024;

/// A client that trusts certain certificates.
#[derive(Clone)]
pub(super) struct Fetcher(TlsConnector);

impl Fetcher {
    /// Trusts the certificates of `ca`, else the system's.
    pub fn new(ca: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(path) => {
                let unusable = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
                let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unusable(&e))?;
                for certificate in certificates {
                    roots.add(certificate.map_err(|e| unusable(&e))?).map_err(|e| unusable(&e))?;
                }
            }
            // Single certificates that cannot be read are no reason not to start: whether the rest will do shows.
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        if roots.is_empty() {
            return Err("there are no certificates to trust; name a file with some (ca_file)".into());
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// The document at `url`.
    pub async fn get(&self, url: &str) -> Result<Bytes, String> {
        let fetched = tokio::time::timeout(PATIENCE, self.fetch(url)).await;
        fetched
            .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
            .map_err(|e| format!("{url}: {e}"))
    }

    async fn fetch(&self, url: &str) -> Result<Bytes, String> {
        let uri: Uri = url.parse().map_err(|_| "not an address".to_owned())?;
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Err("only https is fetched".into());
        }
        let authority = uri.authority().ok_or("the address names no host")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        let connected = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await;
        let stream = self.0.connect(name, connected.map_err(|e| e.to_string())?).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        // Driven beside the request; what goes wrong on it is told to the request.
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(header::HOST, authority.as_str())
            .header(header::ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|e| e.to_string())?;
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("answered {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        body.map(|b| b.to_bytes()).map_err(|_| format!("no more than {} KiB are read", MOST_BYTES / 1024))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_https_is_fetched_and_certificates_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert!(Fetcher::new(Some(&path)).err().unwrap().contains("ca.pem"));
        std::fs::write(&path, "nothing").unwrap();
        assert!(Fetcher::new(Some(&path)).err().unwrap().contains("ca_file"));
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&path, own.cert.pem()).unwrap();
        let fetcher = Fetcher::new(Some(&path)).unwrap();
        for (url, why) in [
            ("http://localhost/keys", "only https"),
            ("file:///etc/passwd", "only https"),
            ("/keys", "only https"),
            ("not an address", "not an address"),
        ] {
            let said = fetcher.get(url).await.unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
