//! An issuer's keys as they are known here: fetched at the start and again and again, and once more when a token names
//! a key that is not known, though not more often than the issuer can bear. While it cannot be reached the keys that are
//! known stay, for a time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    config::{IssuerConfig, KeySource},
    fetch::Fetcher,
    jwks::KeySet,
};

/// First pause after a fetch that failed; each next one is twice as long, up to the usual pause.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The keys of one issuer.
pub(super) struct Keys {
    issuer: String,
    source: KeySource,
    fetcher: Option<Fetcher>,
    refresh: Duration,
    cooldown: Duration,
    kept: Duration,
    state: Mutex<State>,
    /// One fetch at a time; those who wait for one look at what it brought.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    set: Option<(Arc<KeySet>, Instant)>,
    /// When a token last caused a fetch.
    asked: Option<Instant>,
    failing: bool,
}

impl Keys {
    /// None fetched yet. Certificates to trust must be there.
    pub fn new(config: &IssuerConfig) -> Result<Self, String> {
        let fetcher = match &config.keys {
            KeySource::File(_) => None,
            KeySource::Discovery | KeySource::Url(_) => Some(Fetcher::new(config.ca_file.as_deref())?),
        };
        Ok(Self {
            issuer: config.issuer.clone(),
            source: config.keys.clone(),
            fetcher,
            refresh: config.refresh,
            cooldown: config.cooldown,
            kept: config.kept,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// The keys known now, if they are not too old to be believed.
    pub fn known(&self) -> Option<Arc<KeySet>> {
        let state = self.state.lock();
        state.set.as_ref().filter(|(_, at)| at.elapsed() < self.kept).map(|(set, _)| set.clone())
    }

    /// Whether the last fetch failed: what is not known may be there all the same.
    pub fn failing(&self) -> bool {
        self.state.lock().failing
    }

    /// The keys after a look at the issuer, unless one was asked for a moment ago: tokens with invented keys cause no
    /// more than one fetch in a while, and all who wait share it. It goes on when those who wait are gone.
    pub async fn looked_up(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let keys = self.clone();
        let look = tokio::spawn(async move {
            let _turn = keys.turn.lock().await;
            let lately = keys.state.lock().asked.is_some_and(|at| at.elapsed() < keys.cooldown);
            if !lately {
                keys.state.lock().asked = Some(Instant::now());
                keys.fetch().await;
            }
        });
        // A look that ended abnormally has brought nothing.
        drop(look.await);
        self.known()
    }

    /// Fetches again and again; runs until it is dropped.
    pub async fn follow(self: Arc<Self>) {
        let mut retry = FIRST_RETRY;
        loop {
            let turn = self.turn.lock().await;
            let fetched = self.fetch().await;
            drop(turn);
            let pause = if fetched { self.refresh } else { retry.min(self.refresh) };
            retry = if fetched { FIRST_RETRY } else { (retry * 2).min(self.refresh) };
            tokio::time::sleep(pause).await;
        }
    }

    /// One fetch; whether it brought keys. The caller has the turn.
    async fn fetch(&self) -> bool {
        let fetched = match self.document().await {
            Ok(bytes) => KeySet::parse(&bytes),
            Err(e) => Err(e),
        };
        let mut state = self.state.lock();
        match fetched {
            Ok(set) => {
                if state.set.is_none() || state.failing {
                    tracing::info!(issuer = self.issuer, keys = set.len(), "the identity provider's keys are known");
                }
                state.set = Some((Arc::new(set), Instant::now()));
                state.failing = false;
                true
            }
            Err(error) => {
                if !state.failing {
                    tracing::warn!(issuer = self.issuer, error, "the identity provider's keys cannot be fetched");
                }
                state.failing = true;
                false
            }
        }
    }

    async fn document(&self) -> Result<Bytes, String> {
        match (&self.source, &self.fetcher) {
            (KeySource::File(path), _) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || {
                    std::fs::read(&path).map(Bytes::from).map_err(|e| format!("{}: {e}", path.display()))
                });
                read.await.unwrap_or_else(|e| Err(e.to_string()))
            }
            (KeySource::Url(url), Some(fetcher)) => fetcher.get(url).await,
            (KeySource::Discovery, Some(fetcher)) => fetcher.get(&self.discovered(fetcher).await?).await,
            (_, None) => Err("nothing to fetch with".into()),
        }
    }

    /// Where the issuer says its keys are. Its own name in that document must be the one it goes by here (OpenID Connect
    /// Discovery, 4.3).
    async fn discovered(&self, fetcher: &Fetcher) -> Result<String, String> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let document: Value =
            serde_json::from_slice(&fetcher.get(&url).await?).map_err(|_| format!("{url}: not JSON"))?;
        if document["issuer"] != self.issuer.as_str() {
            return Err(format!("{url}: is of another issuer than {}", self.issuer));
        }
        document["jwks_uri"].as_str().map(str::to_owned).ok_or_else(|| format!("{url}: names no jwks_uri"))
    }
}

