//! Roles: named sets of scopes, for people who give out credentials.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Scope, ScopeSet};

/// A set of scopes with a name. It is resolved when a credential is made or a token is read; what a key may do does not
/// grow when a later version adds scopes to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Recognises and reads, changes nothing that is enrolled: `detect compare embed subjects:read identify verify
    /// jobs`.
    Reader,
    /// What a reader may, and enrol, record consents, erase: `subjects:write consents erase`.
    Operator,
    /// Everything within the tenant: what an operator may, and `models train audit keys`.
    Admin,
}

impl Role {
    /// Every role, the one with the least scopes first.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Operator, Self::Admin];

    /// The role as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// What it may do.
    #[must_use]
    pub fn scopes(self) -> ScopeSet {
        Scope::ALL.iter().copied().filter(|s| Self::least_with(*s).is_some_and(|least| self >= least)).collect()
    }

    /// The least role that has a scope.
    const fn least_with(scope: Scope) -> Option<Self> {
        Some(match scope {
            Scope::Detect
            | Scope::Compare
            | Scope::Embed
            | Scope::SubjectsRead
            | Scope::Identify
            | Scope::Verify
            | Scope::Jobs => Self::Reader,
            Scope::SubjectsWrite | Scope::Consents | Scope::Erase => Self::Operator,
            Scope::Models | Scope::Train | Scope::Audit | Scope::Keys => Self::Admin,
            // Reaches beyond a tenant.
            Scope::Tenants => return None,
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|r| r.as_str() == s).ok_or_else(|| format!("no role is named {s:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(role: Role) -> String {
        role.scopes().iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn roles_are_the_documented_scope_sets() {
        assert_eq!(scopes(Role::Reader), "detect compare embed subjects:read identify verify jobs");
        assert_eq!(
            scopes(Role::Operator),
            "detect compare embed subjects:read subjects:write identify verify consents erase jobs"
        );
        let all: ScopeSet = Scope::ALL.iter().copied().filter(|s| *s != Scope::Tenants).collect();
        assert_eq!(Role::Admin.scopes(), all, "no role reaches beyond its tenant");
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
    }
}
