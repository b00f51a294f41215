//! A collection: a tenant's named gallery together with its policy.

use serde::{Deserialize, Serialize};

use crate::{
    CollectionId, Consent, ConsentPolicy, ContractId, Metadata, PromotionPolicy, Purpose, QualityLevel, Retention,
    Serving, Timestamp, TrainingPolicy,
};

/// When an identification counts as a match.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DecisionPolicy {
    /// Share of searches with strangers that may return somebody.
    pub target_fpir: f64,
    /// The best subject must lead the second by this much, else the decision is `ambiguous`.
    pub min_margin: f64,
}

impl Default for DecisionPolicy {
    fn default() -> Self {
        Self { target_fpir: 0.003, min_margin: 0.0 }
    }
}

/// Lowest quality that may be enrolled. Searching is never gated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum QualityGate {
    /// Everything with a face.
    None,
    /// Faces of level `medium` and `high`.
    #[default]
    Medium,
    /// Faces of level `high`.
    High,
}

impl QualityGate {
    /// Whether a face of this level passes.
    #[must_use]
    pub fn admits(self, level: QualityLevel) -> bool {
        match self {
            Self::None => true,
            Self::Medium => level >= QualityLevel::Medium,
            Self::High => level >= QualityLevel::High,
        }
    }
}

/// What is kept of pictures beyond the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RetainCrops {
    /// Nothing.
    #[default]
    None,
    /// The aligned face of every enrolled image whose consent allows training, as long as that consent is in force.
    Training,
}

impl RetainCrops {
    /// Until when the crop of a face may be kept whose enrolment rests on `consent`: forever, or to the consent's end;
    /// nothing where it may not be kept.
    #[must_use]
    pub fn allows(self, consent: &Consent) -> Option<CropTerm> {
        let kept = self == Self::Training && consent.training_allowed;
        kept.then_some(CropTerm { until: consent.expires_at })
    }
}

/// How long a crop may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropTerm {
    /// Its end, if it has one.
    pub until: Option<Timestamp>,
}

/// A tenant's named gallery and its policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Collection {
    /// Its id, unique within the tenant.
    pub id: CollectionId,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it may be used for; at least one.
    pub purposes: Vec<Purpose>,
    /// When an identification counts as a match.
    #[serde(default)]
    pub decision: DecisionPolicy,
    /// Lowest quality that may be enrolled.
    #[serde(default)]
    pub quality_gate: QualityGate,
    /// What is kept of pictures beyond the template.
    #[serde(default)]
    pub retain_crops: RetainCrops,
    /// How long subjects are kept.
    #[serde(default)]
    pub retention: Retention,
    /// Since when matches are noted, for `retention.idle_days`: nobody counts as idle from earlier on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_from: Option<Timestamp>,
    /// What is asked of consents.
    #[serde(default)]
    pub consent: ConsentPolicy,
    /// When it starts a training run by itself.
    #[serde(default)]
    pub training: TrainingPolicy,
    /// The caller's own labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// How models change in it.
    #[serde(default)]
    pub promotion: PromotionPolicy,
    /// Contract of the templates that are searched.
    pub contract: ContractId,
    /// Its models, once one was promoted; before, the deployment's own serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Box<Serving>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}
