//! What a consent must say before it is recorded: the form of every field, and what a collection asks for beyond it.
//! Called by the gateway; all faults are told at once, each with its place.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConsentDraft, Guardian, Notice};
use crate::{FieldError, Problem, Purpose, Timestamp};

/// How far a caller's clock may be ahead.
const AHEAD: Duration = Duration::from_secs(300);

/// Most purposes of one consent, as of one collection.
const MOST_PURPOSES: usize = 32;

/// What a collection asks of its consents beyond their form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ConsentPolicy {
    /// Whether a consent must name the notice that was shown, with its SHA-256.
    pub notice_required: bool,
    /// Longest time a consent may hold; with it, every consent must have an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_validity_days: Option<u32>,
}

impl ConsentPolicy {
    /// Checks the policy itself.
    ///
    /// # Errors
    /// `invalid_request` naming the field below `at`.
    pub fn check(&self, at: &str) -> Result<(), Problem> {
        if self.max_validity_days == Some(0) {
            return Err(Problem::invalid(format!("{at}/max_validity_days"), "must be at least 1"));
        }
        Ok(())
    }
}

/// Faults found so far, below one place of the request.
struct Faults<'a> {
    at: &'a str,
    found: Vec<FieldError>,
}

impl Faults<'_> {
    /// Notes a fault unless the field is `fine`.
    fn unless(&mut self, fine: bool, field: &str, detail: &str) {
        if !fine {
            self.found.push(FieldError { pointer: format!("{}/{field}", self.at), detail: detail.to_owned() });
        }
    }
}

impl ConsentDraft {
    /// Checks what the types cannot, and what `policy` asks for.
    ///
    /// # Errors
    /// `invalid_request` naming every faulty field below `at`.
    pub fn check(&self, at: &str, policy: &ConsentPolicy, now: Timestamp) -> Result<(), Problem> {
        let mut faults = Faults { at, found: Vec::new() };
        self.check_words(&mut faults);
        self.check_notice(policy, &mut faults);
        self.check_guardian(&mut faults);
        self.check_times(policy, now, &mut faults);
        Problem::refusal(faults.found)
    }

    fn check_words(&self, faults: &mut Faults<'_>) {
        let (purposes, distinct) =
            (self.purposes.len(), self.purposes.iter().collect::<std::collections::BTreeSet<_>>());
        faults.unless(purposes > 0, "purposes", "name at least one purpose");
        faults.unless(purposes <= MOST_PURPOSES, "purposes", "name at most 32 purposes");
        faults.unless(distinct.len() == purposes, "purposes", "name each purpose once");
        faults.unless(text(&self.method, 200), "method", "say how consent was given, in 1 to 200 characters");
        let kind = self.kind.as_ref().is_none_or(|k| k.parse::<Purpose>().is_ok());
        faults.unless(kind, "kind", "is a word such as explicit: lower-case letters, digits and '_', at most 64");
    }

    fn check_notice(&self, policy: &ConsentPolicy, faults: &mut Faults<'_>) {
        let Some(Notice { version, sha256, lang }) = &self.notice else {
            let detail = "this collection wants to know which notice was shown: {version, sha256}";
            faults.unless(!policy.notice_required, "notice", detail);
            return;
        };
        faults.unless(text(version, 64), "notice/version", "has 1 to 64 characters");
        match sha256 {
            Some(digest) => {
                let hex = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
                faults.unless(hex, "notice/sha256", "is the SHA-256 of the notice's text: 64 hexadecimal digits");
            }
            None => {
                faults.unless(!policy.notice_required, "notice/sha256", "this collection wants the notice's SHA-256");
            }
        }
        let tag = lang.as_ref().is_none_or(|l| language_tag(l));
        faults.unless(tag, "notice/lang", "is no language tag such as de or zh-Hans-CN (BCP 47)");
    }

    fn check_guardian(&self, faults: &mut Faults<'_>) {
        if let Some(Guardian { reference, relation }) = &self.guardian {
            faults.unless(text(reference, 200), "guardian/reference", "has 1 to 200 characters");
            faults.unless(text(relation, 64), "guardian/relation", "has 1 to 64 characters");
        } else {
            faults.unless(!self.minor, "guardian", "a guardian must consent for a minor: {reference, relation}");
        }
    }

    fn check_times(&self, policy: &ConsentPolicy, now: Timestamp, faults: &mut Faults<'_>) {
        let obtained = self.obtained_at.unwrap_or(now);
        faults.unless(obtained <= now.plus(AHEAD), "obtained_at", "lies in the future");
        let longest = policy.max_validity_days.map(days);
        let Some(end) = self.expires_at else {
            faults.unless(longest.is_none(), "expires_at", "this collection wants every consent to have an end");
            return;
        };
        faults.unless(end > now, "expires_at", "lies in the past");
        faults.unless(end > obtained, "expires_at", "must lie after obtained_at");
        let short = longest.is_none_or(|longest| end <= obtained.plus(longest));
        faults.unless(short, "expires_at", "lies further ahead than this collection's max_validity_days allow");
    }
}

