//! The service as one process with a data directory of its own, as `cargo run` starts it.

use std::{
    net::Ipv4Addr,
    ops::{Deref, DerefMut},
    path::Path,
    sync::OnceLock,
};

use tempfile::TempDir;

use crate::{Role, Service, ServiceOptions};

/// What differs from `visavis up` as it comes.
#[derive(Clone, Debug, Default)]
pub struct AppOptions {
    /// Settings as environment variables, such as `VISAVIS__GATEWAY__MAX_IMAGE_BYTES`.
    pub environment: Vec<(String, String)>,
    /// Arguments after those that every test gives.
    pub arguments: Vec<String>,
}

/// The service, running. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct TestApp {
    service: Service,
    data: TempDir,
}

impl TestApp {
    /// Starts the service on free ports with an empty data directory, and waits until it is ready.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(AppOptions::default())
    }

    /// The same with other settings.
    #[must_use]
    pub fn start_with(options: AppOptions) -> Self {
        let data = tempfile::Builder::new().prefix("visavis-test-").tempdir().expect("a data directory");
        let AppOptions { environment, arguments } = options;
        let folder = data.path();
        let service = Service::start(ServiceOptions {
            role: Role::Up,
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            data_dir: folder.to_owned(),
            key_file: folder.join("admin.key"),
            certificate: folder.join("tls/cert.pem"),
            environment,
            arguments,
            niceness: 0,
            binary: None,
        });
        Self { service, data }
    }

    /// The service that all tests of one binary share: each takes collections of its own.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<TestApp> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }
}

impl Deref for TestApp {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl DerefMut for TestApp {
    fn deref_mut(&mut self) -> &mut Service {
        &mut self.service
    }
}
