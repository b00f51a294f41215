//! Who may be matched for what, until when: a subject's consents as a search asks for them. The follower keeps them for
//! everybody who has a consent on record, enrolled or not; the directory gives each subject its own.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use domain::{Consent, ConsentId, Purpose, Timestamp};
use store::SubjectHandle;

/// No consent of the subject covers the purpose.
pub const NEVER: i64 = i64::MIN;

/// One consent that was not withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    consent: ConsentId,
    purposes: Arc<[Purpose]>,
    /// When it ends, in milliseconds; the far end of time for one without end.
    until: i64,
}

/// What a subject's consents permit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms(Box<[Term]>);

impl Terms {
    /// Of one subject's consents.
    #[must_use]
    pub fn of<'a>(consents: impl IntoIterator<Item = &'a Consent>) -> Self {
        Self(consents.into_iter().filter_map(|c| term(c, &mut HashSet::new())).collect())
    }

    /// Until when `purpose` is permitted, in milliseconds, that moment excluded: the latest end of the consents that cover
    /// it. Every consent on record has begun.
    pub(crate) fn until(&self, purpose: &Purpose) -> i64 {
        let covering = self.0.iter().filter(|t| t.purposes.contains(purpose));
        covering.map(|t| t.until).max().unwrap_or(NEVER)
    }

    /// Whether the subject may be matched for `purpose` at `now`.
    #[must_use]
    pub fn permit(&self, purpose: &Purpose, now: Timestamp) -> bool {
        now.as_millis() < self.until(purpose)
    }
}

fn term(consent: &Consent, shared: &mut HashSet<Arc<[Purpose]>>) -> Option<Term> {
    if consent.withdrawn_at.is_some() {
        return None;
    }
    let purposes = match shared.get(&*consent.purposes) {
        Some(known) => Arc::clone(known),
        None => {
            let new: Arc<[Purpose]> = consent.purposes.as_slice().into();
            shared.insert(Arc::clone(&new));
            new
        }
    };
    let until = consent.expires_at.map_or(i64::MAX, Timestamp::as_millis);
    Some(Term { consent: consent.id.clone(), purposes, until })
}

/// The terms of everybody with a consent on record in one collection.
#[derive(Default)]
pub struct Register {
    terms: HashMap<SubjectHandle, Arc<Terms>>,
    /// Lists of purposes that many consents have in common.
    shared: HashSet<Arc<[Purpose]>>,
}

impl Register {
    /// Bytes of one subject's entry, roughly.
    const BYTES: usize = 200;

    /// What a subject's consents permit; nothing where there are none.
    pub fn terms(&self, handle: SubjectHandle) -> Arc<Terms> {
        self.terms.get(&handle).cloned().unwrap_or_default()
    }

    /// Takes in what a consent is now; `None` when it is gone. Gives the subject's new terms.
    pub fn set(&mut self, handle: SubjectHandle, id: &ConsentId, consent: Option<&Consent>) -> Arc<Terms> {
        let known = self.terms(handle);
        let others = known.0.iter().filter(|t| t.consent != *id).cloned();
        let new = consent.and_then(|c| term(c, &mut self.shared));
        let terms = Arc::new(Terms(others.chain(new).collect()));
        if terms.0.is_empty() {
            self.terms.remove(&handle);
        } else {
            self.terms.insert(handle, Arc::clone(&terms));
        }
        terms
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Memory held, in bytes, roughly.
    pub fn bytes(&self) -> usize {
        self.terms.len() * Self::BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent(id: &str, purposes: &[&str], end: Option<i64>) -> Consent {
        let json =
            serde_json::json!({"purposes": purposes, "method": "m", "expires_at": end.map(Timestamp::from_millis)});
        let draft: domain::ConsentDraft = serde_json::from_value(json).unwrap();
        let consent = draft.record("c".parse().unwrap(), "s".parse().unwrap(), Timestamp::from_millis(0));
        Consent { id: id.parse().unwrap(), ..consent }
    }

    fn purpose(s: &str) -> Purpose {
        s.parse().unwrap()
    }

    #[test]
    fn each_purpose_ends_with_the_last_consent_that_covers_it() {
        let (long, short) = (consent("1", &["a"], None), consent("2", &["a", "b"], Some(100)));
        let terms = Terms::of([&long, &short]);
        let at = Timestamp::from_millis;
        assert!(terms.permit(&purpose("a"), at(1_000)));
        assert!(terms.permit(&purpose("b"), at(99)) && !terms.permit(&purpose("b"), at(100)));
        assert!(!terms.permit(&purpose("c"), at(0)) && !Terms::default().permit(&purpose("a"), at(0)));
        let withdrawn = Consent { withdrawn_at: Some(at(5)), ..long };
        assert!(!Terms::of([&withdrawn, &short]).permit(&purpose("a"), at(100)));
    }

    #[test]
    fn consents_come_change_and_go_one_at_a_time() {
        let (mut register, h) = (Register::default(), SubjectHandle([1; 16]));
        let (one, two) = (consent("1", &["a"], None), consent("2", &["b"], Some(9)));
        register.set(h, &one.id, Some(&one));
        let both = register.set(h, &two.id, Some(&two));
        assert_eq!(*both, Terms::of([&one, &two]));
        let withdrawn = Consent { withdrawn_at: Some(Timestamp::from_millis(1)), ..one.clone() };
        assert_eq!(*register.set(h, &one.id, Some(&withdrawn)), Terms::of([&two]));
        assert_eq!(*register.set(h, &two.id, None), Terms::default());
        assert_eq!((register.terms(h), register.bytes()), (Arc::default(), 0));
    }
}
