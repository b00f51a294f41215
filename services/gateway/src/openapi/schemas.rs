//! Puts right what the generator makes of our types, so that a document's reader may take it at its word: a program that
//! checks requests against it, and tests/schemathesis, which checks this service.

use domain::Scope;
use serde_json::{Map, Value, json};

/// All of it.
pub(super) fn settle(document: &mut Value) {
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
    // The generator writes the variants' names in Rust.
    if let Some(scope) = schemas.get_mut("Scope") {
        scope["enum"] = Scope::ALL.iter().map(|s| s.as_str()).collect();
    }
    let settled: Vec<(String, Value)> =
        schemas.iter().filter_map(|(name, schema)| Some((name.clone(), whole(schemas, schema)?))).collect();
    schemas.extend(settled);
}

/// Parts that are put together with `allOf` as one object, where one of them allows no further properties: it would
/// forbid those of the others, and nothing at all would be valid.
fn whole(schemas: &Map<String, Value>, schema: &Value) -> Option<Value> {
    let parts = schema["allOf"].as_array()?.iter().map(|part| resolved(schemas, part)).collect::<Option<Vec<_>>>()?;
    if !parts.iter().any(|p| p["additionalProperties"] == false) {
        return None;
    }
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts {
        properties.extend(part["properties"].as_object()?.clone());
        required.extend(part["required"].as_array().into_iter().flatten().cloned());
    }
    let mut whole = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        whole["required"] = required.into();
    }
    if let Some(description) = schema.get("description") {
        whole["description"] = description.clone();
    }
    Some(whole)
}

/// A part itself, or what it refers to.
fn resolved<'a>(schemas: &'a Map<String, Value>, part: &'a Value) -> Option<&'a Value> {
    match part["$ref"].as_str() {
        Some(name) => schemas.get(name.rsplit('/').next()?),
        None => Some(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_schema_forbids_what_it_asks_for() {
        let document: Value = serde_json::from_str(&super::super::openapi_json()).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let closed = |part: &Value| resolved(schemas, part).is_some_and(|p| p["additionalProperties"] == false);
        for (name, schema) in schemas {
            let parts = schema["allOf"].as_array().map(Vec::as_slice).unwrap_or_default();
            assert!(!parts.iter().any(closed), "{name} cannot be satisfied");
        }
        let compare = &schemas["CompareJson"];
        assert_eq!(compare["required"], json!(["source", "targets"]));
        assert!(compare["properties"]["threshold"].is_object() && compare["properties"]["source"].is_object());
        assert_eq!(schemas["Scope"]["enum"][3], "subjects:read");
    }
}
