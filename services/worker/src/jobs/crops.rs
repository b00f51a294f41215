//! Retaining the crops of an enrolment: objects first, then the commit that holds their records, so that no record is
//! without its object. Called by `enrol`, where the collection and the consent allow it.

use ::crops::{Crop, CropsError, In};
use domain::{CollectionId, CropTerm, ErrorCode, FaceId, Problem, TenantId};
use futures::future::join_all;
use store::{CropOf, CropRecord, SubjectHandle};
use vision::{MARGIN, Rgb8};

use super::Desk;

/// Whose crops.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub tenant: &'a TenantId,
    pub collection: &'a CollectionId,
    pub handle: SubjectHandle,
}

impl<'a> Place<'a> {
    const fn at(&self) -> In<'a> {
        In { tenant: self.tenant, collection: self.collection }
    }
}

/// Seals and writes the objects; gives the records to commit. None where nothing may be kept.
pub(super) async fn keep(
    desk: &Desk,
    place: Place<'_>,
    kept: Option<CropTerm>,
    wide: Vec<(FaceId, Rgb8)>,
) -> Result<Vec<(FaceId, CropRecord)>, Problem> {
    let Some(CropTerm { until }) = kept.filter(|_| !wide.is_empty()) else { return Ok(Vec::new()) };
    let Some(crops) = &desk.crops else { return Err(problem(&CropsError::Nowhere)) };
    let alignment = desk.pipeline.alignment();
    let faces: Vec<(SubjectHandle, FaceId)> = wide.iter().map(|(face, _)| (place.handle, face.clone())).collect();
    let written = wide.into_iter().map(|(face, pixels)| async move {
        let encode = desk.pipeline.cpu.go_on(move || vision::encode_png(&pixels));
        let png = encode.await?.map_err(|e| Problem::new(ErrorCode::Internal, e))?;
        let (side, name) = (alignment.side(), alignment.name().to_owned());
        let crop = Crop { png, alignment: name, side, margin: MARGIN, until };
        let of = CropOf { handle: place.handle, face: &face };
        let record = crops.keep(place.at(), of, &crop).await.map_err(|e| problem(&e))?;
        Ok((face, record))
    });
    // All of them to their end: one that goes on after another has failed would be written after the deletion.
    let written: Result<_, Problem> = join_all(written).await.into_iter().collect();
    if written.is_err() {
        // Some may have been written.
        delete(desk, place, &faces).await;
    }
    written
}

/// Deletes the objects of an enrolment that did not take effect.
pub(super) async fn take_back(desk: &Desk, place: Place<'_>, kept: Vec<(FaceId, CropRecord)>) {
    let faces: Vec<_> = kept.into_iter().map(|(face, _)| (place.handle, face)).collect();
    delete(desk, place, &faces).await;
}

/// What cannot be deleted now is found by a later sweep; nobody can read it meanwhile.
async fn delete(desk: &Desk, place: Place<'_>, faces: &[(SubjectHandle, FaceId)]) {
    if let Some(crops) = desk.crops.as_ref().filter(|_| !faces.is_empty())
        && let Err(error) = crops.take_back(place.at(), faces).await
    {
        tracing::warn!(%error, "crops of an enrolment that came to nothing are left to the next sweep");
    }
}

fn problem(error: &CropsError) -> Problem {
    Problem::new(error.code(), format!("the crops of the faces cannot be kept, so nothing was enrolled: {error}"))
}
