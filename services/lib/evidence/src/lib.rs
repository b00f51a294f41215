//! What proves itself without the service: erasure receipts with their signatures, and the audit trail as a chain of
//! hashes. Pure: the store keeps it, the gateway signs and shows it, the command line verifies it offline.

mod audit;
mod error;
mod export;
mod jws;
mod page;
mod receipt;

pub use audit::{AuditDraft, AuditEvent, ChainHead};
pub use error::EvidenceError;
pub use export::{Checked, Expected, SignedHead, Trail, anchor_line, head_line, verify_trail};
pub use jws::{Jwk, Jwks, SigningKey};
pub use page::{pack_events, unpack_events};
pub use receipt::{ErasedSubject, Extent, Place, Receipt, Removed, SubjectOutcome, Verification, subject_digest};

/// `typ` of a signed receipt.
pub const RECEIPT: &str = "visavis-receipt+jws";
/// `typ` of a signed head of an audit trail.
pub const AUDIT_HEAD: &str = "visavis-audit-head+jws";
/// `typ` of the signed end of what was trimmed from an audit trail.
pub const AUDIT_ANCHOR: &str = "visavis-audit-anchor+jws";