#[cfg(test)]
mod tests {
    use domain::TenantId;
    use testkit::{Signer, key_set};

    use super::*;
    use crate::oidc::config::{Algorithm, Grants, TenantRule};

    const KEPT: Duration = Duration::from_secs(3600);
    const COOLDOWN: Duration = Duration::from_secs(30);

    fn keys(file: &std::path::Path) -> Arc<Keys> {
        let config = IssuerConfig {
            issuer: "https://issuer.example".into(),
            audiences: vec!["visavis".into()],
            keys: KeySource::File(file.to_owned()),
            ca_file: None,
            algorithms: Algorithm::ALL.to_vec(),
            tenant: TenantRule::Fixed(TenantId::new("default").unwrap()),
            grants: Grants::default(),
            leeway: Duration::ZERO,
            refresh: Duration::from_secs(600),
            cooldown: COOLDOWN,
            kept: KEPT,
        };
        Arc::new(Keys::new(&config).unwrap())
    }

    fn has(set: Option<Arc<KeySet>>, id: &str) -> bool {
        set.is_some_and(|s| s.find(Some(id), Algorithm::EdDsa).is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_used_for_a_time_without_the_issuer_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        std::fs::write(&file, key_set(&[&Signer::ed25519("a")]).to_string()).unwrap();
        let keys = keys(&file);
        assert!(keys.known().is_none());
        assert!(has(keys.looked_up().await, "a") && !keys.failing());
        std::fs::remove_file(&file).unwrap();
        tokio::time::advance(KEPT - Duration::from_secs(1)).await;
        assert!(has(keys.looked_up().await, "a") && keys.failing());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(keys.known().is_none() && keys.looked_up().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_issuer_is_asked_again_only_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        std::fs::write(&file, key_set(&[&Signer::ed25519("a")]).to_string()).unwrap();
        let keys = keys(&file);
        assert!(has(keys.looked_up().await, "a"));
        std::fs::write(&file, key_set(&[&Signer::ed25519("b")]).to_string()).unwrap();
        tokio::time::advance(COOLDOWN - Duration::from_millis(1)).await;
        assert!(!has(keys.looked_up().await, "b"), "too early");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(has(keys.looked_up().await, "b"));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_fetched_again_and_again_and_sooner_after_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        let keys = keys(&file);
        let follower = tokio::spawn(keys.clone().follow());
        while !keys.failing() {
            tokio::task::yield_now().await;
        }
        std::fs::write(&file, key_set(&[&Signer::ed25519("a")]).to_string()).unwrap();
        let began = Instant::now();
        while !has(keys.known(), "a") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        std::fs::write(&file, key_set(&[&Signer::ed25519("b")]).to_string()).unwrap();
        while !has(keys.known(), "b") {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(began.elapsed() > Duration::from_secs(600), "{:?}", began.elapsed());
        follower.abort();
    }
}
