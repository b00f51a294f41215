//! Gives every operation an id of its own. The generator takes the handlers' names, of which many are alike; whoever
//! makes a client of the document, or follows one operation's answer to the next, needs them different.

/// The id of an operation: what its path is about and what is done there, such as `collections_subjects_list`.
pub(super) fn operation(path: &str, handler: &str) -> String {
    let about: Vec<String> =
        path.split('/').filter(|s| !s.is_empty() && *s != "v1" && !s.starts_with('{')).map(word).collect();
    match about.last() {
        Some(last) if last == handler => about.join("_"),
        _ => format!("{}_{handler}", about.join("_")),
    }
}

/// A segment of a path as part of a name: `api-keys` is `api_keys`, `report.html` is `report`.
fn word(segment: &str) -> String {
    let name = segment.trim_start_matches('.').split('.').next().unwrap_or_default();
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn an_operation_is_named_after_its_path_and_what_it_does() {
        assert_eq!(operation("/v1/collections/{collection}/subjects", "list"), "collections_subjects_list");
        assert_eq!(operation("/v1/api-keys/{key}/rotate", "rotate"), "api_keys_rotate");
        assert_eq!(operation("/v1/models/{model}/report.html", "report"), "models_report");
        assert_eq!(operation("/.well-known/jwks.json", "keys"), "well_known_jwks_keys");
        assert_eq!(operation("/livez", "livez"), "livez");
    }

    #[test]
    fn no_two_operations_have_one_id() {
        let document: Value = serde_json::from_str(&super::super::openapi_json()).unwrap();
        let mut seen = BTreeSet::new();
        for (path, method, operation) in super::super::operations(&document) {
            let id = operation["operationId"].as_str().unwrap();
            assert!(seen.insert(id.to_owned()), "{method} {path} has an id that another has: {id}");
        }
        assert!(seen.len() > 50);
    }
}
