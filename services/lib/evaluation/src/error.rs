//! Why an evaluation has no answer. Shown by the command line.

/// Input from which nothing can be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// Both kinds of comparison are needed.
    #[error("an evaluation needs mated and non-mated comparisons, but there are {mated} and {non_mated}")]
    TooFew {
        /// Mated comparisons with a score.
        mated: usize,
        /// Non-mated comparisons with a score.
        non_mated: usize,
    },
    /// Folds that cannot be held apart.
    #[error("a protocol with folds needs at least two, and a fold for every pair; there are {found}")]
    Folds {
        /// Folds that are there.
        found: usize,
    },
    /// Two runs over different lists.
    #[error("the two runs are not of the same comparisons in the same order")]
    NotPaired,
    /// Nobody is searched for.
    #[error("there is no search to evaluate")]
    NoSearches,
    /// A score is not a number.
    #[error("a comparison score is not a finite number")]
    NotFinite,
    /// Too few non-mated scores for a table.
    #[error("a calibration table needs at least {needed} non-mated scores, but there are {found}")]
    SampleTooSmall {
        /// Smallest sample.
        needed: usize,
        /// What is there.
        found: usize,
    },
    /// The scores do not make a usable table.
    #[error("the scores do not make a calibration table: {0}")]
    Table(String),
}

impl EvaluationError {
    /// The code a caller would see.
    #[must_use]
    pub const fn code(&self) -> domain::ErrorCode {
        domain::ErrorCode::InvalidRequest
    }
}