/// So many days.
pub(crate) fn days(n: u32) -> Duration {
    Duration::from_secs(u64::from(n) * 24 * 3600)
}

/// Text that says something, of at most so many characters.
fn text(s: &str, most: usize) -> bool {
    !s.trim().is_empty() && s.chars().count() <= most
}

/// The form of a BCP 47 tag: a language of two or three letters, then parts of one to eight letters or digits.
fn language_tag(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let language =
        parts.next().is_some_and(|l| (2..=3).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphabetic()));
    let rest = |p: &str| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric());
    tag.len() <= 35 && language && parts.all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000_000);

    fn draft(json: serde_json::Value) -> ConsentDraft {
        let mut whole = serde_json::json!({"purposes": ["a"], "method": "web_form"});
        whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    fn after(now: Timestamp, n: u32) -> Timestamp {
        now.plus(days(n))
    }

    fn pointers(d: &ConsentDraft, policy: &ConsentPolicy) -> Vec<String> {
        let found = d.check("/consent", policy, NOW);
        found.err().map_or_else(Vec::new, |p| p.errors.into_iter().map(|e| e.pointer).collect())
    }

    #[test]
    fn every_fault_is_told_at_its_place() {
        let fine = draft(serde_json::json!({
            "kind": "explicit", "minor": true, "guardian": {"reference": "g-17", "relation": "parent"},
            "notice": {"version": "3", "sha256": "ab".repeat(32), "lang": "zh-Hans-CN"},
            "obtained_at": NOW, "expires_at": after(NOW, 1),
        }));
        assert_eq!(pointers(&fine, &ConsentPolicy::default()), [""; 0]);
        for (json, expected) in [
            (serde_json::json!({"purposes": []}), "/consent/purposes"),
            (serde_json::json!({"purposes": ["a", "b", "a"]}), "/consent/purposes"),
            (serde_json::json!({"method": " "}), "/consent/method"),
            (serde_json::json!({"kind": "By Letter"}), "/consent/kind"),
            (serde_json::json!({"notice": {"version": ""}}), "/consent/notice/version"),
            (serde_json::json!({"notice": {"version": "1", "sha256": "ab"}}), "/consent/notice/sha256"),
            (serde_json::json!({"notice": {"version": "1", "sha256": "zz".repeat(32)}}), "/consent/notice/sha256"),
            (serde_json::json!({"notice": {"version": "1", "lang": "german language"}}), "/consent/notice/lang"),
            (serde_json::json!({"minor": true}), "/consent/guardian"),
            (serde_json::json!({"guardian": {"reference": "", "relation": "parent"}}), "/consent/guardian/reference"),
            (serde_json::json!({"guardian": {"reference": "g", "relation": " "}}), "/consent/guardian/relation"),
            (serde_json::json!({"obtained_at": after(NOW, 1)}), "/consent/obtained_at"),
            (serde_json::json!({"expires_at": NOW}), "/consent/expires_at"),
        ] {
            assert_eq!(pointers(&draft(json.clone()), &ConsentPolicy::default()).first().unwrap(), expected, "{json}");
        }
        let many = draft(serde_json::json!({"purposes": [], "method": "", "minor": true}));
        assert_eq!(
            pointers(&many, &ConsentPolicy::default()),
            ["/consent/purposes", "/consent/method", "/consent/guardian"]
        );
    }

    #[test]
    fn the_end_must_lie_after_the_beginning_even_of_a_clock_that_is_ahead() {
        let ahead = NOW.plus(Duration::from_secs(200));
        let d = draft(serde_json::json!({"obtained_at": ahead, "expires_at": NOW.plus(Duration::from_secs(100))}));
        assert_eq!(pointers(&d, &ConsentPolicy::default()), ["/consent/expires_at"]);
    }

    #[test]
    fn a_collection_may_want_a_notice_and_an_end() {
        let policy = ConsentPolicy { notice_required: true, max_validity_days: Some(365) };
        let without = draft(serde_json::json!({}));
        assert_eq!(pointers(&without, &policy), ["/consent/notice", "/consent/expires_at"]);
        let notice = serde_json::json!({"version": "1", "sha256": "0f".repeat(32)});
        let unproven = draft(serde_json::json!({"notice": {"version": "1"}, "expires_at": after(NOW, 365)}));
        assert_eq!(pointers(&unproven, &policy), ["/consent/notice/sha256"]);
        let long = draft(serde_json::json!({"notice": notice, "expires_at": after(NOW, 366)}));
        assert_eq!(pointers(&long, &policy), ["/consent/expires_at"]);
        let fine = draft(serde_json::json!({"notice": notice, "expires_at": after(NOW, 365)}));
        assert_eq!(pointers(&fine, &policy), [""; 0]);
        assert!(ConsentPolicy { max_validity_days: Some(0), ..policy }.check("/consent").is_err());
    }
}
