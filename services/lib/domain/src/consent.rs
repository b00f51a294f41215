//! Consent: who agreed to what, when, how, and for how long. No enrolment without one.

mod rules;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{CollectionId, ConsentId, SubjectId, Timestamp};

pub use rules::ConsentPolicy;
pub(crate) use rules::days;

/// What recognition is used for, such as `access_control`: lower-case words joined by `_`, at most 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[a-z][a-z0-9_]{0,63}$"))]
#[serde(transparent)]
pub struct Purpose(Box<str>);

impl Purpose {
    /// The purpose as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Purpose {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let fine = s.len() <= 64 && s.starts_with(|c: char| c.is_ascii_lowercase()) && s.bytes().all(rest);
        if fine {
            Ok(Self(s.into()))
        } else {
            Err("a purpose is lower-case letters, digits and '_', begins with a letter, and has at most 64 characters"
                .into())
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Purpose {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = std::borrow::Cow::<'de, str>::deserialize(d)?;
        s.parse().map_err(de::Error::custom)
    }
}

/// The notice the person was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The notice's version, as the caller names it.
    pub version: String,
    /// SHA-256 of its text, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// BCP 47 language tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
}

/// Who consented in the person's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Guardian {
    /// Reference to the guardian in the caller's own records.
    pub reference: String,
    /// Such as `parent`.
    pub relation: String,
}

/// What a caller states when recording a consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConsentDraft {
    /// What the person agreed to; at least one.
    pub purposes: Vec<Purpose>,
    /// How it was given, such as `signed_form`, `web_form`, `verbal`.
    pub method: String,
    /// Legal form in one word, such as `explicit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether the samples may be used for training. Off unless said.
    #[serde(default)]
    pub training_allowed: bool,
    /// What the person was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// Whether the person is a minor: then a guardian must have consented. Off unless said.
    #[serde(default)]
    pub minor: bool,
    /// Who consented in the person's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardian: Option<Guardian>,
    /// When it was given; the present moment unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtained_at: Option<Timestamp>,
    /// When it ends; never unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl ConsentDraft {
    /// The record of this consent.
    #[must_use]
    pub fn record(self, collection_id: CollectionId, subject_id: SubjectId, now: Timestamp) -> Consent {
        Consent {
            id: ConsentId::generate(),
            collection_id,
            subject_id,
            obtained_at: self.obtained_at.unwrap_or(now),
            expires_at: self.expires_at,
            purposes: self.purposes,
            method: self.method,
            kind: self.kind,
            training_allowed: self.training_allowed,
            notice: self.notice,
            minor: self.minor,
            guardian: self.guardian,
            recorded_at: now,
            withdrawn_at: None,
        }
    }
}

/// A consent on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Consent {
    /// Its id.
    pub id: ConsentId,
    /// Where it holds.
    pub collection_id: CollectionId,
    /// Whose it is.
    pub subject_id: SubjectId,
    /// What was agreed to.
    pub purposes: Vec<Purpose>,
    /// How it was given.
    pub method: String,
    /// Legal form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether samples may be used for training.
    pub training_allowed: bool,
    /// What the person was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// Whether the person was a minor.
    #[serde(default)]
    pub minor: bool,
    /// Who consented in the person's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardian: Option<Guardian>,
    /// When it was given.
    pub obtained_at: Timestamp,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was recorded here.
    pub recorded_at: Timestamp,
    /// When it was withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<Timestamp>,
}

/// Where a consent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConsentStatus {
    /// In force.
    Active,
    /// Past its end.
    Expired,
    /// Taken back.
    Withdrawn,
}

impl Consent {
    /// What was stated when it was recorded.
    #[must_use]
    pub fn stated(&self) -> ConsentDraft {
        ConsentDraft {
            purposes: self.purposes.clone(),
            method: self.method.clone(),
            kind: self.kind.clone(),
            training_allowed: self.training_allowed,
            notice: self.notice.clone(),
            minor: self.minor,
            guardian: self.guardian.clone(),
            obtained_at: Some(self.obtained_at),
            expires_at: self.expires_at,
        }
    }

