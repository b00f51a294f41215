//! Enrol: images to templates of one subject, committed together with the subject and its consent, or not at all.
//! Carried out at least once, with effect exactly once: the reply is stored with the templates under the job's id.

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    Collection, Consent, ConsentId, ContractId, CropTerm, EnrolledFace, ErrorCode, FaceId, FieldError, JobId, Problem,
    Purpose, Subject, SubjectId, TenantId, Timestamp,
};
use futures::future::join_all;
use store::{EnrolSubject, Enrolment, Outcome, Space, Subjects};
use vision::Rgb8;
use wire::v1::{self, EnrolReply, EnrolRequest, FaceSelection, Image, enrol_reply::RejectedImage};

use super::{Desk, Done, collection_gone, crops, resolved::Resolved, store_problem, templates};
use crate::{
    choose::{choose, faces_needed},
    pipeline::Context,
    stages::{
        align::{AlignedFace, Cut},
        in_time,
    },
    timings::Stage,
};

/// Which job an enrolment is of.
pub(super) struct Asked<'a> {
    /// Its id.
    pub job: &'a str,
    /// When it was accepted, where nobody waits for it: a subject that was erased since is not enrolled.
    pub accepted_at: Option<Timestamp>,
}

pub(super) async fn run(
    desk: &Desk,
    tenant: &TenantId,
    asked: Asked<'_>,
    mut request: EnrolRequest,
    context: &Context,
) -> Result<Done, Problem> {
    let resolved = desk.collection(tenant, &request.collection_id).await?;
    let collection = resolved.collection.clone();
    let job = JobId::new(asked.job).map_err(|e| Problem::invalid("job_id", e.to_string()))?;
    let missing = || Problem::invalid("subject", "a subject is needed");
    let subject: Subject = request.subject.clone().ok_or_else(missing)?.try_into().map_err(|_| missing())?;
    let subjects = desk.subjects(tenant, &collection.id);
    if let Some(stored) = subjects.done(&subject.id, &job).await.map_err(store_problem)? {
        return Ok(done(replayed(desk, Space::collection(tenant, &collection.id), stored).await?, &resolved));
    }
    let consent = consent(&subjects, &collection, &subject.id, request.consent.as_ref()).await?;
    let retained = consent.retained(&collection);
    let how = (request.face_selection(), if retained.is_some() { Cut::AlsoWide } else { Cut::Close });
    let (accepted, rejected) = sort_out(desk, &collection, std::mem::take(&mut request.images), how, context).await?;
    let now = Timestamp::now();
    let mut named = named(accepted, &subject.id, (resolved.served.contract(), now));
    let templates = templates::of(desk, tenant, &resolved, &named.crops, context).await?;
    in_time(context.deadline)?;
    let reply = EnrolReply {
        subject: Some((&subject).into()),
        faces: named.faces.iter().map(Into::into).collect(),
        rejected,
        revision: 0,
        consent_id: Some(consent.id().to_string()),
    };
    let place = crops::Place { tenant, collection: &collection.id, handle: subjects.handle(&subject.id) };
    let kept = crops::keep(desk, place, retained, std::mem::take(&mut named.wide)).await?;
    let retains = !kept.is_empty();
    let subject_id = subject.id.clone();
    let enrolment = Enrolment {
        subject: if request.create {
            EnrolSubject::New(subject)
        } else {
            EnrolSubject::Existing(subject_id.clone(), None)
        },
        faces: named.faces.iter().cloned().zip(templates).collect(),
        crops: kept,
        required_consent: consent.on_record(),
        consent: consent.to_record(),
        collection: Some(resolved.version),
        reply: kept_reply(&job, &reply),
        job_id: job,
        accepted_at: asked.accepted_at,
        now,
    };
    let writing = Writing { desk, subjects: &subjects, place, named: &named, context };
    let (outcome, resolved) = writing.commit(enrolment, resolved).await?;
    match outcome {
        Outcome::Committed(revision) => {
            desk.metrics.enrolled_faces.with_label_values(&["enrolled"]).inc_by(named.faces.len() as u64);
            if retains {
                desk.due.retained(tenant, &collection);
            }
            if !request.create {
                desk.seen.note(tenant, &collection, &subject_id);
            }
            Ok(done(EnrolReply { revision: revision.0, ..reply }, &resolved))
        }
        Outcome::AlreadyDone(stored) => {
            Ok(done(replayed(desk, Space::collection(tenant, &collection.id), stored).await?, &resolved))
        }
        other => Err(refused(&other, &collection, &subject_id)),
    }
}

/// The reply as a second delivery of the job finds it.
fn kept_reply(job: &JobId, reply: &EnrolReply) -> Bytes {
    let outcome = Some(v1::reply::Outcome::Enrol(reply.clone()));
    wire::encode_reply(&v1::Reply { job_id: job.to_string(), outcome, ..v1::Reply::default() })
}

