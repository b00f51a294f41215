//! What a request turned out to be about: noted by handlers and by whatever sees its job and reply, read at its end by
//! the audit trail and by whoever keeps its answer.

use std::sync::Arc;

use domain::{CollectionId, SubjectId};
use parking_lot::Mutex;
use wire::v1::{self, Reply, envelope::Request, reply::Outcome};

/// Notes of one request, shared by all who see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Noted>>);

/// What was noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The collection.
    pub collection: Option<CollectionId>,
    /// Subjects, each once, in the order in which they came up.
    pub subjects: Vec<SubjectId>,
    /// Decisions of the reply, in order.
    pub decisions: Vec<&'static str>,
    /// What came of it: a job, an erasure, a consent.
    pub reference: Option<String>,
    /// Whether a decision is told that was not told before, by an operation that else only reads.
    pub discloses: bool,
}

impl Notes {
    /// All of it so far.
    pub fn noted(&self) -> Noted {
        self.0.lock().clone()
    }

    /// The collection it is about.
    pub fn collection(&self, id: &CollectionId) {
        self.0.lock().collection = Some(id.clone());
    }

    /// A subject it is about, of that collection.
    pub fn subject(&self, id: &SubjectId) {
        let mut noted = self.0.lock();
        if !noted.subjects.contains(id) {
            noted.subjects.push(id.clone());
        }
    }

    /// What came of it.
    pub fn reference(&self, id: impl ToString) {
        self.0.lock().reference = Some(id.to_string());
    }

    /// The job it became.
    pub fn request(&self, request: &Request) {
        let Some((collection, subject)) = wire::told_of(request) else { return };
        self.collection(&collection);
        subject.iter().for_each(|id| self.subject(id));
    }

    /// The reply it is answered with.
    pub fn reply(&self, reply: &Reply) {
        wire::told_by(reply).iter().for_each(|id| self.subject(id));
        let decisions: Vec<i32> = match &reply.outcome {
            Some(Outcome::Identify(r)) => r.results.iter().map(|r| r.decision).collect(),
            Some(Outcome::Verify(r)) => vec![r.decision],
            _ => return,
        };
        self.0.lock().decisions.extend(decisions.into_iter().map(word));
    }

    /// Decisions that were not told before are told now.
    pub fn discloses(&self) {
        self.0.lock().discloses = true;
    }

    /// A kept reply that is told now.
    pub fn disclosed(&self, reply: &Reply) {
        if matches!(reply.outcome, Some(Outcome::Identify(_) | Outcome::Verify(_))) {
            self.reply(reply);
            self.0.lock().discloses = true;
        }
    }
}

fn word(decision: i32) -> &'static str {
    match v1::Decision::try_from(decision) {
        Ok(v1::Decision::Match) => "match",
        Ok(v1::Decision::NoMatch) => "no_match",
        Ok(v1::Decision::Ambiguous) => "ambiguous",
        // Of an image that failed.
        Ok(v1::Decision::Unspecified) | Err(_) => "none",
    }
}
