//! Which models a collection's templates are of: the one that answers, one that was replaced and may come back, one that
//! is being prepared. Part of the collection's record, so that a request reads all of it in one moment and a switch is one
//! write. Changed by promotions; read by everybody who embeds, searches or resolves a threshold.

use serde::{Deserialize, Serialize};

use crate::{CalibrationTable, Collection, ContractId, ErrorCode, ModelId, Problem, Timestamp};

/// A model in the service of one collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServingModel {
    /// The registered model; absent for the one that the deployment brought along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ModelId>,
    /// Contract of its templates.
    pub contract: ContractId,
    /// Which generation of the gallery its templates are.
    pub generation: u32,
    /// Score table for this collection; the deployment's own model has its manifest's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub calibration: Option<CalibrationTable>,
}

/// A model that was replaced and may come back at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeptModel {
    /// Which.
    #[serde(flatten)]
    pub model: ServingModel,
    /// Until when its templates are kept, and written for who is enrolled meanwhile.
    pub until: Timestamp,
}

/// The models of a collection that has seen a promotion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Serving {
    /// Number of the latest generation; the first is 0.
    pub generations: u32,
    /// Answers.
    pub active: ServingModel,
    /// Was replaced and may come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<KeptModel>,
    /// Is being prepared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub building: Option<ServingModel>,
}

/// What becomes, at a promotion, of subjects whose pictures were not retained, so that no other model can embed them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WithoutCrops {
    /// Nobody is to be lost: a model is not promoted while there are such faces.
    #[default]
    Refuse,
    /// They stay with the model they were enrolled with, and are not found by the new one until enrolled again.
    Leave,
}

/// How models change in a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PromotionPolicy {
    /// What becomes of faces without a retained crop.
    pub without_crops: WithoutCrops,
    /// Days for which a replaced model stays ready to come back, 0 to 365.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 365))]
    pub keep_days: u16,
}

impl Default for PromotionPolicy {
    fn default() -> Self {
        Self { without_crops: WithoutCrops::Refuse, keep_days: 30 }
    }
}

impl PromotionPolicy {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// `invalid_request` naming the field below `pointer`.
    pub fn check(&self, pointer: &str) -> Result<(), Problem> {
        if self.keep_days <= 365 {
            return Ok(());
        }
        Err(Problem::invalid(format!("{pointer}/keep_days"), "must be 0 to 365"))
    }
}

impl Serving {
    /// Every model whose templates are written at an enrolment, the one that answers first.
    pub fn written(&self) -> impl Iterator<Item = &ServingModel> {
        let others = self.kept.iter().map(|k| &k.model).chain(&self.building);
        std::iter::once(&self.active).chain(others)
    }
}

impl Collection {
    /// The models as they are, also where no promotion has been seen yet.
    #[must_use]
    pub fn serving(&self) -> Serving {
        let own = ServingModel { id: None, contract: self.contract, generation: 0, calibration: None };
        let first = || Serving { generations: 0, active: own, kept: None, building: None };
        self.serving.as_deref().cloned().unwrap_or_else(first)
    }

    /// Begins to prepare a model: from now on enrolments write its templates as well.
    ///
    /// # Errors
    /// `conflict` while another is being prepared, or for a model that is here already.
    pub fn prepare(
        &mut self,
        id: ModelId,
        contract: ContractId,
        calibration: CalibrationTable,
    ) -> Result<u32, Problem> {
        let mut serving = self.serving();
        if let Some(other) = serving.written().find(|m| m.contract == contract) {
            let detail = if serving.active.contract == contract {
                "the model answers for this collection already".to_owned()
            } else if serving.kept.as_ref().is_some_and(|k| k.model.contract == contract) {
                "the model was replaced in this collection and is kept: roll back to it, or retire it first".to_owned()
            } else {
                format!("the model is being prepared for this collection (generation {})", other.generation)
            };
            return Err(Problem::new(ErrorCode::Conflict, detail));
        }
        if serving.building.is_some() {
            return Err(Problem::new(ErrorCode::Conflict, "another model is being prepared for this collection"));
        }
        serving.generations += 1;
        let generation = serving.generations;
        serving.building = Some(ServingModel { id: Some(id), contract, generation, calibration: Some(calibration) });
        self.serving = Some(Box::new(serving));
        Ok(generation)
    }

    /// Puts the prepared model in the place of the one that answers, which is kept until `keep_until`. One that was kept
    /// before is not any more.
    ///
    /// # Errors
    /// `conflict` where that model is not being prepared.
    pub fn switch(&mut self, to: ContractId, keep_until: Timestamp) -> Result<(), Problem> {
        let mut serving = self.serving();
        let Some(next) = serving.building.take_if(|b| b.contract == to) else {
            return Err(Problem::new(ErrorCode::Conflict, "the model is not being prepared for this collection"));
        };
        let model = std::mem::replace(&mut serving.active, next);
        serving.kept = Some(KeptModel { model, until: keep_until });
        self.contract = to;
        self.serving = Some(Box::new(serving));
        Ok(())
    }

