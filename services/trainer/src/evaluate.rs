//! The candidate beside the model it began with, on subjects that neither this run nor an earlier one learnt from. Both as
//! they are served.

use domain::CalibrationTable;
use evaluation::{
    Bootstrap, Comparison, Embeddings, Paired, Roc, RocPoint, Scores, VerificationReport, document::CURVE_POINTS,
    paired_verification, verification,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Halt, dataset::Dataset, tables::Tables};

/// Comparisons of different persons at most: what is more is passed over evenly.
const MOST_NON_MATED: usize = 100_000;

/// Resamples of the intervals.
const RESAMPLES: usize = 200;

/// Name of the document beside a run's record.
pub const DOCUMENT: &str = "evaluation";

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Subjects.
    pub subjects: usize,
    /// Crops of theirs.
    pub crops: usize,
    /// The model it began with.
    pub base: Model,
    /// What came of it.
    pub candidate: Model,
    /// One against the other, from the same resamples.
    pub paired: Paired,
}

/// One of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The measures.
    pub report: VerificationReport,
    /// Its ROC.
    pub curve: Vec<RocPoint>,
}

/// The document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// `visavis.training.evaluation/1`.
    pub schema: String,
    /// Largest difference between the engine that trained it and what serves it.
    pub parity: f32,
    /// The measures; absent where there was nobody to measure with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// Why nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_measured: Option<String>,
    /// The candidate's score tables, by the detector they are for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub score_tables: Vec<(String, CalibrationTable)>,
    /// Why it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_score_table: Option<String>,
}

impl Evaluation {
    /// Of what there is.
    #[must_use]
    pub fn new(parity: f32, measured: Result<Measured, String>, tables: Result<Tables, String>) -> Self {
        let (measured, not_measured) = match measured {
            Ok(measured) => (Some(measured), None),
            Err(why) => (None, Some(why)),
        };
        let (score_tables, no_score_table) = match tables {
            Ok(tables) => (tables, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let schema = "visavis.training.evaluation/1".into();
        Self { schema, parity, measured, not_measured, score_tables, no_score_table }
    }

    /// For the candidate's lineage: which tables there are, or why there is none.
    #[must_use]
    pub fn about_tables(&self) -> Value {
        match &self.no_score_table {
            Some(why) => json!(why),
            None => json!(self.score_tables.iter().map(|(_, table)| table.id()).collect::<Vec<_>>()),
        }
    }
}

/// Measures both on the same comparisons; or why that cannot be done.
///
/// # Errors
/// A defect of the evaluation.
pub fn measure(data: &Dataset, base: &Embeddings, candidate: &Embeddings) -> Result<Result<Measured, String>, Halt> {
    let pairs = pairs(data);
    let (mated, all) = (pairs.iter().filter(|(i, j)| data.identity(*i) == data.identity(*j)).count(), pairs.len());
    if mated == 0 || mated == all {
        let detail = format!(
            "{} subjects with {} crops are held out: too few to compare people with themselves and with others",
            data.identities().len(),
            data.len()
        );
        return Ok(Err(detail));
    }
    let bootstrap = Bootstrap { resamples: RESAMPLES, ..Bootstrap::default() };
    let model = |e: &Embeddings| -> Result<(Model, Vec<Comparison>), Halt> {
        let comparisons = comparisons(data, e, &pairs);
        let report = verification(&comparisons, (data.len(), 0), None, bootstrap).map_err(Halt::internal)?;
        let scores = Scores::from_comparisons(&comparisons).map_err(Halt::internal)?;
        let curve = Roc::new(&scores).corners(CURVE_POINTS);
        Ok((Model { report, curve }, comparisons))
    };
    let ((base, first), (candidate, second)) = (model(base)?, model(candidate)?);
    let paired = paired_verification(&first, &second, bootstrap).map_err(Halt::internal)?;
    Ok(Ok(Measured { subjects: data.identities().len(), crops: data.len(), base, candidate, paired }))
}

/// All pairs of one person, and pairs of two, all or evenly chosen.
fn pairs(data: &Dataset) -> Vec<(usize, usize)> {
    let all = || (0..data.len()).flat_map(|i| (i + 1..data.len()).map(move |j| (i, j)));
    let mated = |(i, j): &(usize, usize)| data.identity(*i) == data.identity(*j);
    let others = all().filter(|p| !mated(p)).count();
    let every = others.div_ceil(MOST_NON_MATED).max(1);
    let mut chosen: Vec<_> = all().filter(mated).collect();
    chosen.extend(all().filter(|p| !mated(p)).step_by(every));
    chosen
}

fn comparisons(data: &Dataset, embeddings: &Embeddings, pairs: &[(usize, usize)]) -> Vec<Comparison> {
    let number = |i: usize| u32::try_from(data.identity(i)).unwrap_or(u32::MAX);
    let compare = |&(i, j): &(usize, usize)| Comparison {
        mated: data.identity(i) == data.identity(j),
        score: Some(f64::from(embeddings.score(i, j))),
        subjects: Some([number(i), number(j)]),
        cohort: None,
    };
    pairs.iter().map(compare).collect()
}
