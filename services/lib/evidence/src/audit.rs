//! Events of the audit trail and their chain: each holds the hash of the one before, and its own hash covers every byte
//! of it. The store appends them, the gateway shows them, `export.rs` verifies them.

use std::str::FromStr;

use domain::{CollectionId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::EvidenceError;

/// Hashed before the event, so that no other document has its hash.
const DOMAIN: &[u8] = b"visavis-audit-v1\n";

/// What happened, before it has its place in the chain. Never holds a name, a vector or a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditDraft {
    /// When.
    pub time: Timestamp,
    /// Who: `key:ID`, or `service` for what it does by itself.
    pub actor: String,
    /// What: method and route, or the name of what the service did by itself.
    pub action: String,
    /// In which collection.
    pub collection: Option<CollectionId>,
    /// About which subjects, as handles.
    pub subjects: Vec<String>,
    /// Further subjects that are not listed.
    pub more_subjects: u64,
    /// Decisions of identifications and verifications, in order.
    pub decisions: Vec<String>,
    /// `ok`, or the code of the problem.
    pub outcome: String,
    /// HTTP status of the answer, where there was one.
    pub status: Option<u16>,
    /// The job, erasure or consent that came of it.
    pub reference: Option<String>,
    /// The request, as logs name it.
    pub request_id: Option<String>,
}

/// An event in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AuditEvent {
    /// Counts the tenant's events from 1.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// Whose trail this is.
    pub tenant: TenantId,
    /// Who: `key:ID`, or `service` for what it does by itself.
    pub actor: String,
    /// What: method and route, or the name of what the service did by itself.
    pub action: String,
    /// In which collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<CollectionId>,
    /// About which subjects: handles, which tell nothing without the store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// Further subjects that are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_subjects: u64,
    /// Decisions of identifications and verifications, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<String>,
    /// `ok`, or the code of the problem.
    pub outcome: String,
    /// HTTP status of the answer, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The job, erasure or consent that came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The request, as logs name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Hash of the event before; zeros for the first.
    pub prev: String,
    /// SHA-256 of this event without this member, hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// Number of the last event; 0 before the first.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl Default for ChainHead {
    fn default() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }
}

impl FromStr for ChainHead {
    type Err = EvidenceError;

    /// Reads `SEQ:HASH`.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parsed = s.trim().split_once(':').and_then(|(seq, hash)| {
            let fine = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            Some(Self { seq: seq.parse().ok()?, hash: fine.then(|| hash.to_owned())? })
        });
        parsed.ok_or_else(|| EvidenceError::Trail("a head has the form SEQ:HASH, the hash in 64 hex digits".into()))
    }
}

impl AuditEvent {
    /// The event that follows `head`.
    ///
    /// # Errors
    /// [`EvidenceError::Content`] for what has no JSON form.
    pub fn after(head: &ChainHead, tenant: &TenantId, draft: AuditDraft) -> Result<Self, EvidenceError> {
        let mut event = Self {
            seq: head.seq + 1,
            time: draft.time,
            tenant: tenant.clone(),
            actor: draft.actor,
            action: draft.action,
            collection: draft.collection,
            subjects: draft.subjects,
            more_subjects: draft.more_subjects,
            decisions: draft.decisions,
            outcome: draft.outcome,
            status: draft.status,
            reference: draft.reference,
            request_id: draft.request_id,
            prev: head.hash.clone(),
            hash: String::new(),
        };
        event.hash = event.computed()?;
        Ok(event)
    }

    /// The hash it must have.
    ///
    /// # Errors
    /// [`EvidenceError::Content`].
    pub fn computed(&self) -> Result<String, EvidenceError> {
        let bare = Self { hash: String::new(), ..self.clone() };
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(bare.line()?);
        Ok(hex::encode(hash.finalize()))
    }

    /// Why it is not the event that follows `head`; nothing if it is.
    ///
    /// # Errors
    /// [`EvidenceError::Content`].
    pub(crate) fn fault_after(&self, head: &ChainHead) -> Result<Option<String>, EvidenceError> {
        let (seq, wanted) = (self.seq, head.seq + 1);
        Ok(if seq != wanted {
            Some(format!("event {seq} stands where event {wanted} belongs"))
        } else if self.prev != head.hash {
            Some("the event does not follow the one before: one of them was changed or replaced".to_owned())
        } else if self.computed()? != self.hash {
            Some("the event was changed: its hash is another".to_owned())
        } else {
            None
        })
    }

    /// The one way to write it: members in the order above, no space, nothing that is empty.
    ///
    /// # Errors
    /// [`EvidenceError::Content`].
    pub fn line(&self) -> Result<String, EvidenceError> {
        serde_json::to_string(self).map_err(|e| EvidenceError::Content(e.to_string()))
    }

    /// Where the chain ends with this event.
    #[must_use]
    pub fn head(&self) -> ChainHead {
        ChainHead { seq: self.seq, hash: self.hash.clone() }
    }
}
