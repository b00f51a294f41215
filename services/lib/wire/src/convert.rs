//! Conversions between messages and domain types. Into a message never fails; out of one may, since the other
//! side may be of another version.

mod face;
mod people;
mod scores;

use crate::WireError;

/// `Err` naming the field where an optional message is absent.
fn present<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Field { field })
}

/// Parses text into an id or another checked type.
fn parsed<T: std::str::FromStr>(text: &str, field: &'static str) -> Result<T, WireError> {
    text.parse().map_err(|_| WireError::Field { field })
}
