//! Subjects, enrolled faces and consents.

use std::collections::HashMap;

use domain::{Consent, EnrolledFace, Guardian, Metadata, Notice, Purpose, Subject, Timestamp};

use super::{parsed, present};
use crate::{WireError, v1};

/// Labels as the wire carries them.
fn labels(m: &Metadata) -> HashMap<String, String> {
    m.0.clone().into_iter().collect()
}

impl From<&Subject> for v1::Subject {
    fn from(s: &Subject) -> Self {
        Self {
            id: s.id.to_string(),
            external_id: s.external_id.clone(),
            metadata: labels(&s.metadata),
            created_ms: s.created_at.as_millis(),
            updated_ms: s.updated_at.as_millis(),
        }
    }
}

impl TryFrom<v1::Subject> for Subject {
    type Error = WireError;
    fn try_from(s: v1::Subject) -> Result<Self, WireError> {
        Ok(Self {
            id: parsed(&s.id, "subject.id")?,
            external_id: s.external_id,
            metadata: Metadata(s.metadata.into_iter().collect()),
            created_at: Timestamp::from_millis(s.created_ms),
            updated_at: Timestamp::from_millis(s.updated_ms),
        })
    }
}

impl From<&EnrolledFace> for v1::EnrolledFace {
    fn from(f: &EnrolledFace) -> Self {
        Self {
            id: f.id.to_string(),
            subject_id: f.subject_id.to_string(),
            face: Some((&f.face).into()),
            contract: f.contract.to_string(),
            created_ms: f.created_at.as_millis(),
        }
    }
}

impl TryFrom<v1::EnrolledFace> for EnrolledFace {
    type Error = WireError;
    fn try_from(f: v1::EnrolledFace) -> Result<Self, WireError> {
        Ok(Self {
            id: parsed(&f.id, "face.id")?,
            subject_id: parsed(&f.subject_id, "face.subject_id")?,
            face: present(f.face, "face.face")?.try_into()?,
            contract: parsed(&f.contract, "face.contract")?,
            created_at: Timestamp::from_millis(f.created_ms),
        })
    }
}

impl From<&Consent> for v1::Consent {
    fn from(c: &Consent) -> Self {
        let notice =
            |n: &Notice| v1::Notice { version: n.version.clone(), sha256: n.sha256.clone(), lang: n.lang.clone() };
        let guardian = |g: &Guardian| v1::Guardian { reference: g.reference.clone(), relation: g.relation.clone() };
        Self {
            id: c.id.to_string(),
            collection_id: c.collection_id.to_string(),
            subject_id: c.subject_id.to_string(),
            purposes: c.purposes.iter().map(Purpose::to_string).collect(),
            method: c.method.clone(),
            kind: c.kind.clone(),
            training_allowed: c.training_allowed,
            notice: c.notice.as_ref().map(notice),
            minor: c.minor,
            guardian: c.guardian.as_ref().map(guardian),
            obtained_ms: c.obtained_at.as_millis(),
            expires_ms: c.expires_at.map(Timestamp::as_millis),
            recorded_ms: c.recorded_at.as_millis(),
            withdrawn_ms: c.withdrawn_at.map(Timestamp::as_millis),
        }
    }
}

impl TryFrom<v1::Consent> for Consent {
    type Error = WireError;
    fn try_from(c: v1::Consent) -> Result<Self, WireError> {
        Ok(Self {
            id: parsed(&c.id, "consent.id")?,
            collection_id: parsed(&c.collection_id, "consent.collection_id")?,
            subject_id: parsed(&c.subject_id, "consent.subject_id")?,
            purposes: c.purposes.iter().map(|p| parsed(p, "consent.purposes")).collect::<Result<_, _>>()?,
            method: c.method,
            kind: c.kind,
            training_allowed: c.training_allowed,
            notice: c.notice.map(|n| Notice { version: n.version, sha256: n.sha256, lang: n.lang }),
            minor: c.minor,
            guardian: c.guardian.map(|g| Guardian { reference: g.reference, relation: g.relation }),
            obtained_at: Timestamp::from_millis(c.obtained_ms),
            expires_at: c.expires_ms.map(Timestamp::from_millis),
            recorded_at: Timestamp::from_millis(c.recorded_ms),
            withdrawn_at: c.withdrawn_ms.map(Timestamp::from_millis),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ConsentDraft;

    #[test]
    fn consents_and_subjects_come_back_as_they_went() {
        let draft = ConsentDraft {
            purposes: vec!["access_control".parse().unwrap()],
            method: "signed_form".into(),
            kind: Some("explicit".into()),
            training_allowed: true,
            notice: Some(Notice { version: "3".into(), sha256: None, lang: Some("de".into()) }),
            minor: true,
            guardian: Some(Guardian { reference: "g1".into(), relation: "parent".into() }),
            obtained_at: None,
            expires_at: Some(Timestamp::from_millis(9)),
        };
        let c = draft.record("staff".parse().unwrap(), "p1".parse().unwrap(), Timestamp::from_millis(5));
        assert_eq!(Consent::try_from(v1::Consent::from(&c)), Ok(c));

        let s = Subject {
            id: "p1".parse().unwrap(),
            external_id: Some("x".into()),
            metadata: Metadata([("a".to_owned(), "b".to_owned())].into()),
            created_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(2),
        };
        assert_eq!(Subject::try_from(v1::Subject::from(&s)), Ok(s));
    }

    #[test]
    fn ids_are_checked_on_the_way_in() {
        let m = v1::Subject { id: "../x".into(), ..Default::default() };
        assert_eq!(Subject::try_from(m), Err(WireError::Field { field: "subject.id" }));
    }
}
