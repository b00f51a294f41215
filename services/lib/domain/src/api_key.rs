//! API keys: who calls, for which tenant, and what the call may do.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{KeyId, TenantId, Timestamp};

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
    /// SHA-256 of the secret half, hex.
    pub secret_sha256: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its secret was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Timestamp>,
    /// When it ends; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Hashes belong in the store, not in logs.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, tenant {})", self.id, self.tenant)
    }
}

/// Who is calling, once the credential was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The key that was used.
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
            "detect compare embed subjects:read subjects:write identify verify consents erase jobs models train audit keys"
        );
        for s in Scope::ALL {
            assert_eq!(s.as_str().parse::<Scope>().as_ref(), Ok(s));
            assert_eq!(serde_json::to_value(s).unwrap(), s.as_str());
        }
        assert!("admin".parse::<Scope>().is_err());
    }
}
