//! Thresholds in JSON: `null` stands for the infinite one, at which nothing matches.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub fn serialize<S: Serializer>(threshold: &f64, to: S) -> Result<S::Ok, S::Error> {
    threshold.is_finite().then_some(*threshold).serialize(to)
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::INFINITY))
}
