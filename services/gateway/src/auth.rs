//! Who calls: `Authorization: Bearer vv_<id>_<secret>` against the stored hash. Keys are read from the store on every
//! request, so a deleted or rotated key is refused at once on every gateway.

use axum::http::{HeaderMap, header};
use domain::{ApiKey, ErrorCode, KeyId, Principal, Scope, Timestamp};
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
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(refused("send the header Authorization: Bearer vv_<id>_<secret>"));
    };
    let token = value.to_str().ok().and_then(|v| v.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, t)| t.trim());
    let credential = token.and_then(Credential::parse);
    let credential =
        credential.ok_or_else(|| refused("the Authorization header holds no key of the form vv_<id>_<secret>"))?;
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
