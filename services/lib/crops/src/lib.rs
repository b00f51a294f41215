//! Retained crops: pictures of enrolled faces, kept only where the collection's policy and the consent allow. Each is an
//! object sealed under a key of its own, which lies in the store in a record below the subject's handle: erasing the
//! subject destroys the key in the same commit, wherever copies of the object may be. The worker keeps them, the gateway
//! erases them, trainers read them. See the decision record on crops.

mod error;
mod marker;
mod name;
mod sweep;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use domain::{CollectionId, FaceId, TenantId, Timestamp};
use futures::{StreamExt, stream::BoxStream};
use objects::{Listed, Objects, ObjectsError};
use seal::DataKey;
use store::{CropOf, CropRecord, CropRecords, Store, SubjectHandle};

pub use error::CropsError;
pub use sweep::Swept;

use crate::name::Name;

/// Objects looked at together.
const AT_ONCE: usize = 500;

/// A collection.
#[derive(Clone, Copy, Debug)]
pub struct In<'a> {
    /// Whose it is.
    pub tenant: &'a TenantId,
    /// Which.
    pub collection: &'a CollectionId,
}

/// Which crops of a collection.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// Everybody's.
    Everybody,
    /// A subject's.
    Subject(SubjectHandle),
    /// A face's.
    Face(CropOf<'a>),
}

/// A crop to be kept.
#[derive(Clone)]
pub struct Crop {
    /// The aligned face with margin, encoded without loss.
    pub png: Vec<u8>,
    /// Name of the alignment.
    pub alignment: String,
    /// Side of the aligned face in pixels, without margin.
    pub side: u32,
    /// Pixels around it, on every side.
    pub margin: u32,
    /// Until when it may be kept, if the consent ends.
    pub until: Option<Timestamp>,
}

/// Crops in their objects, and what the store knows of them; cheap to clone.
#[derive(Clone)]
pub struct Crops {
    store: Arc<dyn Store>,
    objects: Objects,
}

impl Crops {
    /// Over a store and the place that holds its objects. At the first use the place is marked as this store's; a place
    /// with another mark is refused: processes that look at different places would not find what they are to erase.
    ///
    /// # Errors
    /// [`CropsError::Elsewhere`]; the store's and the objects'.
    pub async fn open(store: Arc<dyn Store>, objects: Objects) -> Result<Self, CropsError> {
        marker::check(&*store, &objects).await?;
        Ok(Self { store, objects })
    }

    /// Seals a crop and writes its object. Nothing can read it until the record that comes of this is committed.
    ///
    /// # Errors
    /// The objects', no randomness.
    pub async fn keep(&self, at: In<'_>, of: CropOf<'_>, crop: &Crop) -> Result<CropRecord, CropsError> {
        let (record, sealed) = Self::seal(at, of, crop)?;
        self.put(at, of, sealed).await?;
        Ok(record)
    }

