//! Identify: the faces of each image (or embeddings) against a whole collection, 1:N.

use std::sync::Arc;

use domain::{
    Candidate, Decision, ErrorCode, Face, Metadata, Problem, ResolvedThreshold, SubjectId, Template, TenantId,
    ThresholdSpec, decide,
};
use futures::future::join_all;
use gallery::Hit;
use wire::v1::{Embedding, IdentifyReply, IdentifyRequest, Image, identify_reply::Result as Answer, reply::Outcome};

use super::{Desk, Done, cosine, purpose, resolved::Resolved};
use crate::{
    pipeline::Context,
    stages::search::{Scope, current, search},
};

/// A face to search for, and the image it came from.
struct Probe {
    image_index: u32,
    face: Option<Face>,
    template: Template,
}

pub(super) async fn run(
    desk: &Desk,
    tenant: &TenantId,
    request: IdentifyRequest,
    context: &Context,
) -> Result<Done, Problem> {
    let resolved = desk.collection(tenant, &request.collection_id).await?;
    let collection = &resolved.collection;
    let purpose = purpose(collection, &request.purpose)?;
    let filters = filters(&request)?;
    let limit = request.limit.max(1) as usize;
    // Probes first: the gallery is brought up to date as late as can be.
    let probes = if request.embeddings.is_empty() {
        of_images(&resolved, request.images, request.max_faces.max(1) as usize, context).await?
    } else {
        of_embeddings(&resolved, &request.embeddings)?
    };
    desk.fence.check()?;
    let gallery = current(&desk.galleries, tenant, collection, context).await?;
    let scope = Scope {
        purpose,
        at: desk.galleries.now(),
        // One more than asked for at least, so that the margin to the runner-up is known.
        limit: limit.max(2),
        filter: filters.0,
        subjects: filters.1,
    };
    let templates = probes.iter().flatten().map(|p| p.template.clone()).collect();
    let hits = search(&desk.pipeline.cpu, &gallery, templates, scope, context).await?;
    // Every template compared is one more chance of a false match: those that a filter or a consent leaves out are none.
    let compared = hits.iter().map(|h| h.compared_rows as u64).max();
    let default = ThresholdSpec::fpir(collection.decision.target_fpir);
    let comparisons = compared.unwrap_or_else(|| gallery.len() as u64);
    let threshold = resolved.threshold(request.threshold, default, comparisons)?;
    let round = Round { desk, tenant, resolved: &resolved, threshold: &threshold, limit };
    let mut hits = hits.into_iter();
    let answers = probes.into_iter().map(|entry| match entry {
        Ok(probe) => round.answer(&probe, hits.next().map_or_else(Vec::new, |h| h.hits)),
        Err((image_index, problem)) => Answer { image_index, problem: Some(problem.into()), ..Answer::default() },
    });
    let answers = answers.collect();
    let reply = IdentifyReply {
        results: answers,
        threshold: Some(threshold.into()),
        revision: gallery.revision().0,
        exact: gallery.exact(),
    };
    Ok(Done { outcome: Outcome::Identify(reply), model_version: Arc::clone(&resolved.served.version) })
}

type Probes = Vec<Result<Probe, (u32, Problem)>>;

/// Faces of all images; an image without one, or that failed, is an entry of its own. A lone image that failed fails
/// the request.
async fn of_images(
    resolved: &Resolved,
    images: Vec<Image>,
    max_faces: usize,
    context: &Context,
) -> Result<Probes, Problem> {
    if images.is_empty() {
        return Err(Problem::invalid("/image", "an image or an embedding is needed"));
    }
    let alone = images.len() == 1;
    let found = images.into_iter().map(|image| resolved.served.pipeline.analyse(image.data, max_faces, context));
    let mut probes = Probes::new();
    for (image_index, analysis) in (0u32..).zip(join_all(found).await) {
        let analysis = analysis.and_then(|a| {
            let none = || Problem::new(ErrorCode::NoFace, "no face was found in the image");
            if a.faces.is_empty() { Err(none()) } else { Ok(a) }
        });
        match analysis {
            Ok(a) => probes.extend(
                a.faces.into_iter().map(|f| Ok(Probe { image_index, face: Some(f.face), template: f.template })),
            ),
            Err(problem) if alone => return Err(problem),
            Err(problem) => probes.push(Err((image_index, problem))),
        }
    }
    Ok(probes)
}

fn of_embeddings(resolved: &Resolved, embeddings: &[Embedding]) -> Result<Probes, Problem> {
    let probe = |(image_index, e)| Ok(Ok(Probe { image_index, face: None, template: resolved.probe(e)? }));
    (0u32..).zip(embeddings).map(probe).collect()
}

/// Labels a subject must carry, and the subjects to search among.
type Filters = (Option<Metadata>, Option<Vec<SubjectId>>);

fn filters(request: &IdentifyRequest) -> Result<Filters, Problem> {
    let ids =
        request.subject_ids.iter().enumerate().map(|(i, id)| {
            SubjectId::new(id).map_err(|e| Problem::invalid(format!("/subject_ids/{i}"), e.to_string()))
        });
    let subjects = ids.collect::<Result<Vec<_>, _>>()?;
    let filter = Metadata(request.filter.clone().into_iter().collect());
    Ok(((!filter.0.is_empty()).then_some(filter), (!subjects.is_empty()).then_some(subjects)))
}

/// What all probes of one request share.
struct Round<'a> {
    desk: &'a Desk,
    tenant: &'a TenantId,
    resolved: &'a Resolved,
    threshold: &'a ResolvedThreshold,
    limit: usize,
}

impl Round<'_> {
    fn answer(&self, probe: &Probe, hits: Vec<Hit>) -> Answer {
        let scores: Vec<f64> = hits.iter().map(|h| cosine(h.score)).collect();
        let (decision, margin) = decide(&scores, self.threshold.score, self.resolved.collection.decision.min_margin);
        let metrics = &self.desk.metrics;
        if let Some(top) = scores.first() {
            metrics.top_score.observe(*top);
        }
        metrics.decisions.with_label_values(&[label(decision)]).inc();
        if let (Decision::Match, Some(top)) = (decision, hits.first()) {
            self.desk.seen.note(self.tenant, &self.resolved.collection, &top.subject.id);
        }
        let reaching = hits.into_iter().zip(1u32..).zip(&scores).filter(|(_, s)| **s >= self.threshold.score);
        let candidates = reaching.take(self.limit).map(|((hit, rank), &score)| Candidate {
            subject_id: hit.subject.id.clone(),
            external_id: hit.subject.external_id.clone(),
            face_id: hit.face_id,
            score,
            fmr_at_score: self.resolved.calibration.fmr_at(score),
            rank,
        });
        Answer {
            image_index: probe.image_index,
            face: probe.face.as_ref().map(Into::into),
            decision: wire::v1::Decision::from(decision).into(),
            candidates: candidates.map(Into::into).collect(),
            margin,
            problem: None,
        }
    }
}

const fn label(d: Decision) -> &'static str {
    match d {
        Decision::Match => "match",
        Decision::NoMatch => "no_match",
        Decision::Ambiguous => "ambiguous",
    }
}
