//! API keys: who calls, for which tenant, and what the call may do.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Cidr, KeyId, Role, TenantId, Timestamp};

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// One area of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum Scope { $($(#[$doc])* #[serde(rename = $text)] $name,)* }

        impl Scope {
            /// Every scope.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The scope as text.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $text,)* } }
        }

        impl FromStr for Scope {
            type Err = String;
            fn from_str(s: &str) -> Result<Self, String> {
                match s { $($text => Ok(Self::$name),)* _ => Err(format!("no scope is named {s:?}")) }
            }
        }
    };
}

scopes! {
    /// Find faces in images.
    Detect = "detect";
    /// Compare images with each other.
    Compare = "compare";
    /// Get embeddings of images.
    Embed = "embed";
    /// Read collections, subjects and faces.
    SubjectsRead = "subjects:read";
    /// Create and change collections, enrol subjects.
    SubjectsWrite = "subjects:write";
    /// Search a collection.
    Identify = "identify";
    /// Compare with one subject.
    Verify = "verify";
    /// Record, list and withdraw consents.
    Consents = "consents";
    /// Delete subjects, faces and collections.
    Erase = "erase";
    /// Follow and cancel jobs.
    Jobs = "jobs";
    /// Read and manage models.
    Models = "models";
    /// Start and follow training runs.
    Train = "train";
    /// Read the audit trail.
    Audit = "audit";
    /// Manage API keys and see the system's state.
    Keys = "keys";
    /// Manage API keys of other tenants, and so make tenants. Beside `keys`; in no role, and never of a key that was
    /// made for another tenant.
    Tenants = "tenants";
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a credential may do.
pub type ScopeSet = BTreeSet<Scope>;

/// A key as it is stored: the secret only as its hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The public half.
    pub id: KeyId,
    /// Whose data the key reaches.
    pub tenant: TenantId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: ScopeSet,
    /// The roles it was made with, for people: their scopes are in `scopes`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<Role>,
    /// Where it may be used from; from anywhere if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidrs: Vec<Cidr>,
    /// SHA-256 of the secret half, hex.
    pub secret_sha256: String,
    /// The secret before the last change, while it is still accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<FormerSecret>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its secret was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Timestamp>,
    /// When it ends; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A secret that was replaced, and is accepted beside the new one for a while.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerSecret {
    /// SHA-256 of the secret half, hex.
    pub secret_sha256: String,
    /// Until when it is accepted.
    pub until: Timestamp,
}

impl ApiKey {
    /// A key without a name, end or restriction, made now.
    #[must_use]
    pub fn new(id: KeyId, tenant: TenantId, scopes: ScopeSet, secret_sha256: String) -> Self {
        Self {
            id,
            tenant,
            name: String::new(),
            scopes,
            roles: BTreeSet::new(),
            cidrs: Vec::new(),
            secret_sha256,
            former: None,
            created_at: Timestamp::now(),
            rotated_at: None,
            expires_at: None,
        }
    }
}

/// Hashes belong in the store, not in logs.
impl fmt::Debug for FormerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FormerSecret(until {})", self.until)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, tenant {})", self.id, self.tenant)
    }
}

/// What the key id of a caller with a token begins with, and no API key's does.
pub const TOKEN_PREFIX: &str = "oidc.";

/// Who is calling, once the credential was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The key that was used; of a token of an identity provider, an opaque name of its subject that begins with
    /// [`TOKEN_PREFIX`].
    pub key: KeyId,
    /// Whose data it reaches.
    pub tenant: TenantId,
    /// What it may do.
    pub scopes: ScopeSet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_have_the_documented_names() {
        let names: Vec<_> = Scope::ALL.iter().map(|s| s.as_str()).collect();
        assert_eq!(
            names.join(" "),
            "detect compare embed subjects:read subjects:write identify verify consents erase jobs models train audit keys tenants"
        );
        for s in Scope::ALL {
            assert_eq!(s.as_str().parse::<Scope>().as_ref(), Ok(s));
            assert_eq!(serde_json::to_value(s).unwrap(), s.as_str());
        }
        assert!("admin".parse::<Scope>().is_err());
    }
}
