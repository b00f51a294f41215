//! Names of objects: `crops/{tenant}/{collection}/{handle}/{face}`, the same words that stand in the store's keys. Made
//! of what is known without the record, so that an erasure can find what it has to delete after the record is gone.

use std::fmt;

use domain::{CollectionId, FaceId, TenantId};
use store::{CropOf, SubjectHandle};

use crate::In;

/// First part of every name.
pub const ROOT: &str = "crops";

/// A crop's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub tenant: TenantId,
    pub collection: CollectionId,
    handle: SubjectHandle,
    face: FaceId,
}

impl Name {
    pub fn of(at: In<'_>, of: CropOf<'_>) -> Self {
        let (tenant, collection) = (at.tenant.clone(), at.collection.clone());
        Self { tenant, collection, handle: of.handle, face: of.face.clone() }
    }

    /// Whose crop it is.
    pub const fn crop(&self) -> CropOf<'_> {
        CropOf { handle: self.handle, face: &self.face }
    }

    /// What all names of a collection, or of one subject in it, begin with.
    pub fn below(at: In<'_>, handle: Option<SubjectHandle>) -> String {
        let collection = format!("{ROOT}/{}/{}", at.tenant, at.collection);
        handle.map_or_else(|| collection.clone(), |h| format!("{collection}/{h}"))
    }

    /// Reads a name that this module wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (root, tenant, collection) = (parts.next()?, parts.next()?, parts.next()?);
        let (handle, face) = (parts.next()?, parts.next()?);
        if root != ROOT || parts.next().is_some() {
            return None;
        }
        Some(Self {
            tenant: TenantId::new(tenant).ok()?,
            collection: CollectionId::new(collection).ok()?,
            handle: handle.parse().ok()?,
            face: FaceId::new(face).ok()?,
        })
    }

    /// What the object is bound to: it opens nowhere else.
    pub fn context(&self) -> Vec<u8> {
        let (handle, face) = (self.handle.to_string(), self.face.to_string());
        seal::context(&["crop", self.tenant.as_str(), self.collection.as_str(), &handle, &face])
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ROOT}/{}/{}/{}/{}", self.tenant, self.collection, self.handle, self.face)
    }
}
