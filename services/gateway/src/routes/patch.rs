//! JSON merge patch (RFC 7396) over the changeable part of a record.

use domain::Problem;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::extract::from_value;

/// `present` with `patch` merged in: members replace, `null` removes, objects merge.
pub(crate) fn merge<T: Serialize + DeserializeOwned>(present: &T, patch: Value) -> Result<T, Problem> {
    if !patch.is_object() {
        return Err(Problem::invalid("", "a merge patch is a JSON object"));
    }
    let mut value = serde_json::to_value(present).unwrap_or_default();
    merged(&mut value, patch);
    from_value(value)
}

/// Merges `patch` into `target`.
pub(crate) fn merged(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            merged(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_replace_null_removes_and_objects_merge() {
        let merged: Value = merge(
            &json!({"a": 1, "m": {"x": "1", "y": "2"}}),
            json!({"a": null, "m": {"x": "3", "y": null}, "b": [1]}),
        )
        .unwrap();
        assert_eq!(merged, json!({"m": {"x": "3"}, "b": [1]}));
        assert!(merge(&json!({}), json!([1])).is_err());
    }
}
