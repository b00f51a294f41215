//! An audit trail as a file, one JSON document per line, and its verification without the service: perhaps an anchor
//! (what was trimmed before), the events, the signed head. A changed, removed, added or re-ordered line is found;
//! so is a missing end, by the head.

use domain::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{AUDIT_ANCHOR, AUDIT_HEAD, AuditEvent, ChainHead, EvidenceError, Jwks, SigningKey};

/// Where a tenant's trail ended at a moment, to be signed: as head, or as anchor of what was trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// Whose trail.
    pub tenant: TenantId,
    /// Number of the last event; 0 for none.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
    /// As of when.
    pub time: Timestamp,
}

impl SignedHead {
    /// Signed as the head of a trail.
    ///
    /// # Errors
    /// As [`SigningKey::sign`].
    pub fn as_head(&self, key: &SigningKey) -> Result<String, EvidenceError> {
        key.sign(AUDIT_HEAD, self)
    }

    /// Signed as the anchor of a trail whose beginning was trimmed.
    ///
    /// # Errors
    /// As [`SigningKey::sign`].
    pub fn as_anchor(&self, key: &SigningKey) -> Result<String, EvidenceError> {
        key.sign(AUDIT_ANCHOR, self)
    }

    fn chain(&self) -> ChainHead {
        ChainHead { seq: self.seq, hash: self.hash.clone() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorLine {
    anchor: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadLine {
    head: String,
}

/// The first line of the export of a trimmed trail.
#[must_use]
pub fn anchor_line(signed: &str) -> String {
    serde_json::to_string(&AnchorLine { anchor: signed.to_owned() }).unwrap_or_default()
}

/// The last line of an export.
#[must_use]
pub fn head_line(signed: &str) -> String {
    serde_json::to_string(&HeadLine { head: signed.to_owned() }).unwrap_or_default()
}

/// What the verifier knows from elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// Keys of the service; without them signatures are not looked at.
    pub keys: Option<&'a Jwks>,
    /// A head that was noted: the trail must hold that very event.
    pub head: Option<&'a ChainHead>,
}

/// What was found of a trail that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whose it is; none of an empty one.
    pub tenant: Option<TenantId>,
    /// Number of its events.
    pub events: u64,
    /// Where it begins after: 0, or what was trimmed.
    pub after: u64,
    /// Where it ends.
    pub head: ChainHead,
    /// Whether a signature vouches for its beginning, where something was trimmed, and its end.
    pub signed: bool,
    /// Whether a head noted elsewhere was found in it.
    pub noted: bool,
}

/// Verifies a trail line by line.
#[derive(Debug)]
pub struct Trail<'a> {
    expected: Expected<'a>,
    lines: usize,
    head: ChainHead,
    after: u64,
    tenant: Option<TenantId>,
    events: u64,
    noted: bool,
    ended: bool,
}

impl<'a> Trail<'a> {
    /// Before the first line.
    #[must_use]
    pub fn new(expected: Expected<'a>) -> Self {
        let noted = expected.head.is_some_and(|h| *h == ChainHead::default());
        let head = ChainHead::default();
        Self { expected, lines: 0, head, after: 0, tenant: None, events: 0, noted, ended: false }
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn line(&mut self, text: &str) -> Result<(), EvidenceError> {
        self.lines += 1;
        if self.ended {
            return Err(self.fault("something follows the head, which is the last line"));
        }
        if let Ok(AnchorLine { anchor }) = serde_json::from_str(text) {
            return self.anchor(&anchor);
        }
        if let Ok(HeadLine { head }) = serde_json::from_str(text) {
            return self.end(&head);
        }
        let event: AuditEvent =
            serde_json::from_str(text).map_err(|e| self.fault(&format!("this is no event of an audit trail: {e}")))?;
        self.event(text, &event)
    }

    fn anchor(&mut self, signed: &str) -> Result<(), EvidenceError> {
        if self.lines != 1 {
            return Err(self.fault("an anchor stands in the first line or nowhere"));
        }
        let anchor = self.signed(AUDIT_ANCHOR, signed)?;
        self.head = anchor.chain();
        self.after = anchor.seq;
        self.tenant = Some(anchor.tenant);
        self.note();
        Ok(())
    }

    fn event(&mut self, text: &str, event: &AuditEvent) -> Result<(), EvidenceError> {
        if event.line()? != text {
            return Err(self.fault("the event is not written the way it was hashed"));
        }
        if let Some(fault) = event.fault_after(&self.head)? {
            return Err(self.fault(&fault));
        }
        if self.tenant.as_ref().is_some_and(|t| *t != event.tenant) {
            return Err(self.fault("the event is of another tenant's trail"));
        }
        self.tenant = Some(event.tenant.clone());
        self.head = event.head();
        self.events += 1;
        self.note();
        Ok(())
    }

    fn note(&mut self) {
        self.noted |= self.expected.head.is_some_and(|h| *h == self.head);
    }

    fn end(&mut self, signed: &str) -> Result<(), EvidenceError> {
        let head = self.signed(AUDIT_HEAD, signed)?;
        if head.chain() != self.head {
            let (seq, found) = (head.seq, self.head.seq);
            return Err(self.fault(&format!(
                "the trail ends with event {found}, but the head says event {seq}, or another of that number: events \
                 are missing or were replaced"
            )));
        }
        if self.tenant.as_ref().is_some_and(|t| *t != head.tenant) {
            return Err(self.fault("the head is of another tenant's trail"));
        }
        self.tenant = Some(head.tenant);
        self.ended = true;
        Ok(())
    }

    /// A signed head or anchor; its signature is looked at where there are keys.
    fn signed(&self, typ: &'static str, token: &str) -> Result<SignedHead, EvidenceError> {
        let opened = match self.expected.keys {
            Some(keys) => keys.open(typ, token),
            None => unverified(token),
        };
        opened.map_err(|e| self.fault(&e.to_string()))
    }

    fn fault(&self, fault: &str) -> EvidenceError {
        EvidenceError::Line { line: self.lines, fault: fault.to_owned() }
    }

    /// After the last line.
    ///
    /// # Errors
    /// A trail without its end, or without the head that was noted.
    pub fn finish(self) -> Result<Checked, EvidenceError> {
        if !self.ended {
            let last = self.head.seq;
            return Err(EvidenceError::Trail(format!(
                "the trail breaks off after event {last}: the signed head that ends an export is missing"
            )));
        }
        if let Some(head) = self.expected.head.filter(|_| !self.noted) {
            let why = if head.seq > self.head.seq {
                format!("the trail ends with event {}, the noted head is event {}", self.head.seq, head.seq)
            } else if head.seq < self.after {
                format!("the noted head is event {}, which was trimmed: the trail begins later", head.seq)
            } else {
                format!("event {} of the trail is not the one that was noted", head.seq)
            };
            return Err(EvidenceError::Trail(why));
        }
        Ok(Checked {
            tenant: self.tenant,
            events: self.events,
            after: self.after,
            head: self.head,
            signed: self.expected.keys.is_some(),
            noted: self.expected.head.is_some(),
        })
    }
}

/// Verifies a whole trail.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify_trail<'a>(
    lines: impl IntoIterator<Item = &'a str>,
    expected: Expected<'_>,
) -> Result<Checked, EvidenceError> {
    let mut trail = Trail::new(expected);
    for line in lines {
        trail.line(line)?;
    }
    trail.finish()
}

/// The content of a token whose signature cannot be checked.
fn unverified(token: &str) -> Result<SignedHead, EvidenceError> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let payload = token.split('.').nth(1).ok_or(EvidenceError::Malformed("it does not have three parts"))?;
    let json = URL_SAFE_NO_PAD.decode(payload).map_err(|_| EvidenceError::Malformed("it is not base64url"))?;
    serde_json::from_slice(&json).map_err(|e| EvidenceError::Content(e.to_string()))
}

#[cfg(test)]
mod tests;