    /// Seals a crop for its place, and writes nothing: for who commits the record before the object is there, because
    /// somebody else's may lie under its name until then.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal(at: In<'_>, of: CropOf<'_>, crop: &Crop) -> Result<(CropRecord, Bytes), CropsError> {
        let key = DataKey::generate()?;
        let sealed = key.seal(&Name::of(at, of).context(), &crop.png)?;
        let record = CropRecord {
            key: hex::encode(&key.to_bytes()[..]),
            size: sealed.len() as u64,
            alignment: crop.alignment.clone(),
            side: crop.side,
            margin: crop.margin,
            created_at: Timestamp::now(),
            until: crop.until,
        };
        Ok((record, sealed.into()))
    }

    /// Writes the object of a crop that was sealed for this place.
    ///
    /// # Errors
    /// The objects'.
    pub async fn put(&self, at: In<'_>, of: CropOf<'_>, sealed: Bytes) -> Result<(), CropsError> {
        Ok(self.objects.put(&Name::of(at, of).to_string(), sealed).await?)
    }

    /// Erases the records of crops whose objects could not be written.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget(&self, at: In<'_>, of: &[CropOf<'_>]) -> Result<(), CropsError> {
        Ok(self.records(at).erase(of).await?)
    }

    /// The crop of a face as it was encoded, with its record. Nothing where none is kept, and where the object of one
    /// that is being erased is gone already.
    ///
    /// # Errors
    /// The store's and the objects'; [`CropsError::Seal`] for an object that does not open.
    pub async fn read(&self, at: In<'_>, of: CropOf<'_>) -> Result<Option<(CropRecord, Vec<u8>)>, CropsError> {
        let Some(record) = self.records(at).get(of).await?.map(|r| r.value) else { return Ok(None) };
        Ok(self.open_object(at, of, &record).await?.map(|png| (record, png)))
    }

    /// The same where the record is at hand.
    ///
    /// # Errors
    /// The objects'; [`CropsError::Seal`] for an object that does not open.
    pub async fn open_object(
        &self,
        at: In<'_>,
        of: CropOf<'_>,
        record: &CropRecord,
    ) -> Result<Option<Vec<u8>>, CropsError> {
        let name = Name::of(at, of);
        let Some(sealed) = self.objects.get(&name.to_string()).await? else { return Ok(None) };
        let key = hex::decode(&record.key).map_err(|_| seal::SealError::Form)?;
        Ok(Some(DataKey::from_bytes(&key)?.open(&name.context(), &sealed)?))
    }

    /// Deletes the objects of an enrolment that came to nothing. Their keys were never written down.
    ///
    /// # Errors
    /// The objects'.
    pub async fn take_back(&self, at: In<'_>, faces: &[(SubjectHandle, FaceId)]) -> Result<(), CropsError> {
        let name =
            |(handle, face): &(SubjectHandle, FaceId)| Name::of(at, CropOf { handle: *handle, face }).to_string();
        let names: Vec<String> = faces.iter().map(name).collect();
        Ok(self.objects.delete(&names).await?)
    }

    /// Deletes the objects that no record in the store knows any more: what is left of the erased. Comes after the commit
    /// that erased their records and before its acknowledgement; can be repeated, whatever was broken off. How many there
    /// were.
    ///
    /// # Errors
    /// The store's and the objects'.
    pub async fn erase(&self, at: In<'_>, whose: Whose<'_>) -> Result<u64, CropsError> {
        let mut erased = 0;
        let mut listed = self.list(at, whose);
        while let Some(names) = some(&mut listed).await? {
            let unknown = self.unknown(at, &names).await?;
            self.objects.delete(&unknown).await?;
            erased += unknown.len() as u64;
        }
        Ok(erased)
    }

    /// How many objects there are that no record knows: for who verifies an erasure. An enrolment under way may be the
    /// owner of one for a moment.
    ///
    /// # Errors
    /// The store's and the objects'.
    pub async fn left(&self, at: In<'_>, whose: Whose<'_>) -> Result<u64, CropsError> {
        let (mut left, mut listed) = (0, self.list(at, whose));
        while let Some(names) = some(&mut listed).await? {
            left += self.unknown(at, &names).await?.len() as u64;
        }
        Ok(left)
    }

    /// Erases every crop of a collection, keys and objects: its policy has changed. How many objects there were.
    ///
    /// # Errors
    /// The store's and the objects'.
    pub async fn drop_all(&self, at: In<'_>) -> Result<u64, CropsError> {
        self.records(at).erase_all().await?;
        self.erase(at, Whose::Everybody).await
    }

    /// Whose crops a collection holds, in a fixed order.
    ///
    /// # Errors
    /// The store's.
    pub async fn listed(&self, at: In<'_>) -> Result<Vec<(SubjectHandle, FaceId)>, CropsError> {
        Ok(self.records(at).listed().await?)
    }

    /// How many crops a collection holds.
    ///
    /// # Errors
    /// The store's.
    pub async fn count(&self, at: In<'_>) -> Result<u64, CropsError> {
        Ok(self.records(at).count().await?)
    }

    fn records(&self, at: In<'_>) -> CropRecords {
        CropRecords::new(Arc::clone(&self.store), at.tenant, at.collection)
    }

    /// Names below a collection's or a subject's prefix. A face's is known without looking.
    fn list(&self, at: In<'_>, whose: Whose<'_>) -> BoxStream<'static, Result<Listed, ObjectsError>> {
        match whose {
            Whose::Everybody => self.objects.list(&Name::below(at, None)),
            Whose::Subject(handle) => self.objects.list(&Name::below(at, Some(handle))),
            Whose::Face(of) => {
                let one = Listed { name: Name::of(at, of).to_string(), size: 0, written_at: Timestamp::now() };
                futures::stream::once(async { Ok(one) }).boxed()
            }
        }
    }

    /// Of these objects those that no record knows.
    async fn unknown(&self, at: In<'_>, listed: &[Listed]) -> Result<Vec<String>, CropsError> {
        let names: Vec<Name> = listed.iter().filter_map(|l| Name::parse(&l.name)).collect();
        let of: Vec<CropOf<'_>> = names.iter().map(Name::crop).collect();
        let known = self.records(at).get_many(&of).await?;
        Ok(names.iter().zip(known).filter(|(_, k)| k.is_none()).map(|(n, _)| n.to_string()).collect())
    }
}

/// The next few of a listing; nothing at its end.
async fn some(
    listed: &mut BoxStream<'static, Result<Listed, ObjectsError>>,
) -> Result<Option<Vec<Listed>>, ObjectsError> {
    let mut some = Vec::new();
    while let Some(found) = listed.next().await {
        some.push(found?);
        if some.len() >= AT_ONCE {
            break;
        }
    }
    Ok(Some(some).filter(|s| !s.is_empty()))
}

impl fmt::Debug for Crops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crops({})", self.objects.place())
    }
}
