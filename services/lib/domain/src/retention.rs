//! Retention: how long a collection keeps its subjects, and which of them are due to be erased. Pure rules; the store
//! gathers what they need, the gateway's sweep carries them out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Collection, Consent, ConsentStatus, Problem, SubjectId, Timestamp, consent::days};

/// How long subjects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days after enrolment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_days: Option<u32>,
    /// Days after the last match or enrolment. Matches are noted by the day, so that a subject stays up to one day longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_days: Option<u32>,
}

impl Retention {
    /// Checks the policy itself.
    ///
    /// # Errors
    /// `invalid_request` naming the field below `at`.
    pub fn check(&self, at: &str) -> Result<(), Problem> {
        for (name, days) in [("max_age_days", self.max_age_days), ("idle_days", self.idle_days)] {
            if days == Some(0) {
                return Err(Problem::invalid(format!("{at}/{name}"), "must be at least 1"));
            }
        }
        Ok(())
    }
}

/// Why a subject is to be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DueReason {
    /// Enrolled longer ago than `max_age_days`.
    MaxAge,
    /// Neither matched nor enrolled for `idle_days`.
    Idle,
    /// No consent is in force for any of the collection's purposes, and the end of one has passed.
    ConsentExpired,
}

impl DueReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::MaxAge, Self::Idle, Self::ConsentExpired];

    /// The reason as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxAge => "max_age",
            Self::Idle => "idle",
            Self::ConsentExpired => "consent_expired",
        }
    }
}

/// A subject that is to be erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Due {
    /// Which.
    pub subject_id: SubjectId,
    /// Why; at least one reason.
    pub reasons: Vec<DueReason>,
}

/// What is known of a subject when it is decided whether to keep it.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// When it was enrolled.
    pub enrolled_at: Timestamp,
    /// When it was last noted as matched, or as given further faces.
    pub seen_at: Option<Timestamp>,
    /// All its consents.
    pub consents: &'a [Consent],
}

/// How much later than noted a subject may have been seen last: it is noted once in so long.
pub const SEEN_EVERY: Duration = Duration::from_secs(24 * 3600);

impl Collection {
    /// Why a subject is due at `now`; empty if it is to be kept.
    #[must_use]
    pub fn due(&self, kept: Kept<'_>, now: Timestamp) -> Vec<DueReason> {
        let over = |from: Timestamp, n: Option<u32>| n.is_some_and(|n| from.plus(days(n)) <= now);
        let seen = kept.seen_at.map(|at| at.plus(SEEN_EVERY));
        let active = [Some(kept.enrolled_at), seen, self.idle_from].into_iter().flatten().max();
        let expired = kept.consents.iter().any(|c| c.status(now) == ConsentStatus::Expired);
        let served = kept.consents.iter().any(|c| c.serves(&self.purposes, now));
        let holds = |reason: &DueReason| match reason {
            DueReason::MaxAge => over(kept.enrolled_at, self.retention.max_age_days),
            DueReason::Idle => over(active.unwrap_or(kept.enrolled_at), self.retention.idle_days),
            DueReason::ConsentExpired => expired && !served,
        };
        DueReason::ALL.into_iter().filter(holds).collect()
    }

    /// Whether a consent of somebody who is not enrolled is to go at `now`: its end has passed, or it was recorded longer
    /// ago than subjects are kept. One that was withdrawn stays as long, as evidence of that.
    #[must_use]
    pub fn consent_due(&self, consent: &Consent, now: Timestamp) -> bool {
        let kept = self.retention.max_age_days.map(|n| consent.recorded_at.plus(days(n)));
        [consent.expires_at, kept].into_iter().flatten().any(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConsentDraft, ContractId};

    const ENROLLED: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn day(n: u32) -> Timestamp {
        ENROLLED.plus(days(n))
    }

    fn collection(retention: Retention) -> Collection {
        let json = serde_json::json!({
            "id": "staff", "purposes": ["a", "b"], "retention": retention, "contract": ContractId::from_bytes([1; 16]),
            "created_at": ENROLLED, "updated_at": ENROLLED,
        });
        serde_json::from_value(json).unwrap()
    }

    fn consent(purpose: &str, end: Option<Timestamp>) -> Consent {
        let json = serde_json::json!({"purposes": [purpose], "method": "m", "expires_at": end});
        let draft: ConsentDraft = serde_json::from_value(json).unwrap();
        draft.record("staff".parse().unwrap(), "anna".parse().unwrap(), ENROLLED)
    }

    fn kept(seen_at: Option<Timestamp>, consents: &[Consent]) -> Kept<'_> {
        Kept { enrolled_at: ENROLLED, seen_at, consents }
    }

