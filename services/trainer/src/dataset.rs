//! What a run learns from: crops whose subjects agree to it at this moment, opened into memory and nowhere else. Who is in
//! it is decided once and written down (`manifest.rs`); whether that still holds is looked at again before anything comes
//! of it (`permission.rs`).

pub mod manifest;
mod permission;
mod split;

use std::sync::Arc;

use bytes::Bytes;
use crops::{Crops, In};
use domain::{CollectionId, FaceId, RunFailureCode, TenantId};
use futures::{StreamExt, stream};
use store::{CropOf, SubjectHandle};
use tokio::runtime::Handle;
use vision::{Limits, Rgb8};

use crate::{Halt, stop::Stop};

use self::manifest::{Manifest, Part, Subject};
pub use permission::Gate;

/// Crops read at once.
const AT_ONCE: usize = 8;

/// A crop, opened or where it lies.
struct Sample {
    identity: usize,
    collection: CollectionId,
    handle: SubjectHandle,
    face: FaceId,
    /// As it was encoded; absent where there was no room to hold it.
    png: Option<Bytes>,
}

/// Crops of some subjects. Numbers of identities are places in [`Dataset::identities`].
pub struct Dataset {
    crops: Crops,
    tenant: TenantId,
    runtime: Handle,
    identities: Vec<String>,
    samples: Vec<Sample>,
}

impl Dataset {
    /// Handles of the subjects, in order.
    #[must_use]
    pub fn identities(&self) -> &[String] {
        &self.identities
    }

    /// Number of crops.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Whose crop it is.
    #[must_use]
    pub fn identity(&self, i: usize) -> usize {
        self.samples.get(i).map_or(0, |s| s.identity)
    }

    /// A crop with its margin. Blocks; for threads that may.
    ///
    /// # Errors
    /// [`Halt::Changed`] for one that is not there any more; objects that are away.
    pub fn crop(&self, i: usize) -> Result<Rgb8, Halt> {
        let sample = self.samples.get(i).ok_or_else(|| Halt::internal("there is no such sample"))?;
        let png = match &sample.png {
            Some(png) => png.clone(),
            None => {
                let at = In { tenant: &self.tenant, collection: &sample.collection };
                let of = CropOf { handle: sample.handle, face: &sample.face };
                let read = self.runtime.block_on(self.crops.read(at, of))?;
                Bytes::from(read.ok_or(Halt::Changed)?.1)
            }
        };
        vision::decode(&png, &Limits::default()).map_err(Halt::internal)
    }
}

/// Both parts of a dataset.
pub struct Parts {
    /// To learn from.
    pub train: Dataset,
    /// To measure with.
    pub held_out: Dataset,
}

/// Reads crops for a manifest that may have no hashes yet.
pub struct Reader<'a> {
    pub crops: &'a Crops,
    pub tenant: &'a TenantId,
    pub stop: &'a Stop,
    /// Alignment that the model was made for.
    pub alignment: &'a str,
    /// Bytes of opened crops to hold.
    pub room: usize,
}

/// One crop as it was found.
enum Found {
    Opened(Bytes),
    /// It does not open, is no picture or is aligned in another way.
    Unreadable,
    /// Erased since it was listed.
    Gone,
}

