//! Performance of comparison scores after ISO/IEC 19795-1: pure maths, no IO. Used by `visavis eval` and, later, by
//! the gate between two models. A comparison matches when its score is **at or above** the threshold.

mod bootstrap;
mod calibrate;
mod error;
mod roc;
mod scores;
mod verification;

pub use bootstrap::{Bootstrap, Interval};
pub use calibrate::{Calibration, CalibrationRow, MIN_SUPPORT, calibrate};
pub use error::EvaluationError;
pub use roc::{Eer, OperatingPoint, Roc, RocPoint};
pub use scores::{Comparison, ScoreSummary, Scores};
pub use verification::{
    Accuracy, EerEstimate, Estimate, FAILURE_RULE, Failures, TarEstimate, ThresholdOrigin, VerificationReport, report,
};
