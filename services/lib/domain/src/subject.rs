//! A subject and its enrolled faces, as the store keeps and the API shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ContractId, Face, FaceId, Problem, SubjectId, Timestamp};

/// The caller's own labels: text by name, at most 32 of them.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Metadata(pub BTreeMap<String, String>);

impl Metadata {
    /// Checks number and length: at most 32 labels, names of 1–64 and values of up to 512 characters.
    ///
    /// # Errors
    /// `invalid_request` naming the label below `at`.
    pub fn check(&self, at: &str) -> Result<(), Problem> {
        if self.0.len() > 32 {
            return Err(Problem::invalid(at, "at most 32 labels are allowed"));
        }
        for (name, value) in &self.0 {
            if name.is_empty() || name.chars().count() > 64 || value.chars().count() > 512 {
                let detail = "a label's name has 1 to 64 characters and its value at most 512";
                return Err(Problem::invalid(format!("{at}/{}", name.chars().take(64).collect::<String>()), detail));
            }
        }
        Ok(())
    }

    /// Whether every label of `filter` is here with the same value.
    #[must_use]
    pub fn satisfies(&self, filter: &Self) -> bool {
        filter.0.iter().all(|(k, v)| self.0.get(k) == Some(v))
    }
}

/// A person enrolled in a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Subject {
    /// Unique within the collection.
    pub id: SubjectId,
    /// The caller's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The caller's own labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// When it was enrolled.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// One enrolled face of a subject; its template is kept apart and never leaves by this way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrolledFace {
    /// Its id.
    pub id: FaceId,
    /// Whose it is.
    pub subject_id: SubjectId,
    /// What was seen in the image it came from.
    #[serde(flatten)]
    pub face: Face,
    /// Contract of its template.
    pub contract: ContractId,
    /// When it was enrolled.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Metadata {
        Metadata(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn a_filter_must_be_contained() {
        let m = labels(&[("site", "north"), ("shift", "late")]);
        assert!(m.satisfies(&labels(&[])) && m.satisfies(&labels(&[("site", "north")])));
        assert!(!m.satisfies(&labels(&[("site", "south")])) && !m.satisfies(&labels(&[("door", "1")])));
    }

    #[test]
    fn labels_are_bounded() {
        assert!(labels(&[("a", &"x".repeat(512))]).check("/metadata").is_ok());
        assert!(labels(&[("a", &"x".repeat(513))]).check("/metadata").is_err());
        assert!(labels(&[("", "x")]).check("/metadata").is_err());
        let many = Metadata((0..33).map(|i| (format!("k{i}"), String::new())).collect());
        assert!(many.check("/metadata").is_err());
    }
}