fn done(reply: EnrolReply, resolved: &Resolved) -> Done {
    Done { outcome: v1::reply::Outcome::Enrol(reply), model_version: Arc::clone(&resolved.served.version) }
}

/// What the commit of an enrolment needs.
struct Writing<'a> {
    desk: &'a Desk,
    subjects: &'a Subjects,
    place: crops::Place<'a>,
    named: &'a Named,
    context: &'a Context,
}

impl Writing<'_> {
    /// Commits. Where other models are to be written by now than when the collection was read, the faces are embedded by
    /// those as well, and it is tried again; gives the collection as it was in the end.
    async fn commit(&self, mut enrolment: Enrolment, mut resolved: Resolved) -> Result<(Outcome, Resolved), Problem> {
        let Self { desk, place, named, context, .. } = self;
        let start = std::time::Instant::now();
        let outcome = loop {
            let outcome = self.subjects.enrol(&enrolment).await.map_err(store_problem);
            if !matches!(outcome, Ok(Outcome::CollectionChanged)) || in_time(context.deadline).is_err() {
                break outcome;
            }
            resolved = desk.collection(place.tenant, place.collection.as_str()).await?;
            let templates = templates::of(desk, place.tenant, &resolved, &named.crops, context).await?;
            enrolment.faces = named.faces.iter().cloned().zip(templates).collect();
            enrolment.collection = Some(resolved.version);
        };
        context.timings.since(Stage::Store, start);
        // Where it is not known whether the commit took effect, the crops are left to the sweep.
        let outcome = outcome?;
        if !matches!(outcome, Outcome::Committed(_)) {
            crops::take_back(desk, *place, enrolment.crops).await;
        }
        Ok((outcome, resolved))
    }
}

/// The reply that an earlier delivery of the same job stored. Its revision was not known yet when it was written: the
/// present one, which includes it, is told instead.
async fn replayed(desk: &Desk, space: Space, stored: Bytes) -> Result<EnrolReply, Problem> {
    let damaged = || Problem::new(ErrorCode::Internal, "the stored reply of this job cannot be read");
    match wire::decode_reply(stored).map_err(|_| damaged())?.outcome {
        Some(v1::reply::Outcome::Enrol(reply)) => {
            let revision = desk.store.revision(&space).await;
            let revision = revision.map_err(|e| Problem::new(e.code(), e.to_string()))?;
            Ok(EnrolReply { revision: revision.0, ..reply })
        }
        _ => Err(damaged()),
    }
}

fn refused(outcome: &Outcome, collection: &Collection, subject: &SubjectId) -> Problem {
    match outcome {
        Outcome::SubjectExists => {
            let detail = format!("subject {subject} exists already; add images to it, or delete it first");
            Problem::new(ErrorCode::Conflict, detail)
        }
        Outcome::SubjectGone => {
            Problem::new(ErrorCode::SubjectNotFound, format!("there is no subject {subject} in the collection"))
        }
        Outcome::CollectionGone => collection_gone(&collection.id),
        // Kept with the job: says no more of the subject than that.
        Outcome::Erased(at) => {
            Problem::new(ErrorCode::Erased, format!("the subject was erased at {at}, after this was asked for"))
        }
        Outcome::ConsentChanged => {
            Problem::new(ErrorCode::ConsentRequired, "the consent was withdrawn while the images were being read")
        }
        Outcome::CollectionChanged => {
            Problem::new(ErrorCode::DeadlineExceeded, "the collection was being changed until the deadline passed")
        }
        Outcome::Committed(_) | Outcome::AlreadyDone(_) => {
            Problem::new(ErrorCode::Internal, "the enrolment ended unexpectedly")
        }
    }
}

/// Faces with their ids, in order: what each embedder sees of them, and what is to be retained of those where something is.
struct Named {
    faces: Vec<EnrolledFace>,
    crops: Vec<Rgb8>,
    wide: Vec<(FaceId, Rgb8)>,
}

/// Gives each face its id.
fn named(found: Vec<AlignedFace>, subject: &SubjectId, (contract, now): (ContractId, Timestamp)) -> Named {
    let mut named = Named { faces: Vec::new(), crops: Vec::new(), wide: Vec::new() };
    for AlignedFace { face, crop, wide } in found {
        let id = FaceId::generate();
        named.wide.extend(wide.map(|wide| (id.clone(), wide)));
        named.crops.push(crop);
        named.faces.push(EnrolledFace { id, subject_id: subject.clone(), face, contract, created_at: now });
    }
    named
}

/// The consent an enrolment rests on.
enum Basis {
    /// Given with the request, to be recorded with the enrolment.
    Given(Box<Consent>),
    /// On record already; must still be there at the commit.
    Recorded(Box<Consent>),
}

