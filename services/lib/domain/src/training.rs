//! Training runs: where one stands, how far it has come, why it failed, and when a collection starts one by itself.
//! Written by gateway, worker and trainer; the trainer alone knows how a model learns.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Problem, Timestamp};

/// Where a training run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted, waits for a trainer.
    Queued,
    /// Consents are looked through and crops read.
    Preparing,
    /// The model learns.
    Training,
    /// What came of it is measured beside the model it began with.
    Evaluating,
    /// It is being made a candidate.
    Registering,
    /// There is a candidate.
    Done,
    /// It ended with a failure. No model has changed.
    Failed,
    /// A caller stopped it. No model has changed.
    Cancelled,
}

impl RunState {
    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// The state as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Training => "training",
            Self::Evaluating => "evaluating",
            Self::Registering => "registering",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a training has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunProgress {
    /// Steps done.
    pub step: u64,
    /// Steps there will be, unless it stops early.
    pub steps: u64,
    /// Loss of the last step.
    pub loss: f32,
    /// Learning rate of the last step.
    pub learning_rate: f32,
    /// Pictures a second.
    pub images_per_second: f32,
    /// Seconds to the last step at this speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
}

/// Why a run failed. Callers' programs read it: never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunFailureCode {
    /// No crop may be used for training.
    NoData,
    /// Crops of one subject alone: there is nothing to tell apart.
    OneIdentity,
    /// Not one crop can be read.
    UnreadablePhotos,
    /// The loss is no number any more.
    LossNotFinite,
    /// No room where checkpoints and models are kept.
    StorageFull,
    /// ONNX Runtime computes something else from the model than the engine that trained it.
    ParityFailed,
    /// Subjects were erased or took their consent back again and again while it trained.
    ConsentsChanged,
    /// A recipe or an override that cannot be followed.
    InvalidRecipe,
    /// The model to begin with is not there.
    BaseModelUnavailable,
    /// The model to begin with cannot be trained.
    ModelNotTrainable,
    /// The registry did not take the candidate.
    RegistryRefused,
    /// Several trainers ended without getting it any further.
    GaveUp,
    /// Nobody finished it in time.
    DeadlineExceeded,
    /// A defect of the service.
    Internal,
}

impl RunFailureCode {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::NoData,
        Self::OneIdentity,
        Self::UnreadablePhotos,
        Self::LossNotFinite,
        Self::StorageFull,
        Self::ParityFailed,
        Self::ConsentsChanged,
        Self::InvalidRecipe,
        Self::BaseModelUnavailable,
        Self::ModelNotTrainable,
        Self::RegistryRefused,
        Self::GaveUp,
        Self::DeadlineExceeded,
        Self::Internal,
    ];

    /// The code as text, for metrics and the audit trail.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::OneIdentity => "one_identity",
            Self::UnreadablePhotos => "unreadable_photos",
            Self::LossNotFinite => "loss_not_finite",
            Self::StorageFull => "storage_full",
            Self::ParityFailed => "parity_failed",
            Self::ConsentsChanged => "consents_changed",
            Self::InvalidRecipe => "invalid_recipe",
            Self::BaseModelUnavailable => "base_model_unavailable",
            Self::ModelNotTrainable => "model_not_trainable",
            Self::RegistryRefused => "registry_refused",
            Self::GaveUp => "gave_up",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Internal => "internal",
        }
    }
}

/// Why a run failed, for programs and for people. Names nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{}: {detail}", .code.as_str())]
pub struct RunFailure {
    /// For programs.
    pub code: RunFailureCode,
    /// For people.
    pub detail: String,
}

impl RunFailure {
    /// A failure.
    #[must_use]
    pub fn new(code: RunFailureCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// What a run learnt from, in numbers; who it was stands in its lineage document, by handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunLineage {
    /// SHA-256 of the list of all samples and their content.
    pub dataset_sha256: String,
    /// Subjects it learnt from.
    pub subjects: u32,
    /// Crops of these.
    pub crops: u32,
    /// Subjects it was measured on and never saw.
    pub held_out_subjects: u32,
    /// Crops of these.
    pub held_out_crops: u32,
    /// Crops that could not be read and were left out.
    pub unreadable: u32,
    /// When the consents were looked through.
    pub consents_at: Timestamp,
}

/// Recipes that a run may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RecipeName {
    /// Random weights, everything learnt.
    FromScratch,
    /// The last layer alone: seconds on a processor.
    #[default]
    FineTuneHead,
    /// The last blocks.
    FineTuneTail,
    /// Everything.
    FineTuneFull,
}

impl RecipeName {
    /// Every recipe.
    pub const ALL: [Self; 4] = [Self::FromScratch, Self::FineTuneHead, Self::FineTuneTail, Self::FineTuneFull];

    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FromScratch => "from-scratch",
            Self::FineTuneHead => "fine-tune-head",
            Self::FineTuneTail => "fine-tune-tail",
            Self::FineTuneFull => "fine-tune-full",
        }
    }
}

