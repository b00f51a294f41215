//! Puts right what the generator makes of our types, so that a document's reader may take it at its word: a program that
//! checks requests against it, and tests/schemathesis, which checks this service.

use domain::Scope;
use serde_json::{Map, Value, json};

use crate::routes::merged;

/// What the types do not say and handlers check: lengths, ranges, which members belong together. By schema, as a merge
/// patch. Whatever else a handler refuses depends on more than the body: on the time, the configuration, other records.
const RULES: &str = include_str!("rules.json");

/// All of it.
pub(super) fn settle(document: &mut Value) {
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
    // The generator writes the variants' names in Rust.
    if let Some(scope) = schemas.get_mut("Scope") {
        scope["enum"] = Scope::ALL.iter().map(|s| s.as_str()).collect();
    }
    // Before, for what is put together of several schemas; after, for what is about the whole.
    tighten(schemas);
    let settled: Vec<(String, Value)> =
        schemas.iter().filter_map(|(name, schema)| Some((name.clone(), whole(schemas, schema)?))).collect();
    schemas.extend(settled);
    tighten(schemas);
}

/// Events of a stream as they arrive, each with a document of the schema that is named for the stream.
pub(super) fn say_events(operation: &mut Value) {
    for response in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        let Some(schema) = response.pointer_mut("/content/text~1event-stream/schema") else { continue };
        let data = json!({"type": "string", "contentMediaType": "application/json", "contentSchema": schema.take()});
        let text = json!({"type": "string"});
        *schema = json!({
            "type": "object",
            "required": ["data"],
            "properties": {"data": data, "event": text, "id": text, "retry": {"type": "integer"}}
        });
    }
}

/// A picture that is the whole body has at least a byte.
pub(super) fn say_pictures(operation: &mut Value) {
    let Some(content) = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut) else { return };
    for (_, body) in content.iter_mut().filter(|(kind, _)| kind.starts_with("image/")) {
        body["schema"] = json!({"type": "string", "format": "binary", "minLength": 1});
    }
}

fn tighten(schemas: &mut Map<String, Value>) {
    let rules: Map<String, Value> = serde_json::from_str(RULES).unwrap_or_default();
    for (name, rule) in rules {
        if let Some(schema) = schemas.get_mut(&name) {
            merged(schema, rule);
        }
    }
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

    /// Whether everything a rule speaks of is there to be ruled: a member that is renamed must not lose its rule unseen.
    fn fits(schemas: &Map<String, Value>, schema: &Value, rule: &Value, at: &str) {
        let schema = resolved(schemas, schema).unwrap();
        for (name, rule) in rule["properties"].as_object().into_iter().flatten() {
            assert!(schema["properties"].get(name).is_some(), "{at} has no {name}");
            fits(schemas, &schema["properties"][name], rule, &format!("{at}/{name}"));
        }
        for choice in ["anyOf", "oneOf"] {
            rule[choice].as_array().into_iter().flatten().for_each(|one| fits(schemas, schema, one, at));
        }
    }

    #[test]
    fn every_rule_is_about_something_and_stands_in_the_document() {
        let document: Value = serde_json::from_str(&super::super::openapi_json()).unwrap();
        let rules: Map<String, Value> = serde_json::from_str(RULES).unwrap();
        assert!(rules.len() > 20);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for (name, rule) in &rules {
            let schema = &document["components"]["schemas"][name];
            assert!(schema.is_object(), "there is no schema {name}");
            fits(schemas, schema, rule, name);
            let mut again = schema.clone();
            merged(&mut again, rule.clone());
            assert_eq!(&again, schema, "{name}");
        }
        let consent = &document["components"]["schemas"]["NewConsent"]["properties"];
        assert_eq!((&consent["method"]["maxLength"], &consent["purposes"]["minItems"]), (&json!(200), &json!(1)));
    }

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
        let detect = &document["paths"]["/v1/detect"]["post"]["requestBody"]["content"];
        assert_eq!(detect["image/webp"]["schema"]["minLength"], 1);
        let withdraw = &document["paths"]["/v1/consents/{consent}/withdraw"]["post"]["responses"];
        assert!(withdraw["410"].is_object(), "an answer that is kept for repetitions may be erased");
        let events = &document["paths"]["/v1/jobs/{job}/events"]["get"]["responses"]["200"]["content"];
        let data = &events["text/event-stream"]["schema"]["properties"]["data"];
        assert_eq!(data["contentSchema"]["$ref"], "#/components/schemas/Job");
    }
}
