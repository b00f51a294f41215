//! What a token's claims are worth once its signature holds: whether it is for us and valid now, whose data it reaches
//! and what it may do.

use domain::{ErrorCode, Scope, ScopeSet, TenantId, Timestamp};
use serde_json::{Map, Value};

use super::config::{Grants, IssuerConfig, TenantRule};
use crate::problem::{ApiProblem, Result};

/// A token's claims.
pub(super) type Claims = Map<String, Value>;

/// Longest `sub` (OpenID Connect Core, 2).
const MOST_SUBJECT: usize = 255;

/// Checks audience and times; gives the subject.
pub(super) fn check<'a>(config: &IssuerConfig, claims: &'a Claims, now: Timestamp) -> Result<&'a str, &'static str> {
    let meant_for = |name: &str| config.audiences.iter().any(|a| a == name);
    let ours = match claims.get("aud") {
        Some(Value::String(name)) => meant_for(name),
        Some(Value::Array(names)) => names.iter().any(|n| n.as_str().is_some_and(meant_for)),
        _ => false,
    };
    if !ours {
        return Err("the token is meant for another service (aud)");
    }
    let instant = |name: &'static str| claims.get(name).map(|v| moment(v).ok_or("a time in the token is not a number"));
    let ends = instant("exp").ok_or("the token does not say when it ends (exp)")??;
    if ends.plus(config.leeway) <= now {
        return Err("the token has expired");
    }
    for (name, early) in
        [("nbf", "the token is not valid yet (nbf)"), ("iat", "the token was made in the future (iat)")]
    {
        if instant(name).transpose()?.is_some_and(|begins| begins > now.plus(config.leeway)) {
            return Err(early);
        }
    }
    let subject = claims.get("sub").and_then(Value::as_str).filter(|s| (1..=MOST_SUBJECT).contains(&s.len()));
    subject.ok_or("the token names no subject (sub) of 1 to 255 bytes")
}

/// Seconds since 1970, possibly with a fraction.
fn moment(value: &Value) -> Option<Timestamp> {
    let seconds = value.as_f64().filter(|s| s.is_finite())?;
    // Beyond what milliseconds can tell it stays at the end of time.
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    Some(Timestamp::from_millis((seconds * 1000.0) as i64))
}

/// Whose data the token reaches.
pub(super) fn tenant(rule: &TenantRule, claims: &Claims) -> Result<TenantId> {
    let (path, allowed) = match rule {
        TenantRule::Fixed(tenant) => return Ok(tenant.clone()),
        TenantRule::Claim { path, allowed } => (path, allowed),
    };
    let refused = |what: &str| ApiProblem::new(ErrorCode::Forbidden, format!("the token's claim {path} {what}"));
    let named = at(claims, path).and_then(Value::as_str).ok_or_else(|| refused("names no tenant"))?;
    let tenant = TenantId::new(named).map_err(|_| refused("does not hold the id of a tenant"))?;
    if allowed.is_empty() || allowed.contains(&tenant) {
        return Ok(tenant);
    }
    Err(refused("names a tenant that this identity provider may not speak for"))
}

/// What the token may do.
pub(super) fn scopes(grants: &Grants, claims: &Claims) -> ScopeSet {
    let words = |path: &Option<String>| path.as_deref().and_then(|p| at(claims, p)).map(words).unwrap_or_default();
    let named = words(&grants.scopes_claim).into_iter().filter_map(|w| w.parse().ok());
    // Reaching into other tenants has to be granted by a role that somebody here has set up.
    let mut scopes: ScopeSet = named.filter(|s| *s != Scope::Tenants).collect();
    for role in words(&grants.roles_claim) {
        scopes.extend(grants.roles.get(role).into_iter().flatten());
    }
    scopes
}

/// The claim of this name, or at this path of names with dots between them.
fn at<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    rest.split('.').try_fold(claims.get(first)?, |value, name| value.get(name))
}

