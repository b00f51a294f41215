//! The certificate: read from its files, made self-signed when there are none, read again when they change.

use std::{
    fs,
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum_server::tls_rustls::RustlsConfig;
use domain::ErrorCode;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};

use crate::config::{GatewayConfig, TlsConfig};

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// Only one of the two files is there.
    #[error("{} is missing although {} is there; give both or neither", missing.display(), present.display())]
    Half {
        /// The one that is missing.
        missing: PathBuf,
        /// The one that is there.
        present: PathBuf,
    },
    /// Files that hold no certificate and key that belong together.
    #[error("the certificate or its key cannot be used: {0}")]
    Unusable(String),
}

impl TlsError {
    /// The code a caller would see; nobody does, since nothing is served without a certificate.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::Internal
    }
}

/// What the two files hold: certificates, then the key.
type Pair = [Vec<u8>; 2];

/// The certificate in use, and the files it is from.
pub(crate) struct Certificate {
    config: TlsConfig,
    live: RustlsConfig,
    used: Pair,
}

impl Certificate {
    /// Takes the files of `config` into use, which are made first if there are none.
    pub fn load_or_make(config: &GatewayConfig) -> Result<Self, TlsError> {
        let TlsConfig { cert, key, .. } = &config.tls;
        match (cert.exists(), key.exists()) {
            (true, true) => {}
            (false, false) => make(config)?,
            (true, false) => return Err(TlsError::Half { missing: key.clone(), present: cert.clone() }),
            (false, true) => return Err(TlsError::Half { missing: cert.clone(), present: key.clone() }),
        }
        let used = read_pair(&config.tls)?;
        let live = RustlsConfig::from_config(Arc::new(settings(&used, config.tls.allow_tls12)?));
        Ok(Self { config: config.tls.clone(), live, used })
    }

    /// What a listener serves with; it follows each renewal.
    pub fn live(&self) -> RustlsConfig {
        self.live.clone()
    }

    /// Follows the two files and takes a renewed pair into use without a restart; runs until it is dropped. They are
    /// held against what is in use, so that a pair renewed before the first look is not missed, and by their contents,
    /// since two writes within one tick of the file system's clock have the same time. A pair that cannot be used, such
    /// as one half written, is tried again at each look and reported once; the old one stays meanwhile.
    pub async fn follow(mut self) {
        let mut reported = None;
        let mut every = tokio::time::interval(self.config.reload_every);
        loop {
            every.tick().await;
            let fault = self.renew().err().map(|e| e.to_string());
            if let Some(error) = fault.as_ref().filter(|_| fault != reported) {
                tracing::warn!(error, "the changed certificate is not used");
            }
            reported = fault;
        }
    }

    fn renew(&mut self) -> Result<(), TlsError> {
        let now = read_pair(&self.config)?;
        if now != self.used {
            self.live.reload_from_config(Arc::new(settings(&now, self.config.allow_tls12)?));
            self.used = now;
            tracing::info!("certificate reloaded");
        }
        Ok(())
    }
}

fn read_pair(config: &TlsConfig) -> Result<Pair, TlsError> {
    Ok([read(&config.cert)?, read(&config.key)?])
}

fn settings([chain, key]: &Pair, allow_tls12: bool) -> Result<ServerConfig, TlsError> {
    let unusable = |e: &dyn std::fmt::Display| TlsError::Unusable(e.to_string());
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(|e| unusable(&e))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| unusable(&e))?;
    let versions: &[_] = if allow_tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .map_err(|e| unusable(&e))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| unusable(&e))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(server)
}

/// Makes a self-signed pair that is good for the names a local caller uses.
fn make(config: &GatewayConfig) -> Result<(), TlsError> {
    let unusable = |e: rcgen::Error| TlsError::Unusable(e.to_string());
    let mut params = CertificateParams::new(names(config)).map_err(unusable)?;
    params.distinguished_name.push(DnType::CommonName, "Visavis self-signed");
    // An end that is not absurd: some clients refuse certificates valid for centuries.
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2035, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(unusable)?;
    let cert = params.self_signed(&key).map_err(unusable)?;
    write_secret(&config.tls.key, key.serialize_pem().as_bytes())
        .map_err(|reason| TlsError::File { path: config.tls.key.clone(), reason })?;
    write(&config.tls.cert, cert.pem().as_bytes())
}

fn names(config: &GatewayConfig) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
    let ip: IpAddr = config.listen.ip();
    if !ip.is_unspecified() {
        names.push(ip.to_string());
    }
    // The kernel's name for this machine, where there is such a file.
    names.extend(fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|h| h.trim().to_owned()));
    names.extend(config.tls.extra_names.iter().cloned());
    names.retain(|n| !n.is_empty() && n.is_ascii());
    names.sort();
    names.dedup();
    names
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|reason| TlsError::File { path: path.to_owned(), reason })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    let done = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, bytes));
    done.map_err(|reason| TlsError::File { path: path.to_owned(), reason })
}

/// Writes a new file that only its owner can read.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(dir: &Path) -> GatewayConfig {
        GatewayConfig::new(([127, 0, 0, 1], 0).into(), dir.join("tls/cert.pem"), dir.join("tls/key.pem"))
    }

    #[test]
    fn a_pair_is_made_once_and_its_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        Certificate::load_or_make(&config).unwrap();
        let first = fs::read(&config.tls.cert).unwrap();
        Certificate::load_or_make(&config).unwrap();
        assert_eq!(fs::read(&config.tls.cert).unwrap(), first, "a restart keeps the certificate");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&config.tls.key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn half_a_pair_and_garbage_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        Certificate::load_or_make(&config).unwrap();
        let key = fs::read(&config.tls.key).unwrap();
        fs::remove_file(&config.tls.key).unwrap();
        assert!(matches!(Certificate::load_or_make(&config), Err(TlsError::Half { .. })));
        fs::write(&config.tls.key, "garbage").unwrap();
        assert!(matches!(Certificate::load_or_make(&config), Err(TlsError::Unusable(_))));
        fs::write(&config.tls.key, key).unwrap();
        assert!(Certificate::load_or_make(&config).is_ok());
    }

    /// A gateway opens its lanes between reading its certificate and looking for a newer one.
    #[tokio::test]
    async fn a_pair_renewed_before_the_first_look_is_taken_into_use() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.tls.reload_every = Duration::from_millis(10);
        let certificate = Certificate::load_or_make(&config).unwrap();
        let live = certificate.live();
        let before = live.get_inner();
        for file in [&config.tls.cert, &config.tls.key] {
            fs::remove_file(file).unwrap();
        }
        make(&config).unwrap();
        let renewed = async {
            while Arc::ptr_eq(&live.get_inner(), &before) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = certificate.follow() => {}
            renewed = tokio::time::timeout(Duration::from_secs(10), renewed) => renewed.expect("the old pair stays"),
        }
    }

    #[test]
    fn an_unspecified_listen_address_is_no_name() {
        let mut c = config(Path::new("/nowhere"));
        c.listen = ([0, 0, 0, 0], 8443).into();
        c.tls.extra_names = vec!["faces.example".into()];
        let names = names(&c);
        assert!(names.contains(&"localhost".into()) && names.contains(&"faces.example".into()));
        assert!(!names.contains(&"0.0.0.0".into()));
    }
}
