//! Who calls: `Authorization: Bearer vv_<id>_<secret>` against the stored hash, or a token of an identity provider. Keys
//! are read from the store on every request, so a deleted or rotated key is refused at once on every gateway.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use domain::{ApiKey, ErrorCode, KeyId, Principal, Scope, TOKEN_PREFIX, TenantId, Timestamp};
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::{
    problem::{ApiProblem, Result},
    state::AppState,
};

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
        (fine && !id.starts_with(TOKEN_PREFIX)).then_some(())?;
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

/// Finds who calls, from the address `from`. Unknown keys and wrong secrets are answered alike, after the same work.
pub(crate) async fn authenticate(app: &AppState, headers: &HeaderMap, from: Option<IpAddr>) -> Result<Principal> {
    let refused = |detail: &str| ApiProblem::new(ErrorCode::Unauthenticated, detail);
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(refused("send the header Authorization: Bearer vv_<id>_<secret>"));
    }
    let now = Timestamp::now();
    if let Some(token) = bearer(headers).filter(|t| !t.starts_with(PREFIX) && app.oidc.takes(t)) {
        return app.oidc.authenticate(token, now).await;
    }
    let credential = credential(headers).ok_or_else(|| {
        let or_token = if app.oidc.is_configured() { ", nor a token (JWT)" } else { "" };
        refused(&format!("the Authorization header holds no key of the form vv_<id>_<secret>{or_token}"))
    })?;
    let found = app.keys.get(&credential.id).await?.map(|k| k.value);
    let same = accepts(found.as_ref(), &credential.hash(), now);
    let key = found.filter(|_| same).ok_or_else(|| refused("the API key is not known, or its secret is wrong"))?;
    if key.expires_at.is_some_and(|end| end <= now) {
        return Err(refused("the API key has expired"));
    }
    if !key.cidrs.is_empty() && !from.is_some_and(|address| key.cidrs.iter().any(|c| c.contains(address))) {
        let detail = "this API key may not be used from the address the request comes from";
        return Err(ApiProblem::new(ErrorCode::Forbidden, detail));
    }
    Ok(Principal { key: key.id, tenant: key.tenant, scopes: key.scopes })
}

/// Whether a secret with this hash is the key's present one, or its former one while that is still accepted. The same
/// comparisons are made whatever there is to compare with: against nothing they run with a hash that cannot match.
fn accepts(key: Option<&ApiKey>, hash: &str, now: Timestamp) -> bool {
    let former = key.and_then(|k| k.former.as_ref()).filter(|f| f.until > now);
    let stored = [key.map(|k| k.secret_sha256.as_str()), former.map(|f| f.secret_sha256.as_str())];
    let same = stored.into_iter().fold(Choice::from(0), |same, stored| {
        let mut expected = [0; 64];
        if let Some(stored) = stored.filter(|s| s.len() == expected.len()) {
            expected.copy_from_slice(stored.as_bytes());
        }
        same | hash.as_bytes().ct_eq(&expected)
    });
    same.into()
}

/// The credential a request brings, if it has the form of a key.
fn credential(headers: &HeaderMap) -> Option<Credential> {
    Credential::parse(bearer(headers)?)
}

/// What comes after `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
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

/// Whether the caller may do what needs `scope`.
pub(crate) fn require(principal: &Principal, scope: Scope) -> Result<()> {
    if principal.scopes.contains(&scope) {
        return Ok(());
    }
    Err(ApiProblem::new(
        ErrorCode::Forbidden,
        format!("this needs the scope {scope}, which the credential does not have"),
    ))
}

#[cfg(test)]
mod tests {
    use domain::FormerSecret;

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
        assert!(Credential::parse("vv_oidc.a_0123456789abcdef").is_none(), "the name of a token's subject");
    }

    #[test]
    fn a_former_secret_is_accepted_until_its_time_is_over() {
        let (now, hash) = (Timestamp::from_millis(1_000), |c: &str| c.repeat(64));
        let mut key = ApiKey::new("k".parse().unwrap(), "t".parse().unwrap(), [Scope::Keys].into(), hash("a"));
        assert!(accepts(Some(&key), &hash("a"), now) && !accepts(Some(&key), &hash("b"), now));
        key.former = Some(FormerSecret { secret_sha256: hash("b"), until: Timestamp::from_millis(1_001) });
        assert!(accepts(Some(&key), &hash("a"), now) && accepts(Some(&key), &hash("b"), now));
        assert!(!accepts(Some(&key), &hash("b"), Timestamp::from_millis(1_001)));
        assert!(!accepts(None, &hash("a"), now));
        key.secret_sha256 = String::new();
        assert!(!accepts(Some(&key), "", now) && !accepts(Some(&key), &"\0".repeat(64), now));
    }
}
