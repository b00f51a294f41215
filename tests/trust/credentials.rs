//! Every wrong credential, each wrong in one thing.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{Signer, compact, unix_seconds};

use crate::world::{World, key};

/// What is wrong with a credential, the `Authorization` header it makes, and the status it gets.
pub struct Wrong {
    /// In words, for messages.
    pub what: &'static str,
    /// The header; none if empty.
    pub header: String,
    /// 401, or 403 where somebody known may not do this.
    pub status: u16,
}

fn wrong(what: &'static str, header: impl Into<String>, status: u16) -> Wrong {
    Wrong { what, header: header.into(), status }
}

fn bearer(what: &'static str, credential: &str, status: u16) -> Wrong {
    wrong(what, format!("Bearer {credential}"), status)
}

/// Those that are wrong for every operation alike.
pub async fn wrong_everywhere(world: &World) -> Vec<Wrong> {
    let admin = json!({"name": "to be spoilt", "roles": ["admin"]});
    let (id, good) = key(&world.acme, admin.clone()).await;
    let secret = good.rsplit('_').next().expect("a secret").to_owned();
    let flipped: String = secret.chars().rev().collect();
    let (deleted_id, deleted) = key(&world.acme, admin.clone()).await;
    drop(world.acme.delete(&format!("/v1/api-keys/{deleted_id}")).await.expect(204));
    let (rotated_id, rotated) = key(&world.acme, admin.clone()).await;
    drop(world.acme.post(&format!("/v1/api-keys/{rotated_id}/rotate"), &json!({})).await.ok());
    let mut elsewhere = admin;
    elsewhere["cidrs"] = json!(["192.0.2.0/24"]);
    let (_, bound) = key(&world.acme, elsewhere).await;
    let mut all = vec![
        wrong("no credential", "", 401),
        wrong("another scheme", format!("Basic {good}"), 401),
        wrong("nothing after the scheme", "Bearer ", 401),
        bearer("garbage", "garbage", 401),
        bearer("half a key", &format!("vv_{id}"), 401),
        bearer("an unknown key", &format!("vv_0123456789abcdef_{secret}"), 401),
        bearer("a wrong secret", &format!("vv_{id}_{flipped}"), 401),
        bearer("another key's secret", &format!("vv_{id}_{}", deleted.rsplit('_').next().expect("a secret")), 401),
        bearer("an expired key", world.expired().await, 401),
        bearer("a deleted key", &deleted, 401),
        bearer("a secret that was replaced", &rotated, 401),
        bearer("a key bound to other addresses", &bound, 403),
    ];
    all.extend(wrong_tokens(world));
    all
}

/// Tokens of acme's identity provider that would do everything, if they were right.
fn wrong_tokens(world: &World) -> Vec<Wrong> {
    let mut good = world.claims("acme", "");
    good["groups"] = json!(["face-admins"]);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        world.signer.token(&claims)
    };
    let now = unix_seconds();
    let other = Signer::ed25519("k1");
    vec![
        bearer("a token of another issuer", &with("iss", json!("https://login.elsewhere.test")), 401),
        bearer("a token for another audience", &with("aud", json!("another-service")), 401),
        bearer("a token that has expired", &with("exp", json!(now - 3600)), 401),
        bearer("a token of tomorrow", &with("nbf", json!(now + 86_400)), 401),
        bearer("a token signed by another", &other.token(&good), 401),
        bearer("a token that is not signed", &compact(&json!({"alg": "none"}), &good, |_| Vec::new()), 401),
        bearer("a token whose group was not set up", &with("groups", json!(["admin"])), 403),
    ]
}

/// Credentials by scope: those of acme that have all scopes but one, and those that have one alone.
pub struct ByScope {
    /// Every scope but this, as a key and as a token.
    pub without: BTreeMap<&'static str, [String; 2]>,
    /// The world's own scopes, for tokens.
    all: Vec<&'static str>,
}

impl ByScope {
    /// Makes the keys.
    pub async fn of(world: &World) -> Self {
        // No tenant's admin can pass on what reaches beyond the tenant.
        let all: Vec<&str> = domain::Role::Admin.scopes().iter().map(|s| s.as_str()).collect();
        let mut without = BTreeMap::new();
        for scope in &all {
            let others: Vec<&str> = all.iter().copied().filter(|s| s != scope).collect();
            let (_, key) = key(&world.acme, json!({"name": format!("no {scope}"), "scopes": others})).await;
            let token = world.signer.token(&world.claims("acme", &others.join(" ")));
            without.insert(*scope, [key, token]);
        }
        Self { without, all }
    }

    /// Whether a scope can be granted at all.
    pub fn knows(&self, scope: &str) -> bool {
        self.all.contains(&scope)
    }
}
