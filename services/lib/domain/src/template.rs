//! Templates: what is stored of a face instead of its picture, and the contract that says which
//! templates may be compared at all.

use std::{fmt, str::FromStr};

use half::{f16, slice::HalfFloatSliceExt, vec::HalfFloatVecExt};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// Identifies how an embedding came about: model file, normalisation and alignment.
/// Scores between templates of different contracts mean nothing and are never computed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContractId([u8; 16]);

impl ContractId {
    /// The contract of a model file (its SHA-256), the normalisation of its input written as text, and the
    /// id of the alignment template.
    #[must_use]
    pub fn derive(model_sha256: &[u8; 32], normalisation: &str, alignment: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [&model_sha256[..], normalisation.as_bytes(), alignment.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// The 16 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From the 16 raw bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ContractId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for ContractId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContractId {
    type Err = TemplateError;
    fn from_str(s: &str) -> Result<Self, TemplateError> {
        let mut id = [0; 16];
        // Digits alone: a number may begin with a sign, an id may not.
        if s.len() != 32 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(TemplateError::Contract);
        }
        for (i, b) in id.iter_mut().enumerate() {
            *b = u8::from_str_radix(&s[2 * i..2 * i + 2], 16).map_err(|_| TemplateError::Contract)?;
        }
        Ok(Self(id))
    }
}

impl Serialize for ContractId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContractId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = std::borrow::Cow::<'de, str>::deserialize(d)?;
        s.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
mod openapi {
    use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};

    impl utoipa::PartialSchema for super::ContractId {
        fn schema() -> RefOr<Schema> {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .pattern(Some("^[0-9a-f]{32}$"))
                .description(Some("Embedding contract: model file, normalisation and alignment"))
                .into()
        }
    }
    impl utoipa::ToSchema for super::ContractId {}
}

/// Why a vector is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// All zeros, or not finite: it has no direction.
    #[error("the embedding has no direction (zero or not finite)")]
    NoDirection,
    /// Stored bytes of the wrong length.
    #[error("the stored template is damaged")]
    Damaged,
    /// No contract id.
    #[error("not an embedding contract id")]
    Contract,
}

/// A unit vector of one contract. Kept in half precision: that is the canonical form which is stored,
/// searched and exported, so every replica computes the same score.
#[derive(Clone, PartialEq)]
pub struct Template {
    contract: ContractId,
    values: Box<[f16]>,
}

impl Template {
    /// Normalises `embedding` to unit length.
    ///
    /// # Errors
    /// [`TemplateError::NoDirection`] for a zero, empty or non-finite vector.
    pub fn from_embedding(contract: ContractId, embedding: &[f32]) -> Result<Self, TemplateError> {
        let unit = unit(embedding)?;
        Ok(Self { contract, values: Vec::from_f32_slice(&unit).into_boxed_slice() })
    }

    /// Reads the form written by [`Template::to_bytes`].
    ///
    /// # Errors
    /// [`TemplateError::Damaged`] when the length is not a contract and a whole number of values.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TemplateError> {
        let (head, body) = bytes.split_first_chunk::<16>().ok_or(TemplateError::Damaged)?;
        if body.is_empty() || body.len() % 2 != 0 {
            return Err(TemplateError::Damaged);
        }
        let values: Box<[f16]> = body.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
        if values.iter().any(|v| !v.is_finite()) {
            return Err(TemplateError::Damaged);
        }
        Ok(Self { contract: ContractId(*head), values })
    }

    /// Contract id (16 bytes), then the values as little-endian half floats.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + 2 * self.values.len());
        out.extend_from_slice(&self.contract.0);
        out.extend(self.values.iter().flat_map(|v| v.to_le_bytes()));
        out
    }

    /// Which templates this one may be compared with.
    #[must_use]
    pub const fn contract(&self) -> ContractId {
        self.contract
    }

    /// The values, unit length up to half precision.
    #[must_use]
    pub fn values(&self) -> &[f16] {
        &self.values
    }

    /// The values widened.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        self.values.to_f32_vec()
    }

    /// Comparison score: cosine similarity, higher is more alike. `None` across contracts.
    #[must_use]
    pub fn score(&self, other: &Self) -> Option<f32> {
        if self.contract != other.contract || self.values.len() != other.values.len() {
            return None;
        }
        let cosine: f32 = self.to_f32().iter().zip(other.to_f32()).map(|(a, b)| a * b).sum();
        // Half precision leaves the length of a vector a little off one.
        Some(cosine.clamp(-1.0, 1.0))
    }
}

/// A template is biometric data: its values never appear in debug output.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({}, {} values)", self.contract, self.values.len())
    }
}

fn unit(v: &[f32]) -> Result<Vec<f32>, TemplateError> {
    let norm = v.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if !norm.is_finite() || norm < 1e-12 {
        return Err(TemplateError::NoDirection);
    }
    #[expect(clippy::cast_possible_truncation, reason = "values of a unit vector fit f32")]
    Ok(v.iter().map(|&x| (f64::from(x) / norm) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contract(n: u8) -> ContractId {
        ContractId::derive(&[n; 32], "rgb", "arcface-112")
    }

    #[test]
    fn contracts_differ_in_every_part_and_round_trip_as_text() {
        let a = contract(1);
        assert_ne!(a, contract(2));
        assert_ne!(a, ContractId::derive(&[1; 32], "bgr", "arcface-112"));
        assert_ne!(ContractId::derive(&[1; 32], "ab", "c"), ContractId::derive(&[1; 32], "a", "bc"));
        assert_eq!(a.to_string().parse::<ContractId>(), Ok(a));
        for wrong in ["zz", &"+f".repeat(16), &"-0".repeat(16), &" 1".repeat(16), &"é".repeat(16)] {
            assert!(wrong.parse::<ContractId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn templates_of_different_contracts_have_no_score() {
        let a = Template::from_embedding(contract(1), &[1.0, 0.0]).unwrap();
        let b = Template::from_embedding(contract(2), &[1.0, 0.0]).unwrap();
        assert_eq!(a.score(&b), None);
        assert_eq!(a.score(&a), Some(1.0));
    }

    #[test]
    fn directionless_vectors_and_damaged_bytes_are_refused() {
        for bad in [&[][..], &[0.0; 4], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0]] {
            assert_eq!(Template::from_embedding(contract(1), bad), Err(TemplateError::NoDirection));
        }
        for n in [0, 15, 16, 17] {
            assert_eq!(Template::from_bytes(&vec![0; n]), Err(TemplateError::Damaged), "{n}");
        }
    }

    #[test]
    fn debug_output_shows_no_values() {
        let t = Template::from_embedding(contract(1), &[0.6, 0.8]).unwrap();
        assert!(!format!("{t:?}").contains("0.6"));
    }

    proptest! {
        #[test]
        fn bytes_round_trip_and_length_is_one(v in prop::collection::vec(-1e3f32..1e3, 1..600)) {
            prop_assume!(v.iter().any(|x| x.abs() > 1e-3));
            let t = Template::from_embedding(contract(3), &v).unwrap();
            prop_assert_eq!(&Template::from_bytes(&t.to_bytes()).unwrap(), &t);
            let own = t.score(&t).unwrap();
            prop_assert!(own <= 1.0 && own > 0.998, "{}", own);
        }
    }
}
