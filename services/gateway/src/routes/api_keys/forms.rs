//! What requests about API keys bring, and how a key is shown.

use std::{collections::BTreeSet, time::Duration};

use domain::{ApiKey, Cidr, KeyId, Problem, Role, Scope, ScopeSet, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// More ranges are a list that nobody keeps in order.
const MOST_CIDRS: usize = 64;
/// Longest time for which two secrets are accepted.
const MOST_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A key to be made, with scopes or roles or both.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// What it may do: scopes that the caller has too.
    #[serde(default)]
    pub scopes: BTreeSet<Scope>,
    /// Roles, which stand for their scopes.
    #[serde(default)]
    pub roles: BTreeSet<Role>,
    /// Addresses it may be used from, such as `10.0.0.0/8` or `2001:db8::/32`; from anywhere unless said. Behind a
    /// proxy it is the address that the proxy tells, if the service is set up to trust it.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 64)]
    pub cidrs: Vec<Cidr>,
    /// When it ends; never unless said.
    pub expires_at: Option<Timestamp>,
    /// The tenant it is for: the caller's unless said; another one needs the scope `tenants`. A tenant begins with its
    /// first key.
    pub tenant: Option<TenantId>,
}

impl NewKey {
    /// What it may do, if the form is fine.
    pub fn checked(&self, now: Timestamp) -> Result<ScopeSet, Problem> {
        if self.name.trim().is_empty() || self.name.chars().count() > 200 {
            return Err(Problem::invalid("/name", "has 1 to 200 characters"));
        }
        let scopes: ScopeSet = self.roles.iter().flat_map(|r| r.scopes()).chain(self.scopes.iter().copied()).collect();
        if scopes.is_empty() {
            return Err(Problem::invalid("/scopes", "name at least one scope or role"));
        }
        if self.cidrs.len() > MOST_CIDRS {
            return Err(Problem::invalid("/cidrs", format!("may have at most {MOST_CIDRS} entries")));
        }
        if self.expires_at.is_some_and(|t| t <= now) {
            return Err(Problem::invalid("/expires_at", "lies in the past"));
        }
        Ok(scopes)
    }
}

/// How a secret is changed.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateKey {
    /// How long the old secret is accepted beside the new one; not at all unless said.
    #[serde(default)]
    #[schema(maximum = 604_800)]
    grace_seconds: u32,
}

impl RotateKey {
    /// How long both secrets are accepted.
    pub fn grace(&self) -> Result<Duration, Problem> {
        let grace = Duration::from_secs(self.grace_seconds.into());
        if grace > MOST_GRACE {
            let detail = format!("must be at most {} (seven days)", MOST_GRACE.as_secs());
            return Err(Problem::invalid("/grace_seconds", detail));
        }
        Ok(grace)
    }
}

/// Whose key.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfTenant {
    /// The key's tenant: the caller's unless said; another one needs the scope `tenants`.
    pub tenant: Option<TenantId>,
}

/// Which keys.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KeyQuery {
    /// Most items to return, 1 to 100; 50 unless said.
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Whose: the caller's tenant unless said; another one needs the scope `tenants`.
    pub tenant: Option<TenantId>,
}

/// A key as it is shown; never its secret.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct KeyAnswer {
    /// Its public half.
    pub id: KeyId,
    /// Whose data it reaches.
    tenant: TenantId,
    /// For people.
    name: String,
    /// What it may do, the roles' scopes among them.
    scopes: BTreeSet<Scope>,
    /// Roles it was made with.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    roles: BTreeSet<Role>,
    /// Where it may be used from; from anywhere if absent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    cidrs: Vec<Cidr>,
    /// When it was made.
    created_at: Timestamp,
    /// When its secret was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated_at: Option<Timestamp>,
    /// Until when the secret before that is accepted too.
    #[serde(skip_serializing_if = "Option::is_none")]
    former_accepted_until: Option<Timestamp>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// A key with its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct SecretAnswer {
    /// The key.
    #[serde(flatten)]
    pub key: KeyAnswer,
    /// `vv_<id>_<secret>`, shown this once. A repetition under the same idempotency key does not show it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl From<ApiKey> for KeyAnswer {
    fn from(k: ApiKey) -> Self {
        let ApiKey { id, tenant, name, scopes, roles, cidrs, former, created_at, rotated_at, expires_at, .. } = k;
        let former_accepted_until = former.map(|f| f.until).filter(|until| *until > Timestamp::now());
        Self { id, tenant, name, scopes, roles, cidrs, created_at, rotated_at, former_accepted_until, expires_at }
    }
}
