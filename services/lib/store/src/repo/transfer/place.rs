//! Where an imported subject is to be enrolled: what it finds there, what of it is admitted, and the commit that enrols it.

use domain::{Collection, Consent, CropTerm, EnrolledFace, FaceId, Template, Timestamp};

use super::{
    super::{
        CropRecord, RepoError, SubjectHandle, Versioned, as_seen,
        collections::META,
        consents::consent_key,
        crops::put_crop,
        encode,
        retention::Seen,
        subjects::{Tombstone, face_key, guard_key, seen_key, subject_key, template_key, tombstone_key},
    },
    ImportOutcome, WholeSubject,
};
use crate::{Commit, Precondition, Revision};

/// What a subject finds where it is to be enrolled.
pub(super) struct Place {
    /// The collection.
    pub collection: Versioned<Collection>,
    /// A subject of its id is enrolled.
    pub there: bool,
    /// The trace of its erasure, if it was erased.
    pub stone: Option<Versioned<Tombstone>>,
    /// Its consents, those on record here as they are here, with their version.
    pub consents: Vec<(Consent, Option<Revision>)>,
}

impl Place {
    /// The faces that may be enrolled, or why the subject may not.
    pub fn admits<'a>(
        &self,
        whole: &'a WholeSubject,
        now: Timestamp,
    ) -> Result<Vec<&'a (EnrolledFace, Template)>, ImportOutcome> {
        let collection = &self.collection.value;
        if whole.faces.iter().any(|(_, t)| t.contract() != collection.contract) {
            return Err(ImportOutcome::OtherContract(collection.contract));
        }
        if self.there {
            return Err(ImportOutcome::Exists);
        }
        match &self.stone {
            Some(stone) if whole.subject.created_at <= stone.value.erased_at => {
                return Err(ImportOutcome::Erased(stone.value.erased_at));
            }
            _ => {}
        }
        if self.serving(now).next().is_none() {
            return Err(ImportOutcome::ConsentRequired);
        }
        let passes = |(face, _): &&(EnrolledFace, Template)| collection.quality_gate.admits(face.face.quality.level);
        let faces: Vec<_> = whole.faces.iter().filter(passes).collect();
        if faces.is_empty() && !whole.faces.is_empty() { Err(ImportOutcome::LowQuality) } else { Ok(faces) }
    }

    /// The consents that it may be enrolled on.
    fn serving(&self, now: Timestamp) -> impl Iterator<Item = &Consent> {
        let collection = &self.collection.value;
        // One on record here was held against the policy when it was recorded.
        let as_asked = move |c: &Consent| c.stated().check("", &collection.consent, c.recorded_at.min(now)).is_ok();
        let serves = move |(c, version): &&(Consent, Option<Revision>)| {
            c.serves(&collection.purposes, now) && (version.is_some() || as_asked(c))
        };
        self.consents.iter().filter(serves).map(|(c, _)| c)
    }

    /// The crops that may be kept of these faces, as long as the consent that allows it longest.
    pub fn crops(
        &self,
        whole: &WholeSubject,
        faces: &[&(EnrolledFace, Template)],
        now: Timestamp,
    ) -> Vec<(FaceId, CropRecord)> {
        let retain = self.collection.value.retain_crops;
        let terms = self.serving(now).filter_map(|consent| retain.allows(consent));
        let Some(CropTerm { until }) = terms.max_by_key(|term| (term.until.is_none(), term.until)) else {
            return Vec::new();
        };
        let enrolled = |id: &FaceId| faces.iter().any(|(face, _)| face.id == *id);
        let crops = whole.crops.iter().filter(|(face, _)| enrolled(face));
        crops.map(|(face, record)| (face.clone(), CropRecord { until, ..record.clone() })).collect()
    }

    /// Everything of the subject, provided that all is still as it was seen.
    pub fn writes(
        &self,
        whole: &WholeSubject,
        h: SubjectHandle,
        faces: &[&(EnrolledFace, Template)],
        crops: &[(FaceId, CropRecord)],
    ) -> Result<Commit, RepoError> {
        let (subject, stone) = (subject_key(h), tombstone_key(h));
        let mut commit = Commit::new()
            .when(Precondition::Unchanged(META.into(), self.collection.version))
            .when(Precondition::Absent(subject.clone()))
            .when(as_seen(&stone, self.stone.as_ref().map(|s| s.version)))
            .put(&subject, encode(&subject, &whole.subject)?)
            .delete(stone)
            .put(guard_key(h), "");
        for (face, template) in faces {
            let key = face_key(h, &face.id);
            commit = commit.put(&key, encode(&key, face)?).put(template_key(h, &face.id), template.to_bytes());
        }
        for (face, crop) in crops {
            commit = put_crop(commit, h, (face, crop))?;
        }
        if let Some(at) = whole.seen_at {
            let key = seen_key(h);
            commit = commit.put(&key, encode(&key, &Seen { at })?);
        }
        for (consent, version) in &self.consents {
            let key = consent_key(h, &consent.id);
            commit = commit.when(as_seen(&key, *version));
            if version.is_none() {
                commit = commit.put(&key, encode(&key, consent)?);
            }
        }
        Ok(commit)
    }
}
