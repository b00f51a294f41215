//! Whom a request or a reply tells of: what is kept of either is found by that when a subject is erased, and the audit
//! trail names them by their handles. Used by gateway and worker.

use domain::{CollectionId, SubjectId};

use crate::v1::{Reply, envelope::Request, reply::Outcome};

/// The collection a request is about, and the subject where it names one.
#[must_use]
pub fn told_of(request: &Request) -> Option<(CollectionId, Option<SubjectId>)> {
    let (collection, subject) = match request {
        Request::Enrol(r) => (&r.collection_id, r.subject.as_ref().map(|s| s.id.as_str())),
        Request::Identify(r) => (&r.collection_id, None),
        Request::Verify(r) => (&r.collection_id, Some(r.subject_id.as_str())),
        Request::Gate(r) => (&r.collection_id, None),
        Request::Detect(_)
        | Request::Compare(_)
        | Request::Embed(_)
        | Request::CatchUp(_)
        | Request::Bulk(_)
        | Request::Promotion(_)
        | Request::Prepare(_)
        | Request::Train(_) => return None,
    };
    Some((CollectionId::new(collection).ok()?, subject.and_then(|id| SubjectId::new(id).ok())))
}

/// Subjects that a reply names, best first, each once.
#[must_use]
pub fn told_by(reply: &Reply) -> Vec<SubjectId> {
    let named: Vec<&str> = match &reply.outcome {
        Some(Outcome::Enrol(r)) => r.subject.iter().map(|s| s.id.as_str()).collect(),
        Some(Outcome::Identify(r)) => {
            r.results.iter().flat_map(|one| one.candidates.iter().map(|c| c.subject_id.as_str())).collect()
        }
        _ => Vec::new(),
    };
    let mut seen = std::collections::HashSet::new();
    named.into_iter().filter(|id| seen.insert(*id)).filter_map(|id| SubjectId::new(id).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{self, IdentifyReply, IdentifyRequest, VerifyRequest};

    #[test]
    fn subjects_are_found_where_requests_and_replies_name_them() {
        let verify = VerifyRequest { collection_id: "c".into(), subject_id: "anna".into(), ..VerifyRequest::default() };
        let (collection, subject) = told_of(&Request::Verify(verify)).unwrap();
        assert_eq!((collection.as_str(), subject.unwrap().as_str()), ("c", "anna"));
        let identify = IdentifyRequest { collection_id: "c".into(), ..IdentifyRequest::default() };
        assert_eq!(told_of(&Request::Identify(identify)).unwrap().1, None);
        let candidate = |id: &str| v1::Candidate { subject_id: id.into(), ..v1::Candidate::default() };
        let result = |ids: &[&str]| v1::identify_reply::Result {
            candidates: ids.iter().map(|id| candidate(id)).collect(),
            ..v1::identify_reply::Result::default()
        };
        let results = vec![result(&["b", "a"]), result(&["a", "c"])];
        let outcome = Some(Outcome::Identify(IdentifyReply { results, ..IdentifyReply::default() }));
        let told = told_by(&Reply { outcome, ..Reply::default() });
        assert_eq!(told.iter().map(SubjectId::as_str).collect::<Vec<_>>(), ["b", "a", "c"]);
    }
}
