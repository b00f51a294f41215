//! Identifiers. Callers choose ids of tenants, collections and subjects within one alphabet; the rest are UUIDv7.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::Timestamp;

/// Why a caller's id was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing between the slashes.
    #[error("must not be empty")]
    Empty,
    /// More than 64 characters.
    #[error("is longer than 64 characters")]
    TooLong,
    /// Outside `[A-Za-z0-9][A-Za-z0-9._-]*`.
    #[error("may hold only letters, digits, '.', '_' and '-', and must begin with a letter or digit")]
    BadCharacter,
}

/// An id that does not parse, with what kind of id it should have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {reason}")]
pub struct InvalidId {
    /// Such as `collection id`.
    pub kind: &'static str,
    /// What is wrong with it.
    pub reason: IdError,
}

fn check(s: &str) -> Result<(), IdError> {
    let bytes = s.as_bytes();
    match bytes.first() {
        None => return Err(IdError::Empty),
        Some(b) if !b.is_ascii_alphanumeric() => return Err(IdError::BadCharacter),
        Some(_) => {}
    }
    if bytes.len() > 64 {
        return Err(IdError::TooLong);
    }
    let fine = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if bytes.iter().all(fine) { Ok(()) } else { Err(IdError::BadCharacter) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks `s` against `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
            ///
            /// # Errors
            /// [`InvalidId`] says which rule `s` breaks.
            pub fn new(s: impl AsRef<str>) -> Result<Self, InvalidId> {
                let s = s.as_ref();
                check(s).map(|()| Self(s.into())).map_err(|reason| InvalidId { kind: $kind, reason })
            }

            /// A fresh UUIDv7: ids sort by the time they were made.
            #[must_use]
            pub fn generate() -> Self {
                Self(uuid::Uuid::now_v7().to_string().into())
            }

            /// When it was made, if it is one of [`Self::generate`].
            #[must_use]
            pub fn made_at(&self) -> Option<Timestamp> {
                let (seconds, nanos) = uuid::Uuid::parse_str(&self.0).ok()?.get_timestamp()?.to_unix();
                let millis = seconds.checked_mul(1000)?.checked_add(u64::from(nanos / 1_000_000))?;
                i64::try_from(millis).ok().map(Timestamp::from_millis)
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(s: &str) -> Result<Self, InvalidId> {
                Self::new(s)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let s = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::new(s).map_err(de::Error::custom)
            }
        }
    };
}

id!(
    /// Whose data it is. Comes from the credential, never from the request.
    TenantId, "tenant id"
);
id!(
    /// A tenant's named gallery.
    CollectionId, "collection id"
);
id!(
    /// A person within a collection; the caller's own id or a UUIDv7.
    SubjectId, "subject id"
);
id!(
    /// A registered model; a UUIDv7, or the name of one that the deployment brought along.
    ModelId, "model id"
);
id!(
    /// One enrolled face (sample) of a subject.
    FaceId, "face id"
);
id!(
    /// A consent record.
    ConsentId, "consent id"
);
id!(
    /// One unit of queued work.
    JobId, "job id"
);
id!(
    /// An erasure of subjects or of a collection.
    ErasureId, "erasure id"
);
id!(
    /// A training run.
    RunId, "training run id"
);
id!(
    /// A model to begin a training with: `champion`, or a name.
    BaseModel, "base model"
);
id!(
    /// The public half of an API key.
    KeyId, "key id"
);
id!(
    /// One HTTP request, as logs and problem details name it.
    RequestId, "request id"
);

/// What a training begins with unless it is said.
const CHAMPION: &str = "champion";

impl BaseModel {
    /// The model in use.
    #[must_use]
    pub fn champion() -> Self {
        Self(CHAMPION.into())
    }

    /// Whether it is the model in use, whichever that is.
    #[must_use]
    pub fn is_champion(&self) -> bool {
        &*self.0 == CHAMPION
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_alphabet_is_the_documented_one() {
        for ok in ["a", "A-1", "0.x_y", &"k".repeat(64)] {
            assert!(SubjectId::new(ok).is_ok(), "{ok}");
        }
        for (bad, why) in [
            ("", IdError::Empty),
            (".a", IdError::BadCharacter),
            ("a/b", IdError::BadCharacter),
            ("é", IdError::BadCharacter),
            (&*"k".repeat(65), IdError::TooLong),
        ] {
            assert_eq!(SubjectId::new(bad).map_err(|e| e.reason), Err(why), "{bad}");
        }
    }

    #[test]
    fn ids_made_here_tell_when_and_others_do_not() {
        let before = Timestamp::now();
        let made = FaceId::generate().made_at().unwrap();
        assert!(made >= before && made <= Timestamp::now(), "{made}");
        assert_eq!(FaceId::new("door-3").unwrap().made_at(), None);
    }

    #[test]
    fn json_goes_through_the_same_check() {
        assert!(serde_json::from_str::<CollectionId>("\"staff\"").is_ok());
        let e = serde_json::from_str::<CollectionId>("\"../etc\"").unwrap_err().to_string();
        assert!(e.starts_with("collection id may hold only"), "{e}");
    }

    proptest! {
        #[test]
        fn any_text_is_either_kept_as_it_is_or_refused(s in "\\PC{0,80}") {
            if let Ok(id) = SubjectId::new(&s) { prop_assert_eq!(id.as_str(), s); }
        }
    }
}
