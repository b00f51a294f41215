//! Every operation × every wrong credential is refused and changes nothing; every operation with the right scope alone is
//! let through.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use testkit::{Answer, Client};

use crate::{
    candidates::tiny,
    credentials::{ByScope, wrong_everywhere},
    operations::{Elsewhere, OPERATIONS, Operation, PUBLIC},
    world::{EXPORT_KEY, ISSUERS, PERSON, World, app, key},
};

/// The scope of every operation in the document; none for public ones.
fn documented(document: &Value) -> BTreeMap<String, Option<String>> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("operations");
        item.iter().map(move |(method, operation)| {
            let scope = operation["security"][0]["bearer"][0].as_str().map(str::to_owned);
            (format!("{} {path}", method.to_uppercase()), scope)
        })
    });
    operations.collect()
}

/// Sends an operation's request with this header.
async fn send(client: &Client, world: &World, operation: &Operation, header: &str) -> Answer {
    let request = client.request(operation.method, &operation.filled(world));
    // Of exports and imports; nobody else looks at it.
    let mut request = request.header("visavis-export-key", EXPORT_KEY);
    if !header.is_empty() {
        request = request.header("authorization", header);
    }
    if let Some(body) = operation.body {
        request = request.json(&body(world));
    }
    if operation.imports {
        request = request.header("content-type", "application/vnd.visavis.export").body(world.export.clone());
    }
    if operation.uploads {
        request = request.multipart(tiny("tiny").form());
    }
    client.send(request).await
}

/// The operations and their scopes, none missing.
async fn complete(world: &World) -> Vec<(&'static Operation, String)> {
    let document = world.acme.with_key("").get("/openapi.json").await.ok();
    let documented = documented(&document);
    let known: BTreeSet<String> =
        OPERATIONS.iter().map(Operation::name).chain(PUBLIC.iter().map(|p| (*p).to_owned())).collect();
    let missing: Vec<&String> = documented.keys().filter(|name| !known.contains(*name)).collect();
    assert!(missing.is_empty(), "add these operations to tests/trust/operations.rs: {missing:#?}");
    let gone: Vec<&String> = known.iter().filter(|name| !documented.contains_key(*name)).collect();
    assert!(gone.is_empty(), "these operations are no more: {gone:#?}");
    let public: Vec<&str> = documented.iter().filter(|(_, s)| s.is_none()).map(|(n, _)| n.as_str()).collect();
    assert_eq!(public, PUBLIC, "operations without a credential");
    OPERATIONS.iter().map(|o| (o, documented[&o.name()].clone().expect("a scope"))).collect()
}

// One world for both: what the second pass destroys, the first has proven untouched.
#[tokio::test]
async fn every_operation_refuses_every_wrong_credential_and_takes_the_right_one() {
    let world = World::of(ISSUERS.map(|(tenant, _)| tenant)).await;
    let operations = complete(&world).await;
    let (wrong, by_scope) = (wrong_everywhere(&world).await, ByScope::of(&world).await);
    let before = world.state().await;
    let anybody = world.acme.with_key("");
    let mut tried = 0;
    for (operation, scope) in &operations {
        let name = operation.name();
        for wrong in &wrong {
            let answer = send(&anybody, &world, operation, &wrong.header).await;
            let said = format!("{name} with {}: {} {}", wrong.what, answer.status, answer.text());
            assert_eq!(answer.status, wrong.status, "{said}");
            drop(answer.problem(if wrong.status == 401 { "unauthenticated" } else { "forbidden" }));
            tried += 1;
        }
        for credential in by_scope.without(scope) {
            let answer = send(&anybody, &world, operation, &format!("Bearer {credential}")).await;
            assert_eq!(answer.status, 403, "{name} without {scope}: {}", answer.text());
            assert!(answer.problem("forbidden").contains(scope.as_str()), "{name}: {}", answer.text());
            tried += 1;
        }
        tried += elsewhere(&world, operation).await;
    }
    assert_eq!(world.state().await, before, "{tried} refused requests have changed something");
    assert!(tried > 20 * operations.len(), "{tried} for {} operations", operations.len());
    assert_quiet(&world);
    for (operation, scope) in &operations {
        let scopes: Vec<&str> = operation.beside.iter().copied().chain([scope.as_str()]).collect();
        let operator = app().client();
        let giver = if operation.elsewhere == Elsewhere::Operator { &operator } else { &world.acme };
        let (_, key) = key(giver, json!({"name": "exactly", "scopes": scopes})).await;
        let answer = send(&anybody, &world, operation, &format!("Bearer {key}")).await;
        // A job that has ended cannot be cancelled, which is told to those who may cancel it.
        let through = answer.status < 400 || answer.status == 409;
        assert!(through, "{} with {scopes:?} alone: {} {}", operation.name(), answer.status, answer.text());
    }
}

/// The admin of another tenant, with a key and with a token.
async fn elsewhere(world: &World, operation: &Operation) -> usize {
    let mut claims = world.claims("globex", "");
    claims["groups"] = json!(["face-admins"]);
    let token = world.globex.with_key(&world.signer.token(&claims));
    for client in [&world.globex, &token] {
        let answer = send(client, world, operation, "").await;
        let said = format!("{} of another tenant: {} {}", operation.name(), answer.status, answer.text());
        match operation.elsewhere {
            Elsewhere::NotThere => assert_eq!(answer.status, 404, "{said}"),
            Elsewhere::Operator => assert_eq!(answer.status, 403, "{said}"),
            // What it made itself may be there already the second time.
            Elsewhere::Own => assert!(answer.status < 300 || answer.status == 409, "{said}"),
        }
        let shown = answer.status < 300 && world.ids.values().any(|id| answer.text().contains(id.as_str()));
        assert!(!shown, "{said}");
    }
    2
}

/// Nothing of the credentials is in the log, and nobody's name.
fn assert_quiet(world: &World) {
    let log = app().output();
    let token = world.signer.token(&world.claims("acme", ""));
    let header = token.split('.').next().expect("a header");
    for private in [PERSON, header, world.expiring.0.rsplit('_').next().expect("a secret")] {
        assert!(!log.contains(private), "{private} is in the log");
    }
    assert!(log.contains("oidc."), "who called is in the log under another name");
}