    /// Where the consent stands at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> ConsentStatus {
        if self.withdrawn_at.is_some() {
            ConsentStatus::Withdrawn
        } else if self.expires_at.is_some_and(|t| t <= now) {
            ConsentStatus::Expired
        } else {
            ConsentStatus::Active
        }
    }

    /// Whether it is in force and covers at least one of these purposes: consent is given purpose by purpose, and whoever
    /// gave it for one is matched for that one alone.
    #[must_use]
    pub fn serves(&self, purposes: &[Purpose], now: Timestamp) -> bool {
        self.status(now) == ConsentStatus::Active && purposes.iter().any(|p| self.purposes.contains(p))
    }

    /// Whether samples of whoever gave these consents may be used for training at `now`: the one in force that was given
    /// last decides.
    #[must_use]
    pub fn allow_training<'a>(consents: impl IntoIterator<Item = &'a Self>, now: Timestamp) -> bool {
        let in_force = consents.into_iter().filter(|c| c.status(now) == ConsentStatus::Active);
        in_force.max_by_key(|c| (c.obtained_at, c.recorded_at, &c.id)).is_some_and(|c| c.training_allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(json: serde_json::Value) -> ConsentDraft {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn training_is_off_unless_said_and_unknown_fields_are_refused() {
        let d = draft(serde_json::json!({"purposes": ["access_control"], "method": "signed_form"}));
        assert!(!d.training_allowed);
        assert!(
            serde_json::from_value::<ConsentDraft>(serde_json::json!({"purposes": [], "method": "x", "trainig": 1}))
                .is_err()
        );
    }

    #[test]
    fn a_consent_serves_the_purposes_it_names_until_its_end_or_withdrawal() {
        let now = Timestamp::from_millis(1_000);
        let mut d = draft(serde_json::json!({"purposes": ["a", "b"], "method": "web_form"}));
        d.expires_at = Some(Timestamp::from_millis(2_000));
        let mut c = d.record("c".parse().unwrap(), "s".parse().unwrap(), now);
        let p = |s: &str| s.parse::<Purpose>().unwrap();
        assert!(c.serves(&[p("a")], now) && c.serves(&[p("a"), p("z")], now));
        assert!(!c.serves(&[p("z")], now) && !c.serves(&[], now));
        assert!(c.serves(&[p("a")], Timestamp::from_millis(1_999)));
        assert!(!c.serves(&[p("a")], Timestamp::from_millis(2_000)));
        c.withdrawn_at = Some(now);
        assert_eq!(c.status(now), ConsentStatus::Withdrawn);
        assert!(!c.serves(&[p("a")], now));
    }

    #[test]
    fn the_latest_consent_in_force_says_whether_to_train() {
        let at = Timestamp::from_millis;
        let given = |obtained: i64, training: bool, end: Option<i64>| {
            let mut d = draft(serde_json::json!({"purposes": ["a"], "method": "web_form"}));
            (d.obtained_at, d.training_allowed, d.expires_at) = (Some(at(obtained)), training, end.map(at));
            d.record("c".parse().unwrap(), "s".parse().unwrap(), at(obtained))
        };
        assert!(!Consent::allow_training([], at(50)));
        let (yes, no) = (given(10, true, None), given(20, false, Some(100)));
        assert!(Consent::allow_training([&yes], at(50)));
        assert!(!Consent::allow_training([&no, &yes], at(50)), "taken back with the later one");
        assert!(Consent::allow_training([&yes, &no], at(100)), "which has ended");
        let withdrawn = Consent { withdrawn_at: Some(at(30)), ..yes };
        assert!(!Consent::allow_training([&withdrawn], at(50)));
    }

    #[test]
    fn purposes_have_one_spelling() {
        assert!("access_control".parse::<Purpose>().is_ok());
        for bad in ["", "Access", "a b", "1a", "é", &"a".repeat(65)] {
            assert!(bad.parse::<Purpose>().is_err(), "{bad}");
        }
    }
}