    /// Puts the kept model back in its place; the one that answered is kept instead. A model that is being prepared is
    /// given up.
    ///
    /// # Errors
    /// `conflict` where `from` neither answers nor is being prepared, or nothing is kept.
    pub fn roll_back(&mut self, from: ContractId, keep_until: Timestamp) -> Result<(), Problem> {
        let mut serving = self.serving();
        if serving.building.take_if(|b| b.contract == from).is_none() {
            if serving.active.contract != from {
                let detail = "the model neither answers for this collection nor is being prepared for it";
                return Err(Problem::new(ErrorCode::Conflict, detail));
            }
            let Some(back) = serving.kept.take() else {
                return Err(Problem::new(ErrorCode::Conflict, "no replaced model is kept for this collection"));
            };
            self.contract = back.model.contract;
            let model = std::mem::replace(&mut serving.active, back.model);
            serving.kept = Some(KeptModel { model, until: keep_until });
        }
        self.serving = Some(Box::new(serving));
        Ok(())
    }

    /// Gives the kept model up: its templates are to go.
    ///
    /// # Errors
    /// `conflict` where that model is not kept.
    pub fn retire(&mut self, contract: ContractId) -> Result<(), Problem> {
        let mut serving = self.serving();
        if serving.kept.take_if(|k| k.model.contract == contract).is_none() {
            return Err(Problem::new(ErrorCode::Conflict, "the model is not kept for this collection"));
        }
        self.serving = Some(Box::new(serving));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CalibrationPoint;

    fn contract(n: u8) -> ContractId {
        ContractId::from_bytes([n; 16])
    }

    fn table() -> CalibrationTable {
        let points = [(1e-2, 0.3), (1e-3, 0.4)].map(|(fmr, score)| CalibrationPoint { fmr, score });
        CalibrationTable::new("t", points.to_vec()).unwrap()
    }

    fn collection() -> Collection {
        serde_json::from_value(serde_json::json!({
            "id": "staff", "purposes": ["access_control"], "contract": contract(1),
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    fn written(c: &Collection) -> Vec<u8> {
        c.serving().written().map(|m| m.contract.as_bytes()[0]).collect()
    }

    fn id(s: &str) -> ModelId {
        s.parse().unwrap()
    }

    #[test]
    fn a_model_is_prepared_switched_to_and_rolled_back_from() {
        let (mut c, end) = (collection(), Timestamp::from_millis(9));
        assert_eq!(written(&c), [1]);
        assert_eq!(c.prepare(id("two"), contract(2), table()), Ok(1));
        assert_eq!((written(&c), c.contract), (vec![1, 2], contract(1)));
        c.switch(contract(2), end).unwrap();
        assert_eq!((written(&c), c.contract), (vec![2, 1], contract(2)));
        assert_eq!(c.serving().active.id, Some(id("two")));
        c.roll_back(contract(2), end).unwrap();
        assert_eq!((written(&c), c.contract, c.serving().active.id), (vec![1, 2], contract(1), None));
        // There and back: the one that was left is ready as well.
        c.roll_back(contract(1), end).unwrap();
        assert_eq!((c.contract, c.serving().active.generation), (contract(2), 1));
        c.retire(contract(1)).unwrap();
        assert_eq!(written(&c), [2]);
        let again: Collection = serde_json::from_value(serde_json::to_value(&c).unwrap()).unwrap();
        assert_eq!(again, c);
    }

    #[test]
    fn a_third_model_takes_the_place_of_the_kept_one_only_at_the_switch() {
        let (mut c, end) = (collection(), Timestamp::from_millis(9));
        c.prepare(id("two"), contract(2), table()).unwrap();
        c.switch(contract(2), end).unwrap();
        assert_eq!(c.prepare(id("three"), contract(3), table()), Ok(2));
        assert_eq!(written(&c), [2, 1, 3]);
        c.switch(contract(3), end).unwrap();
        assert_eq!(written(&c), [3, 2]);
    }

    #[test]
    fn what_does_not_fit_the_present_state_is_a_conflict() {
        let (mut c, end) = (collection(), Timestamp::from_millis(9));
        let conflict = |r: Result<(), Problem>| assert_eq!(r.unwrap_err().code, ErrorCode::Conflict);
        conflict(c.switch(contract(2), end));
        conflict(c.roll_back(contract(1), end));
        conflict(c.retire(contract(1)));
        conflict(c.prepare(id("one"), contract(1), table()).map(drop));
        c.prepare(id("two"), contract(2), table()).unwrap();
        conflict(c.prepare(id("three"), contract(3), table()).map(drop));
        conflict(c.switch(contract(3), end));
        // Giving up what is being prepared leaves the rest as it was.
        c.roll_back(contract(2), end).unwrap();
        assert_eq!((written(&c), c.contract), (vec![1], contract(1)));
        assert_eq!(c.prepare(id("two"), contract(2), table()), Ok(2), "numbers of generations do not come again");
    }
}
