//! The service that the tests of one binary share: a process of their own, or one that runs somewhere already, as it has
//! been deployed. Tests that look into a service (its data, logs, metrics, memory) or need other settings start their own.

use std::{
    env, fs,
    io::{self, Write},
    path::PathBuf,
    sync::OnceLock,
};

use crate::{Client, Http, TestApp};

/// Where a deployed service is called, such as `https://faces.example:8443`.
const ORIGIN: &str = "VISAVIS_TEST_ORIGIN";
/// What its certificate is verified against.
const CA_FILE: &str = "VISAVIS_TEST_CA_FILE";
/// A file with an admin key of it.
const KEY_FILE: &str = "VISAVIS_TEST_KEY_FILE";

/// The service that tests share.
#[derive(Debug)]
pub struct Target {
    origin: String,
    certificate: PathBuf,
    key: String,
    /// Unless it is deployed.
    process: Option<&'static TestApp>,
}

impl Target {
    /// The deployed one that the environment names, else [`TestApp::shared`].
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Target> = OnceLock::new();
        SHARED.get_or_init(|| Self::deployed().unwrap_or_else(Self::started))
    }

    fn deployed() -> Option<Self> {
        let origin = env::var(ORIGIN).ok()?;
        let named = |name: &str| PathBuf::from(env::var(name).unwrap_or_else(|_| panic!("{ORIGIN} needs {name}")));
        let key = fs::read_to_string(named(KEY_FILE)).expect("a file with a key").trim().to_owned();
        Some(Self { origin, certificate: named(CA_FILE), key, process: None })
    }

    fn started() -> Self {
        let app = TestApp::shared();
        let origin = format!("https://{}", app.address());
        Self { origin, certificate: app.certificate(), key: app.admin_key(), process: Some(app) }
    }

    /// The process that tests share; none where they are about a deployed service.
    #[must_use]
    pub const fn process(&self) -> Option<&'static TestApp> {
        self.process
    }

    /// The same to look into, or a line that says what was left out.
    #[must_use]
    pub fn process_or_skip(&self) -> Option<&'static TestApp> {
        if self.process.is_none() {
            // Past the test harness, which would hide it as the output of a test that passed.
            let why = format_args!("SKIPPED: looks into a process, and {ORIGIN} names a service that is deployed");
            drop(writeln!(io::stderr(), "{why}"));
        }
        self.process
    }

    /// The environment that makes tests ask a service.
    #[must_use]
    pub fn environment(origin: &str, ca_file: PathBuf, key_file: PathBuf) -> [(&'static str, PathBuf); 3] {
        [(ORIGIN, origin.into()), (CA_FILE, ca_file), (KEY_FILE, key_file)]
    }

    /// A caller with the admin key.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client_over(Http::Any)
    }

    /// A caller with the admin key that insists on a protocol.
    #[must_use]
    pub fn client_over(&self, http: Http) -> Client {
        Client::of_origin(1, &self.origin, &self.certificate, (&self.key, http))
    }

    /// Where it is called: `https://` and a host, with a port.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The admin key.
    #[must_use]
    pub fn admin_key(&self) -> &str {
        &self.key
    }
}