/// The texts of a list, or the words of a text.
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split_ascii_whitespace().collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use domain::Role;
    use serde_json::json;

    use super::*;
    use crate::oidc::config::{Algorithm, KeySource};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn config() -> IssuerConfig {
        IssuerConfig {
            issuer: "https://issuer.example".into(),
            audiences: vec!["visavis".into(), "faces".into()],
            keys: KeySource::Discovery,
            ca_file: None,
            algorithms: Algorithm::ALL.to_vec(),
            tenant: TenantRule::Fixed("default".parse().unwrap()),
            grants: Grants::default(),
            leeway: Duration::from_secs(60),
            refresh: Duration::from_secs(600),
            cooldown: Duration::from_secs(30),
            kept: Duration::from_secs(86_400),
        }
    }

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn audience_times_and_subject_are_checked_with_the_leeway() {
        let now = 1_800_000_000;
        let good = json!({"aud": "faces", "exp": now + 10, "sub": "anna"});
        let with = |name: &str, value: Value| {
            let mut c = claims(good.clone());
            c.insert(name.into(), value);
            check(&config(), &c, NOW).map(str::to_owned)
        };
        for (name, fine) in [
            ("aud", json!(["other", "visavis"])),
            ("exp", json!(now - 59)),
            ("exp", json!(f64::from(now) + 0.5)),
            ("exp", json!(1e300)),
            ("nbf", json!(now + 59)),
            ("iat", json!(now + 59)),
            ("iat", json!(0)),
            ("sub", json!("s".repeat(255))),
        ] {
            assert!(with(name, fine.clone()).is_ok(), "{name} {fine}");
        }
        for (name, bad, why) in [
            ("aud", json!("visavi"), "aud"),
            ("aud", json!(["other"]), "aud"),
            ("aud", json!([]), "aud"),
            ("aud", json!({"visavis": true}), "aud"),
            ("exp", json!(now - 60), "expired"),
            ("exp", json!(-1e300), "expired"),
            ("exp", json!("tomorrow"), "number"),
            ("exp", json!(null), "number"),
            ("nbf", json!(now + 61), "not valid yet"),
            ("nbf", json!([]), "number"),
            ("iat", json!(now + 61), "future"),
            ("sub", json!(""), "sub"),
            ("sub", json!(7), "sub"),
            ("sub", json!("s".repeat(256)), "sub"),
        ] {
            let said = with(name, bad.clone()).unwrap_err();
            assert!(said.contains(why), "{name} {bad}: {said}");
        }
        for name in ["aud", "exp", "sub"] {
            let mut c = claims(good.clone());
            c.remove(name);
            assert!(check(&config(), &c, NOW).is_err(), "without {name}");
        }
    }

    #[test]
    fn the_tenant_is_fixed_or_named_by_a_claim_within_what_is_allowed() {
        let rule = |path: &str, allowed: &[&str]| TenantRule::Claim {
            path: path.into(),
            allowed: allowed.iter().map(|a| a.parse().unwrap()).collect(),
        };
        let c = claims(json!({"org": {"id": "acme"}, "https://example.org/tenant": "globex", "bad": "a/b", "n": 1}));
        let of = |rule: &TenantRule| tenant(rule, &c).map(|t| t.to_string()).map_err(|p| p.problem.code);
        assert_eq!(of(&TenantRule::Fixed("default".parse().unwrap())), Ok("default".into()));
        assert_eq!(of(&rule("org.id", &[])), Ok("acme".into()));
        assert_eq!(of(&rule("https://example.org/tenant", &["globex"])), Ok("globex".into()), "a name with dots");
        for refused in [rule("org.id", &["globex"]), rule("org.name", &[]), rule("bad", &[]), rule("n", &[])] {
            assert_eq!(of(&refused), Err(ErrorCode::Forbidden), "{refused:?}");
        }
    }

    #[test]
    fn scopes_come_from_names_and_from_roles_that_were_set_up() {
        let grants = Grants {
            scopes_claim: Some("scope".into()),
            roles_claim: Some("realm.roles".into()),
            roles: BTreeMap::from([("face-readers".to_owned(), Role::Reader.scopes())]),
        };
        let of = |value: Value| scopes(&grants, &claims(value));
        assert_eq!(of(json!({"scope": "openid detect profile erase"})), [Scope::Detect, Scope::Erase].into());
        assert_eq!(of(json!({"scope": ["detect", 7, "x"]})), [Scope::Detect].into());
        assert_eq!(of(json!({"realm": {"roles": ["face-readers", "admin"]}})), Role::Reader.scopes());
        assert!(of(json!({"scope": "tenants", "realm": {"roles": ["admin"]}})).is_empty(), "no role by its mere name");
        assert!(of(json!({"scope": {"detect": true}, "realm": "x"})).is_empty());
        assert!(scopes(&Grants::default(), &claims(json!({"scope": "detect"}))).is_empty());
    }
}
