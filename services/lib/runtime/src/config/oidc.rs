//! `[oidc]`: identity providers whose tokens are accepted, and the rules their settings must keep. What each key means
//! stands in `default.toml`.

use std::{collections::BTreeMap, path::PathBuf};

use domain::{Role, Scope, ScopeSet, TenantId};
use serde::{Deserialize, Serialize};

use super::{Config, validate::Broken};

const KEY: &str = "oidc.issuers";

/// `[oidc]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSection {
    /// Identity providers.
    pub issuers: Vec<IssuerSection>,
}

/// One of `[[oidc.issuers]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSection {
    /// Its name in tokens.
    pub issuer: String,
    /// Names of this service in tokens.
    pub audiences: Vec<String>,
    /// Where its keys are; found by discovery if neither this nor the file is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// File with its keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// Certificates to trust, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Signature algorithms.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<SignatureAlgorithm>,
    /// Tenant of all tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Claim that names the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_claim: Option<String>,
    /// Tenants the claim may name; any if empty.
    #[serde(default)]
    pub tenants: Vec<TenantId>,
    /// Claim with scopes; none if empty.
    #[serde(default = "scopes_claim")]
    pub scopes_claim: String,
    /// Claim with the provider's roles or groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles_claim: Option<String>,
    /// What each of them is here: roles and scopes.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
    /// How far clocks may be apart, in milliseconds.
    #[serde(default = "leeway")]
    pub leeway_ms: u64,
    /// How often keys are fetched, in milliseconds.
    #[serde(default = "refresh")]
    pub refresh_ms: u64,
    /// Least time between fetches that unknown keys cause, in milliseconds.
    #[serde(default = "cooldown")]
    pub cooldown_ms: u64,
    /// How long keys are used without a fetch that succeeds, in milliseconds.
    #[serde(default = "kept")]
    pub keys_kept_ms: u64,
}

/// How a token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignatureAlgorithm {
    /// RSA.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

fn algorithms() -> Vec<SignatureAlgorithm> {
    vec![SignatureAlgorithm::Rs256, SignatureAlgorithm::Es256, SignatureAlgorithm::EdDsa]
}

fn scopes_claim() -> String {
    "scope".into()
}

const fn leeway() -> u64 {
    60_000
}

const fn refresh() -> u64 {
    600_000
}

const fn cooldown() -> u64 {
    30_000
}

const fn kept() -> u64 {
    86_400_000
}

impl IssuerSection {
    /// The scopes of each of the provider's roles.
    ///
    /// # Errors
    /// The first name that is neither a role nor a scope.
    pub fn role_scopes(&self) -> Result<BTreeMap<String, ScopeSet>, String> {
        let scopes = |name: &String| -> Result<ScopeSet, String> {
            let role = name.parse::<Role>().map(Role::scopes);
            role.or_else(|_| name.parse::<Scope>().map(|s| [s].into()))
                .map_err(|_| format!("{name:?} is neither a role (reader, operator, admin) nor a scope"))
        };
        let all = |names: &Vec<String>| -> Result<ScopeSet, String> {
            names.iter().try_fold(ScopeSet::new(), |mut sum, name| {
                sum.extend(scopes(name)?);
                Ok(sum)
            })
        };
        self.roles.iter().map(|(name, given)| Ok((name.clone(), all(given)?))).collect()
    }

    /// What is wrong with it.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut unless = |fine: bool, fault: &str| {
            if !fine {
                faults.push(fault.to_owned());
            }
        };
        let https = |url: &str| url.starts_with("https://") && url.len() > "https://".len();
        unless(!self.issuer.is_empty(), "issuer must not be empty");
        unless(
            !self.audiences.is_empty() && self.audiences.iter().all(|a| !a.is_empty()),
            "audiences must name this service as tokens do",
        );
        unless(self.jwks_url.is_none() || self.jwks_file.is_none(), "give jwks_url or jwks_file, not both");
        unless(self.jwks_url.as_deref().is_none_or(https), "jwks_url must begin with https://");
        let discovers = self.jwks_url.is_none() && self.jwks_file.is_none();
        unless(
            !discovers || https(&self.issuer),
            "without jwks_url and jwks_file the issuer must be an address that begins with https://",
        );
        unless(!self.algorithms.is_empty(), "algorithms must not be empty");
        unless(self.tenant.is_some() != self.tenant_claim.is_some(), "give tenant or tenant_claim, one of the two");
        unless(self.tenants.is_empty() || self.tenant_claim.is_some(), "tenants goes with tenant_claim");
        unless(self.roles.is_empty() || self.roles_claim.is_some(), "roles goes with roles_claim");
        let grants = !self.scopes_claim.is_empty() || !self.roles.is_empty();
        unless(grants, "no token could do anything: give scopes_claim, or roles_claim and roles");
        unless(self.leeway_ms <= 300_000, "leeway_ms must be at most 300000");
        unless(self.refresh_ms >= 1_000, "refresh_ms must be at least 1000");
        unless(self.cooldown_ms >= 100, "cooldown_ms must be at least 100");
        unless(self.keys_kept_ms > self.refresh_ms, "keys_kept_ms must be more than refresh_ms");
        faults.extend(self.role_scopes().err());
        faults
    }
}

/// Rules that the section breaks.
pub(super) fn broken_rules(config: &Config, broken: &mut Vec<Broken>) {
    let issuers = &config.oidc.issuers;
    for (n, issuer) in issuers.iter().enumerate() {
        let mut faults = issuer.faults();
        if issuers[..n].iter().any(|other| other.issuer == issuer.issuer) {
            faults.push("is there twice".into());
        }
        broken.extend(faults.into_iter().map(|fault| (KEY, format!("{}: {fault}", issuer.issuer))));
    }
}
