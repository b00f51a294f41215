//! Who may import whom: the table of ARCHITECTURE.md, and the wrappers of deny.toml.

use std::{collections::BTreeSet, fs};

use crate::workspace::{members, root, short};

/// Member, and what it may import in code that ships.
const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("onnx", &[]),
    ("autograd", &["onnx"]),
    ("architectures", &["onnx"]),
    ("training", &["domain", "vision", "onnx", "autograd", "evaluation"]),
    ("vision", &["domain"]),
    ("evaluation", &["domain"]),
    ("wire", &["domain"]),
    ("runtime", &["domain"]),
    ("inference", &["domain"]),
    ("link", &[]),
    ("seal", &["domain"]),
    ("queue", &["domain", "wire", "link", "seal"]),
    ("evidence", &["domain"]),
    ("trace", &["domain"]),
    ("store", &["domain", "wire", "link", "seal", "evidence"]),
    ("gallery", &["domain", "store", "seal"]),
    ("objects", &["domain"]),
    ("crops", &["domain", "objects", "seal", "store"]),
    ("transfer", &["domain", "seal"]),
    ("models", &["domain", "onnx", "objects", "store"]),
    ("registry", &["domain", "models", "objects", "seal", "store"]),
    ("compress", &["domain", "onnx"]),
    (
        "gateway",
        &[
            "domain", "wire", "queue", "store", "crops", "transfer", "models", "registry", "runtime", "evidence",
            "trace",
        ],
    ),
    (
        "worker",
        &[
            "domain",
            "wire",
            "queue",
            "store",
            "crops",
            "vision",
            "inference",
            "gallery",
            "onnx",
            "models",
            "registry",
            "runtime",
            "evaluation",
            "evidence",
            "trace",
        ],
    ),
    (
        "trainer",
        &[
            "domain",
            "wire",
            "queue",
            "store",
            "seal",
            "objects",
            "crops",
            "vision",
            "inference",
            "onnx",
            "architectures",
            "models",
            "registry",
            "training",
            "evaluation",
            "evidence",
        ],
    ),
];

/// See everything: they put the rest together, or test it.
const SEE_ALL: [&str; 4] = ["visavis", "testkit", "tests", "loadtests"];

/// For tests only: may never be in code that ships.
const TESTS_ONLY: [&str; 3] = ["testkit", "tests", "loadtests"];

#[test]
fn members_import_only_what_the_architecture_allows() {
    let names: BTreeSet<&str> = members().iter().map(|m| m.name.as_str()).collect();
    let mut wrong = Vec::new();
    for member in members() {
        let allowed = ALLOWED.iter().find(|(name, _)| *name == member.name).map(|(_, allowed)| *allowed);
        if allowed.is_none() && !SEE_ALL.contains(&&*member.name) {
            wrong.push(format!("{} is new: say in ARCHITECTURE.md and here what it may import", member.name));
        }
        for d in member.dependencies.iter().filter(|d| !d.dev) {
            let to = short(&d.package);
            let ours = names.contains(to) && d.package.starts_with("visavis");
            if ours && allowed.is_some_and(|a| !a.contains(&to)) {
                wrong.push(format!("{} must not import {to}", member.name));
            }
            if TESTS_ONLY.contains(&to) && !TESTS_ONLY.contains(&&*member.name) {
                wrong.push(format!("{} must import {to} for its tests alone", member.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn roles_never_import_each_other_even_for_tests() {
    const ROLES: [&str; 3] = ["visavis-gateway", "visavis-worker", "visavis-trainer"];
    for member in members().iter().filter(|m| ROLES.iter().any(|r| short(r) == m.name)) {
        let roles = member.dependencies.iter().find(|d| ROLES.contains(&&*d.package));
        assert!(roles.is_none(), "{} imports the role {}", member.name, roles.map_or("", |d| &d.package));
    }
}

/// What deny.toml says about our own members, without cargo-deny at hand.
#[test]
fn wrapped_crates_are_reached_through_their_wrappers_alone() {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let config: toml::Table = text.parse().expect("deny.toml is TOML");
    let denied = config["bans"]["deny"].as_array().expect("bans.deny is a list");
    assert!(denied.len() > 10, "the list of denied crates has been emptied");
    let mut wrong = Vec::new();
    for entry in denied {
        let name = entry["crate"].as_str().expect("an entry names its crate");
        let wrappers: Vec<&str> =
            entry.get("wrappers").and_then(|w| w.as_array()).into_iter().flatten().filter_map(|w| w.as_str()).collect();
        for member in members().iter().filter(|m| m.dependencies.iter().any(|d| d.package == name)) {
            if !wrappers.iter().any(|w| short(w) == member.name) {
                wrong.push(format!("{} must not import {name}: {wrappers:?} may", member.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