impl Basis {
    const fn id(&self) -> &ConsentId {
        match self {
            Self::Given(c) | Self::Recorded(c) => &c.id,
        }
    }

    /// How long crops may be kept on it, if at all.
    fn retained(&self, collection: &Collection) -> Option<CropTerm> {
        match self {
            Self::Given(c) | Self::Recorded(c) => collection.retain_crops.allows(c),
        }
    }

    fn on_record(&self) -> Option<ConsentId> {
        match self {
            Self::Given(_) => None,
            Self::Recorded(c) => Some(c.id.clone()),
        }
    }

    fn to_record(&self) -> Option<Consent> {
        match self {
            Self::Given(c) => Some((**c).clone()),
            Self::Recorded(_) => None,
        }
    }
}

/// A consent in force for one of the collection's purposes at least: the one given, else one on record.
async fn consent(
    subjects: &Subjects,
    collection: &Collection,
    subject: &SubjectId,
    given: Option<&v1::Consent>,
) -> Result<Basis, Problem> {
    let now = Timestamp::now();
    if let Some(given) = given {
        let damaged = |_| Problem::invalid("/consent", "the consent is not complete");
        let consent = Consent::try_from(given.clone()).map_err(damaged)?;
        return if consent.serves(&collection.purposes, now) {
            Ok(Basis::Given(Box::new(consent)))
        } else {
            Err(consent_required(collection, subject))
        };
    }
    let recorded = subjects.consents(subject).await.map_err(store_problem)?;
    let active = recorded.into_iter().map(|c| c.value).filter(|c| c.serves(&collection.purposes, now));
    // Where crops are retained, one that allows it goes first.
    let best = active.min_by_key(|c| collection.retain_crops.allows(c).is_none());
    best.map(|c| Basis::Recorded(Box::new(c))).ok_or_else(|| consent_required(collection, subject))
}

fn consent_required(collection: &Collection, subject: &SubjectId) -> Problem {
    let purposes: Vec<&str> = collection.purposes.iter().map(Purpose::as_str).collect();
    let detail = format!(
        "subject {subject} has no consent in force for a purpose of collection {} ({}); \
         send one with the request, or record it at /v1/consents",
        collection.id,
        purposes.join(", ")
    );
    Problem::new(ErrorCode::ConsentRequired, detail)
}

/// Faces fit for enrolment, and why the other images are not. When none is fit the request fails with the first
/// image's problem, and `errors` tells each image's.
async fn sort_out(
    desk: &Desk,
    collection: &Collection,
    images: Vec<Image>,
    how: (FaceSelection, Cut),
    context: &Context,
) -> Result<(Vec<AlignedFace>, Vec<RejectedImage>), Problem> {
    let sent = images.len();
    let looked = images.into_iter().map(|image| fit(desk, collection, image, how, context));
    let (mut accepted, mut rejected, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (index, outcome) in (0u32..).zip(join_all(looked).await) {
        match outcome {
            Ok(face) => accepted.push(face),
            // Not the image's fault: the caller is to try the whole request again.
            Err((problem, _)) if problem.code.status() >= 500 => return Err(problem),
            Err((problem, quality)) => {
                desk.metrics.enrolled_faces.with_label_values(&[problem.code.slug()]).inc();
                problems.push((index, problem.clone()));
                rejected.push(RejectedImage { index, problem: Some(problem.into()), quality });
            }
        }
    }
    match problems.first() {
        Some((_, first)) if accepted.is_empty() && sent > 0 => {
            let error = |(i, p): &(u32, Problem)| FieldError {
                pointer: format!("/images/{i}"),
                detail: format!("{}: {}", p.code, p.detail),
            };
            Err(Problem { errors: problems.iter().map(error).collect(), ..first.clone() })
        }
        _ => Ok((accepted, rejected)),
    }
}

/// The one face of an image, if it passes the collection's quality gate.
async fn fit(
    desk: &Desk,
    collection: &Collection,
    image: Image,
    (selection, cut): (FaceSelection, Cut),
    context: &Context,
) -> Result<AlignedFace, (Problem, Option<v1::Quality>)> {
    let needed = (faces_needed(selection), cut);
    let found = desk.pipeline.detect_and_cut(image.data, needed, context).await.map_err(|p| (p, None))?;
    let chosen = choose(&found.faces, selection).map_err(|p| (p, None))?;
    let quality = &chosen.face.quality;
    if collection.quality_gate.admits(quality.level) {
        return Ok(chosen.clone());
    }
    let detail = format!(
        "the face's quality is {:.0} of 100, below the collection's gate ({})",
        quality.score,
        if quality.reasons.is_empty() { "no single reason".to_owned() } else { quality.reasons.join(", ") }
    );
    Err((Problem::new(ErrorCode::LowQuality, detail), Some(quality.into())))
}
