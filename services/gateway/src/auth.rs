//! Who calls: `Authorization: Bearer vv_<id>_<secret>` against the stored hash. Keys are read from the store on every
//! request, so a deleted or rotated key is refused at once on every gateway.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use domain::{ApiKey, ErrorCode, KeyId, Principal, Scope, TenantId, Timestamp};
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs;
use sha2::{Digest, Sha256};
use store::ApiKeys;
use subtle::ConstantTimeEq;

use crate::problem::{ApiProblem, Result};

/// What every key begins with.
const PREFIX: &str = "vv_";

/// A fresh id and secret. The secret is shown once and never stored.
pub(crate) struct Credential {
    /// The public half.
    pub id: KeyId,
    /// The secret half.
    pub secret: String,
}

impl Credential {
    /// A fresh one, or a fresh secret for the key `id`.
    pub fn generate(id: Option<KeyId>) -> Result<Self> {
        let id = match id {
            Some(id) => id,
            None => KeyId::new(random::<8>()?).map_err(|e| ApiProblem::new(ErrorCode::Internal, e.to_string()))?,
        };
        Ok(Self { id, secret: random::<24>()? })
    }

    /// Reads `vv_<id>_<secret>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.rsplit_once('_')?;
        let fine = (16..=128).contains(&secret.len()) && secret.bytes().all(|b| b.is_ascii_alphanumeric());
        fine.then_some(())?;
        Some(Self { id: KeyId::new(id).ok()?, secret: secret.to_owned() })
    }

    /// The whole as the caller sends it.
    pub fn shown(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// SHA-256 of the secret, hex. The secret has 192 random bits, so a slow hash would protect nothing more.
    pub fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.secret.as_bytes()))
    }
}

/// `N` random bytes as hex.
fn random<const N: usize>() -> Result<String> {
    let mut bytes = [0; N];
    let filled = aws_lc_rs::default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| ApiProblem::new(ErrorCode::Internal, "the system gives no random numbers"))?;
    Ok(hex::encode(bytes))
}

/// Finds who calls. Unknown keys and wrong secrets are answered alike, after the same work.
pub(crate) async fn authenticate(keys: &ApiKeys, headers: &HeaderMap, now: Timestamp) -> Result<Principal> {
    let refused = |detail: &str| ApiProblem::new(ErrorCode::Unauthenticated, detail);
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(refused("send the header Authorization: Bearer vv_<id>_<secret>"));
    }
    let credential = credential(headers)
        .ok_or_else(|| refused("the Authorization header holds no key of the form vv_<id>_<secret>"))?;
    let key = keys.get(&credential.id).await?.map(|k| k.value);
    let stored = key.as_ref().map_or("", |k| &k.secret_sha256);
    // Against an unknown id the comparison still runs, with a hash that cannot match.
    let mut expected = [0; 64];
    if stored.len() == expected.len() {
        expected.copy_from_slice(stored.as_bytes());
    }
    let same: bool = credential.hash().as_bytes().ct_eq(&expected).into();
    match key {
        Some(key) if same => principal(key, now).ok_or_else(|| refused("the API key has expired")),
        _ => Err(refused("the API key is not known, or its secret is wrong")),
    }
}

/// The credential a request brings, if it has the form of one.
fn credential(headers: &HeaderMap) -> Option<Credential> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Credential::parse(token.trim()))?
}

/// Credentials that the store knew a moment ago. Good for what is done before the store has answered, refusals above all:
/// whoever is let in was looked up for this very request.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<HashMap<KeyId, Known>>);

struct Known {
    secret_sha256: String,
    tenant: TenantId,
    at: Instant,
}

/// How long a credential is remembered, and how many.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
const MOST_REMEMBERED: usize = 4096;

impl Remembered {
    /// The request's credential was just found to be this caller's.
    pub fn remember(&self, headers: &HeaderMap, who: &Principal) {
        let Some(credential) = credential(headers) else { return };
        let known = Known { secret_sha256: credential.hash(), tenant: who.tenant.clone(), at: Instant::now() };
        let mut all = self.0.lock();
        if all.len() >= MOST_REMEMBERED {
            all.retain(|_, known| known.at.elapsed() < REMEMBERED_FOR);
        }
        if all.len() < MOST_REMEMBERED {
            all.insert(credential.id, known);
        }
    }

    /// Key and tenant of the request's credential, if that was good a moment ago.
    pub fn find(&self, headers: &HeaderMap) -> Option<(KeyId, TenantId)> {
        let credential = credential(headers)?;
        let hash = credential.hash();
        let all = self.0.lock();
        let known = all.get(&credential.id).filter(|known| known.at.elapsed() < REMEMBERED_FOR)?;
        let same: bool = hash.as_bytes().ct_eq(known.secret_sha256.as_bytes()).into();
        same.then(|| (credential.id, known.tenant.clone()))
    }
}

fn principal(key: ApiKey, now: Timestamp) -> Option<Principal> {
    let live = key.expires_at.is_none_or(|end| end > now);
    live.then_some(Principal { key: key.id, tenant: key.tenant, scopes: key.scopes })
}

/// Whether the caller may do what needs `scope`.
pub(crate) fn require(principal: &Principal, scope: Scope) -> Result<()> {
    if principal.scopes.contains(&scope) {
        return Ok(());
    }
    Err(ApiProblem::new(ErrorCode::Forbidden, format!("this needs the scope {scope}, which the API key does not have")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_reads_back_and_its_hash_is_not_its_secret() {
        let made = Credential::generate(None).unwrap();
        let read = Credential::parse(&made.shown()).unwrap();
        assert_eq!((read.id, &read.secret), (made.id.clone(), &made.secret));
        assert_eq!(made.hash().len(), 64);
        assert!(!made.hash().contains(&made.secret));
    }

    #[test]
    fn a_credential_is_remembered_with_its_secret() {
        let (made, remembered) = (Credential::generate(None).unwrap(), Remembered::default());
        let headers = |shown: &str| -> HeaderMap {
            [(header::AUTHORIZATION, format!("Bearer {shown}").parse().unwrap())].into_iter().collect()
        };
        assert!(remembered.find(&headers(&made.shown())).is_none());
        let tenant = TenantId::new("a").unwrap();
        let who = Principal { key: made.id.clone(), tenant: tenant.clone(), scopes: std::iter::empty().collect() };
        remembered.remember(&headers(&made.shown()), &who);
        assert_eq!(remembered.find(&headers(&made.shown())), Some((made.id.clone(), tenant)));
        let other = Credential::generate(Some(made.id)).unwrap();
        assert!(remembered.find(&headers(&other.shown())).is_none(), "another secret");
    }

    #[test]
    fn ids_may_hold_underscores_and_malformed_keys_are_none() {
        let parsed = Credential::parse("vv_my_ci_key_0123456789abcdef").unwrap();
        assert_eq!(parsed.id.as_str(), "my_ci_key");
        for bad in
            ["", "vv_", "vv_a", "vv_a_short", "xx_a_0123456789abcdef", "vv__0123456789abcdef", "vv_a_0123456789abcde!"]
        {
            assert!(Credential::parse(bad).is_none(), "{bad}");
        }
    }
}
