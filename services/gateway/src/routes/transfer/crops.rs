//! Retained crops on their way out with an export, and in with an import: opened here, sealed anew there, kept only as the
//! collection and a consent allow where they arrive.

use std::collections::HashMap;

use ::crops::{Crop, Crops, In};
use bytes::Bytes;
use domain::{CollectionId, FaceId, RetainCrops, TenantId};
use store::{CropOf, CropRecord, SubjectHandle, WholeSubject};
use transfer::{CropLine, LONGEST_LINE};

use crate::problem::{ApiProblem, Result};

/// Most bytes of pictures in one line: sealed and in base64 twice they leave room for everything else. More than a
/// hundred crops of this version.
const ROOM: usize = LONGEST_LINE * 3 / 8;

/// Where the crops of a collection lie.
#[derive(Clone)]
pub(super) struct Place {
    crops: Crops,
    tenant: TenantId,
    collection: CollectionId,
}

/// Crops of a subject, sealed and not yet written.
pub(super) type Sealed = Vec<(FaceId, CropRecord, Bytes)>;

impl Place {
    /// Of a collection that retains crops, on a service that can.
    pub fn of(crops: Option<&Crops>, tenant: &TenantId, collection: &domain::Collection) -> Option<Self> {
        let crops = crops.filter(|_| collection.retain_crops == RetainCrops::Training)?.clone();
        Some(Self { crops, tenant: tenant.clone(), collection: collection.id.clone() })
    }

    fn at(&self) -> In<'_> {
        In { tenant: &self.tenant, collection: &self.collection }
    }

    /// The crops of a subject by face, as many as a line has room for, and how many are left out.
    pub async fn read(&self, handle: SubjectHandle, whole: &WholeSubject) -> Result<(HashMap<FaceId, CropLine>, u64)> {
        let (mut lines, mut left_out, mut room) = (HashMap::new(), 0, ROOM);
        for (face, record) in &whole.crops {
            if usize::try_from(record.size).unwrap_or(usize::MAX) > room {
                left_out += 1;
                continue;
            }
            let read = self.crops.open_object(self.at(), CropOf { handle, face }, record).await;
            let png = match read {
                Ok(Some(png)) => png,
                // Erased between the record and this, or never written.
                Ok(None) => {
                    left_out += 1;
                    continue;
                }
                Err(error) if error.code().retryable() => return Err(ApiProblem::new(error.code(), error.to_string())),
                Err(error) => {
                    tracing::warn!(%error, "a crop does not open and is left out of an export");
                    left_out += 1;
                    continue;
                }
            };
            room = room.saturating_sub(png.len());
            let form = (record.alignment.clone(), record.side, record.margin);
            lines.insert(face.clone(), CropLine::new(&png, form, record.created_at));
        }
        Ok((lines, left_out))
    }

    /// Crops that came with an import, sealed for their place here.
    pub fn seal(&self, handle: SubjectHandle, crops: Vec<(FaceId, CropLine, Vec<u8>)>) -> Result<Sealed> {
        let seal = |(face, line, png): (FaceId, CropLine, Vec<u8>)| {
            let CropLine { alignment, side, margin, created_at, .. } = line;
            // How long it may be kept is settled where the consents are, in the commit.
            let crop = Crop { png, alignment, side, margin, until: None };
            let sealed = Crops::seal(self.at(), CropOf { handle, face: &face }, &crop);
            let (record, sealed) = sealed.map_err(|e| ApiProblem::new(e.code(), e.to_string()))?;
            Ok((face, CropRecord { created_at, ..record }, sealed))
        };
        crops.into_iter().map(seal).collect()
    }

    /// Writes the objects of those whose records are committed: before that, one of an earlier import may lie there. How
    /// many are written; the records of the others are erased again.
    pub async fn write(&self, handle: SubjectHandle, sealed: Sealed, committed: &[FaceId]) -> usize {
        let (mut written, mut failed) = (0, Vec::new());
        for (face, _, bytes) in sealed.into_iter().filter(|(face, ..)| committed.contains(face)) {
            match self.crops.put(self.at(), CropOf { handle, face: &face }, bytes).await {
                Ok(()) => written += 1,
                Err(error) => {
                    tracing::warn!(%error, "a crop of an import cannot be written");
                    failed.push(face);
                }
            }
        }
        let of: Vec<CropOf<'_>> = failed.iter().map(|face| CropOf { handle, face }).collect();
        if !of.is_empty()
            && let Err(error) = self.crops.forget(self.at(), &of).await
        {
            // Whoever reads a record without object finds nothing.
            tracing::warn!(%error, "records of crops that could not be written stay");
        }
        written
    }
}