impl fmt::Display for RecipeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value that replaces one of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum OverrideValue {
    /// On or off.
    Flag(bool),
    /// A count.
    Whole(i64),
    /// A rate.
    Real(f64),
    /// A word.
    Text(String),
}

impl fmt::Display for OverrideValue {
    /// As a TOML value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(v) => write!(f, "{v}"),
            Self::Whole(v) => write!(f, "{v}"),
            Self::Real(v) => write!(f, "{v:?}"),
            Self::Text(v) => write!(f, "{v:?}"),
        }
    }
}

/// Values of a recipe that a run replaces, by dotted key.
pub type Overrides = BTreeMap<String, OverrideValue>;

/// Most values a run may replace.
const MOST_OVERRIDES: usize = 64;

/// Checks the form of overrides; what they mean the trainer knows.
///
/// # Errors
/// `invalid_request` naming the member below `at`.
pub fn check_overrides(overrides: &Overrides, at: &str) -> Result<(), Problem> {
    if overrides.len() > MOST_OVERRIDES {
        return Err(Problem::invalid(at, format!("replaces at most {MOST_OVERRIDES} values")));
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
    for (key, value) in overrides {
        let fits = (1..=64).contains(&key.len()) && key.chars().all(plain);
        if !fits || key.split('.').any(str::is_empty) {
            let detail = "keys are those of a recipe: lower-case letters, digits and '_', joined by '.'";
            return Err(Problem::invalid(at, detail));
        }
        let fine = match value {
            OverrideValue::Real(v) => v.is_finite(),
            OverrideValue::Text(v) => v.len() <= 200 && !v.contains(char::is_control),
            OverrideValue::Flag(_) | OverrideValue::Whole(_) => true,
        };
        if !fine {
            return Err(Problem::invalid(format!("{at}/{key}"), "is no finite number and no short text"));
        }
    }
    Ok(())
}

/// When a collection starts a training run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TrainingPolicy {
    /// Whether it does.
    pub auto: bool,
    /// Crops retained since the last run, whatever came of it, from which on there is another.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub new_templates: u32,
    /// With which recipe.
    pub recipe: RecipeName,
}

impl Default for TrainingPolicy {
    fn default() -> Self {
        Self { auto: false, new_templates: 1_000, recipe: RecipeName::default() }
    }
}

impl TrainingPolicy {
    /// Checks the policy itself.
    ///
    /// # Errors
    /// `invalid_request` naming the field below `at`.
    pub fn check(&self, at: &str) -> Result<(), Problem> {
        if self.new_templates == 0 {
            return Err(Problem::invalid(format!("{at}/new_templates"), "must be at least 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_codes_and_recipes_have_one_spelling() {
        use RunState as S;
        for state in
            [S::Queued, S::Preparing, S::Training, S::Evaluating, S::Registering, S::Done, S::Failed, S::Cancelled]
        {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
            assert_eq!(state.is_final(), matches!(state.as_str(), "done" | "failed" | "cancelled"));
        }
        for recipe in RecipeName::ALL {
            assert_eq!(serde_json::to_value(recipe).unwrap(), recipe.as_str());
        }
        let code = RunFailureCode::LossNotFinite;
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }

    #[test]
    fn overrides_are_values_of_toml_and_nothing_else() {
        let read = |json: &str| serde_json::from_str::<Overrides>(json).unwrap();
        let given = read(r#"{"train.epochs": 3, "loss.margin": 0.4, "ema": true, "optimiser": "sgd"}"#);
        assert!(check_overrides(&given, "/overrides").is_ok());
        let written: Vec<String> = given.iter().map(|(k, v)| format!("{k} = {v}")).collect();
        assert_eq!(written, ["ema = true", "loss.margin = 0.4", "optimiser = \"sgd\"", "train.epochs = 3"]);
        for bad in [r#"{"": 1}"#, r#"{"A": 1}"#, r#"{"a..b": 1}"#, r#"{"a b": 1}"#, "{\"a\": \"\\n\"}"] {
            assert!(check_overrides(&read(bad), "/overrides").is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Overrides>(r#"{"a": [1]}"#).is_err());
    }

    #[test]
    fn a_policy_is_off_unless_said() {
        let policy: TrainingPolicy = serde_json::from_str("{}").unwrap();
        assert!(!policy.auto && policy.check("/training").is_ok());
        let none = TrainingPolicy { new_templates: 0, ..policy };
        assert!(none.check("/training").is_err());
        assert!(serde_json::from_str::<TrainingPolicy>(r#"{"automatic": true}"#).is_err());
    }
}