impl Reader<'_> {
    /// Opens every crop of `subjects`, notes its hash, and leaves out what cannot be read. With a hash that is noted already
    /// the crop has to be the same. Gives the subjects that have crops left, both parts, and how many were unreadable.
    ///
    /// # Errors
    /// The run's failure where nothing is left; [`Halt::Changed`] for crops that were listed with their hash and are gone.
    pub async fn open(&self, subjects: Vec<Subject>) -> Result<(Vec<Subject>, Parts, u32), Halt> {
        let (mut kept, mut held, mut unreadable) = (Vec::new(), 0usize, 0u32);
        let (mut train, mut held_out) = (self.part(), self.part());
        let listed: usize = subjects.iter().map(|s| s.crops.len()).sum();
        for mut subject in subjects {
            self.stop.check()?;
            let handle: SubjectHandle =
                subject.handle.parse().map_err(|_| Halt::internal("a handle cannot be read"))?;
            let collection = subject.collection.clone();
            let of = &collection;
            let read = stream::iter(std::mem::take(&mut subject.crops));
            let read = read.map(|crop| async move { (self.one(of, handle, &crop.face).await, crop) });
            let read: Vec<_> = read.buffered(AT_ONCE).collect().await;
            let part = if subject.part == Part::HeldOut { &mut held_out } else { &mut train };
            for (found, mut crop) in read {
                let png = match found? {
                    Found::Opened(png) => png,
                    Found::Gone if crop.sha256.is_empty() => continue,
                    Found::Unreadable if crop.sha256.is_empty() => {
                        unreadable += 1;
                        continue;
                    }
                    Found::Gone | Found::Unreadable => return Err(Halt::Changed),
                };
                let hash = manifest::sha256(&png);
                if !crop.sha256.is_empty() && crop.sha256 != hash {
                    return Err(Halt::Changed);
                }
                crop.sha256 = hash;
                let room = held + png.len() <= self.room;
                held += if room { png.len() } else { 0 };
                part.samples.push(Sample {
                    identity: part.identities.len(),
                    collection: collection.clone(),
                    handle,
                    face: crop.face.clone(),
                    png: room.then_some(png),
                });
                subject.crops.push(crop);
            }
            if !subject.crops.is_empty() {
                part.identities.push(subject.handle.clone());
                kept.push(subject);
            }
        }
        if kept.is_empty() && listed > 0 {
            let detail = format!("none of {listed} crops can be read");
            return Err(Halt::failed(RunFailureCode::UnreadablePhotos, detail));
        }
        Ok((kept, Parts { train, held_out }, unreadable))
    }

    fn part(&self) -> Dataset {
        Dataset {
            crops: self.crops.clone(),
            tenant: self.tenant.clone(),
            runtime: Handle::current(),
            identities: Vec::new(),
            samples: Vec::new(),
        }
    }

    async fn one(&self, collection: &CollectionId, handle: SubjectHandle, face: &FaceId) -> Result<Found, Halt> {
        let at = In { tenant: self.tenant, collection };
        let read = match self.crops.read(at, CropOf { handle, face }).await {
            Err(crops::CropsError::Seal(_)) => return Ok(Found::Unreadable),
            read => read?,
        };
        let Some((record, png)) = read else { return Ok(Found::Gone) };
        let png = Bytes::from(png);
        let whole = record.side + 2 * record.margin;
        let picture = vision::decode(&png, &Limits::default());
        let fits = picture.is_ok_and(|p| (p.width(), p.height()) == (whole, whole));
        Ok(if fits && record.alignment == self.alignment { Found::Opened(png) } else { Found::Unreadable })
    }
}

/// Decides who is in a run and opens their crops; or, where that is decided already, opens those again.
///
/// # Errors
/// The run's failure where there is too little; [`Halt::Changed`] where somebody who was decided on must not be in it any
/// more.
pub async fn prepare(
    gate: &Gate,
    reader: &Reader<'_>,
    decided: Option<Manifest>,
) -> Result<(Manifest, Arc<Parts>), Halt> {
    let fresh = decided.is_none();
    let mut manifest = match decided {
        Some(manifest) => {
            gate.still_allowed(&manifest).await?;
            manifest
        }
        None => split::into_parts(gate.allowed().await?),
    };
    if manifest.subjects.is_empty() {
        let detail = "no crop is there whose subject agrees to training: no consent in force with training_allowed \
                      for the purpose, or nothing retained";
        return Err(Halt::failed(RunFailureCode::NoData, detail));
    }
    let (subjects, parts, unreadable) = reader.open(std::mem::take(&mut manifest.subjects)).await?;
    manifest.subjects = subjects;
    if manifest.subjects.is_empty() {
        return Err(Halt::failed(RunFailureCode::NoData, "everybody was erased while their crops were read"));
    }
    if parts.train.identities.len() < 2 {
        let detail = "there are crops of fewer than two subjects to learn from: a model learns to tell people apart";
        return Err(Halt::failed(RunFailureCode::OneIdentity, detail));
    }
    if fresh {
        manifest.unreadable = unreadable;
        manifest.seal();
    }
    Ok((manifest, Arc::new(parts)))
}
