//! Which identity providers are believed, and what their tokens are worth here. Built by the binary from its settings.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use domain::{ScopeSet, TenantId};

/// One identity provider.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// Its name, as tokens give it under `iss`, to the letter.
    pub issuer: String,
    /// Names of this service: a token must be meant for one of them (`aud`).
    pub audiences: Vec<String>,
    /// Where its public keys are.
    pub keys: KeySource,
    /// Certificates to trust when fetching, PEM; the system's if absent.
    pub ca_file: Option<PathBuf>,
    /// Signature algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// Whose data a token reaches.
    pub tenant: TenantRule,
    /// What a token may do.
    pub grants: Grants,
    /// How far the issuer's clock may be from this one's.
    pub leeway: Duration,
    /// How often keys are fetched.
    pub refresh: Duration,
    /// Least time between two fetches that tokens with an unknown key cause.
    pub cooldown: Duration,
    /// How long keys are used after the last fetch that succeeded.
    pub kept: Duration,
}

/// Where an issuer's keys (a JSON Web Key Set) are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Where `ISSUER/.well-known/openid-configuration` says.
    Discovery,
    /// At this address, `https` only.
    Url(String),
    /// In this file, for sites without a network.
    File(PathBuf),
}

/// How a token's tenant is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantRule {
    /// Every token of the issuer is of this tenant.
    Fixed(TenantId),
    /// The claim names it.
    Claim {
        /// Name of the claim; a path with dots leads into objects.
        path: String,
        /// Tenants that the issuer may name; any if empty.
        allowed: Vec<TenantId>,
    },
}

/// How a token's scopes are found: what both ways give is added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Claim with scopes by their own names, as text with spaces or a list. Names of other things are passed over.
    pub scopes_claim: Option<String>,
    /// Claim with the issuer's roles or groups, as a list or text with spaces.
    pub roles_claim: Option<String>,
    /// What each of them may do here.
    pub roles: BTreeMap<String, ScopeSet>,
}

/// A signature algorithm (RFC 7518, 8037). None that shares a secret, and no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// ECDSA on P-256, SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// Its name in a token's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}