    #[test]
    fn age_counts_from_enrolment_to_the_millisecond() {
        let c = collection(Retention { max_age_days: Some(30), idle_days: None });
        let before = Timestamp::from_millis(day(30).as_millis() - 1);
        assert_eq!(c.due(kept(Some(day(29)), &[]), before), []);
        assert_eq!(c.due(kept(Some(day(29)), &[]), day(30)), [DueReason::MaxAge]);
    }

    #[test]
    fn idleness_counts_from_the_last_match_and_never_too_early() {
        let mut c = collection(Retention { max_age_days: None, idle_days: Some(10) });
        assert_eq!(c.due(kept(None, &[]), day(9)), []);
        assert_eq!(c.due(kept(None, &[]), day(10)), [DueReason::Idle]);
        // Noted on day five: it may have been seen again until a day later.
        assert_eq!(c.due(kept(Some(day(5)), &[]), day(15)), []);
        assert_eq!(c.due(kept(Some(day(5)), &[]), day(16)), [DueReason::Idle]);
        // Nothing was noted before the policy was set.
        c.idle_from = Some(day(100));
        assert_eq!(c.due(kept(None, &[]), day(109)), []);
        assert_eq!(c.due(kept(None, &[]), day(110)), [DueReason::Idle]);
    }

    #[test]
    fn an_expired_consent_counts_when_no_other_serves_any_purpose() {
        let c = collection(Retention::default());
        let (short, long) = (consent("a", Some(day(3))), consent("b", None));
        assert_eq!(c.due(kept(None, std::slice::from_ref(&short)), day(2)), []);
        assert_eq!(c.due(kept(None, std::slice::from_ref(&short)), day(3)), [DueReason::ConsentExpired]);
        assert_eq!(c.due(kept(None, &[short.clone(), long.clone()]), day(3)), []);
        let elsewhere = consent("marketing", None);
        assert_eq!(c.due(kept(None, &[short, elsewhere]), day(3)), [DueReason::ConsentExpired]);
        let withdrawn = Consent { withdrawn_at: Some(day(1)), ..long };
        assert_eq!(c.due(kept(None, &[withdrawn]), day(3)), [], "its faces went when it was withdrawn");
    }

    #[test]
    fn a_consent_of_nobody_enrolled_stays_to_its_end_and_no_longer_than_subjects_do() {
        let c = collection(Retention::default());
        let (short, long) = (consent("a", Some(day(3))), consent("a", None));
        assert!(!c.consent_due(&short, day(2)) && c.consent_due(&short, day(3)) && !c.consent_due(&long, day(9_999)));
        let withdrawn = Consent { withdrawn_at: Some(day(1)), ..short.clone() };
        assert!(!c.consent_due(&withdrawn, day(2)) && c.consent_due(&withdrawn, day(3)));
        let c = collection(Retention { max_age_days: Some(30), idle_days: Some(1) });
        assert!(!c.consent_due(&long, day(29)) && c.consent_due(&long, day(30)) && c.consent_due(&short, day(3)));
    }

    #[test]
    fn reasons_add_up_and_their_names_are_those_of_the_api() {
        let c = collection(Retention { max_age_days: Some(1), idle_days: Some(1) });
        let expired = [consent("a", Some(day(1)))];
        assert_eq!(c.due(kept(None, &expired), day(1)), DueReason::ALL);
        for reason in DueReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
