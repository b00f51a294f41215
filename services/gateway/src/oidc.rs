//! Callers with a token of an identity provider (OpenID Connect): its signature, issuer, audience and times are checked,
//! its claims become tenant and scopes. Called by `auth`, where a credential is no API key.
//!
//! A token is checked with the keys of the issuer it names and with nothing it brings along: see
//! [ADR 20](../../adr/0020-identity-by-keys-and-tokens.md).

mod claims;
mod config;
mod fetch;
mod jwks;
mod jws;
mod keys;

use std::sync::Arc;

use domain::{ErrorCode, KeyId, Principal, TOKEN_PREFIX, Timestamp};
use futures::future::join_all;
use serde_json::Value;
use store::Pepper;

pub use config::{Algorithm, Grants, IssuerConfig, KeySource, TenantRule};

use self::{jwks::KeySet, jws::Token, keys::Keys};
use crate::problem::{ApiProblem, Result};

/// An identity provider that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("identity provider {issuer}: {reason}")]
pub struct OidcError {
    /// Which.
    pub issuer: String,
    /// Why.
    pub reason: String,
}

impl OidcError {
    /// The code a caller would see; nobody does, since the process does not start.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::Internal
    }
}

/// The identity providers that are believed.
pub(crate) struct Oidc {
    issuers: Vec<Issuer>,
    pepper: Pepper,
}

struct Issuer {
    config: IssuerConfig,
    keys: Arc<Keys>,
}

impl Oidc {
    /// Reads the certificates to trust; keys are fetched by [`Oidc::follow`].
    pub fn new(configs: &[IssuerConfig], pepper: Pepper) -> Result<Self, OidcError> {
        let issuer = |config: &IssuerConfig| {
            let keys = Keys::new(config).map_err(|reason| OidcError { issuer: config.issuer.clone(), reason })?;
            Ok(Issuer { config: config.clone(), keys: Arc::new(keys) })
        };
        Ok(Self { issuers: configs.iter().map(issuer).collect::<Result<_, OidcError>>()?, pepper })
    }

    /// Whether a credential is for this module: there are identity providers, and it has the form of a token.
    pub fn takes(&self, credential: &str) -> bool {
        !self.issuers.is_empty() && jws::resembles(credential)
    }

    /// Whether there is an identity provider at all.
    pub fn is_configured(&self) -> bool {
        !self.issuers.is_empty()
    }

    /// Keeps all keys fresh; runs until it is dropped.
    pub async fn follow(&self) {
        join_all(self.issuers.iter().map(|i| i.keys.clone().follow())).await;
    }

    /// Who calls with this token.
    pub async fn authenticate(&self, token: &str, now: Timestamp) -> Result<Principal> {
        let refused = |detail: &str| ApiProblem::new(ErrorCode::Unauthenticated, detail);
        let token = Token::parse(token).map_err(refused)?;
        let named = token.claims.get("iss").and_then(Value::as_str);
        let issuer = self.issuers.iter().find(|i| Some(i.config.issuer.as_str()) == named);
        let issuer =
            issuer.ok_or_else(|| refused("the token is of an identity provider that is not known here (iss)"))?;
        issuer.verify(&token).await?;
        let subject = claims::check(&issuer.config, &token.claims, now).map_err(refused)?;
        let name = format!("{TOKEN_PREFIX}{}", self.pepper.pseudonym(&issuer.config.issuer, subject));
        Ok(Principal {
            key: KeyId::new(name).map_err(|e| ApiProblem::new(ErrorCode::Internal, e.to_string()))?,
            tenant: claims::tenant(&issuer.config.tenant, &token.claims)?,
            scopes: claims::scopes(&issuer.config.grants, &token.claims),
        })
    }
}

impl Issuer {
    /// Whether this issuer signed the token, with a key it has now and an algorithm that is accepted.
    async fn verify(&self, token: &Token<'_>) -> Result<()> {
        let refused = |detail: &str| ApiProblem::new(ErrorCode::Unauthenticated, detail);
        let accepted = self.config.algorithms.iter().find(|a| a.name() == token.algorithm);
        let algorithm = *accepted.ok_or_else(|| refused("the token's signature algorithm is not accepted (alg)"))?;
        let holds = |set: &KeySet| {
            let key = set.find(token.key_id.as_deref(), algorithm)?;
            Some(key.verifies(token.signed, &token.signature))
        };
        let held = match self.keys.known().as_deref().and_then(holds) {
            Some(held) => held,
            // The key may be new.
            None => self.keys.looked_up().await.as_deref().and_then(holds).ok_or_else(|| self.no_key())?,
        };
        if held { Ok(()) } else { Err(refused("the token's signature is wrong")) }
    }

    /// The refusal of a token whose key is not known after a look.
    fn no_key(&self) -> ApiProblem {
        if self.keys.failing() {
            let detail = "the keys of the token's identity provider cannot be had at present";
            return ApiProblem::new(ErrorCode::IssuerUnavailable, detail);
        }
        let detail = "the identity provider has no such key (kid) for this algorithm";
        ApiProblem::new(ErrorCode::Unauthenticated, detail)
    }
}
