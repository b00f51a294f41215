//! `[oidc]` and the proxies that are trusted, as somebody who writes settings meets them.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use domain::{Role, Scope};
use runtime::Sources;
use runtime::config::{SignatureAlgorithm, load};

use visavis_runtime as runtime;

const GOOD: &str = r#"
[[oidc.issuers]]
issuer = "https://login.example.org/faces"
audiences = ["visavis"]
tenant_claim = "org.id"
tenants = ["acme", "globex"]
roles_claim = "groups"
roles = { face-desk = ["reader", "erase"], face-admins = ["admin"] }
"#;

fn sources(text: &str) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("visavis.toml");
    std::fs::write(&path, text).unwrap();
    (dir, Sources { file: Some(path), ..Sources::default() })
}

#[test]
fn an_identity_provider_needs_little_and_the_rest_has_defaults() {
    let (_dir, sources) = sources(GOOD);
    let loaded = load(&sources).unwrap();
    let issuer = &loaded.config.oidc.issuers[0];
    assert_eq!(issuer.scopes_claim, "scope");
    assert_eq!(issuer.algorithms, [SignatureAlgorithm::Rs256, SignatureAlgorithm::Es256, SignatureAlgorithm::EdDsa]);
    assert_eq!((issuer.leeway_ms, issuer.refresh_ms, issuer.cooldown_ms), (60_000, 600_000, 30_000));
    let roles = issuer.role_scopes().unwrap();
    assert_eq!(roles["face-admins"], Role::Admin.scopes());
    let desk: Vec<Scope> = Role::Reader.scopes().into_iter().chain([Scope::Erase]).collect();
    assert!(desk.iter().all(|s| roles["face-desk"].contains(s)) && roles["face-desk"].len() == desk.len());
    // What is printed reads back.
    let text = loaded.to_toml().unwrap();
    let (_dir, again) = self::sources(&text);
    assert_eq!(load(&again).unwrap().config, loaded.config);
}

#[test]
fn a_provider_that_cannot_work_or_would_be_believed_too_much_is_refused() {
    let with = |from: &str, to: &str| {
        let (_dir, sources) = sources(&GOOD.replace(from, to));
        load(&sources).map(|_| String::new()).unwrap_or_else(|e| e.to_string())
    };
    assert_eq!(with("", ""), "");
    for (from, to, why) in [
        ("https://login", "http://login", "begins with https://"),
        ("issuer = ", "jwks_url = 'http://x/keys'\nissuer = ", "jwks_url must begin with https://"),
        ("issuer = ", "jwks_url = 'https://x/keys'\njwks_file = 'keys'\nissuer = ", "not both"),
        ("[\"visavis\"]", "[]", "audiences"),
        ("tenant_claim = \"org.id\"\n", "", "tenant or tenant_claim"),
        ("tenant_claim = ", "tenant = 'a'\ntenant_claim = ", "one of the two"),
        ("\"globex\"", "\"a/b\"", "tenant id"),
        ("\"erase\"", "\"everything\"", "neither a role (reader, operator, admin) nor a scope"),
        ("roles_claim = \"groups\"\n", "", "roles goes with roles_claim"),
        ("issuer = ", "algorithms = ['HS256']\nissuer = ", "HS256"),
        ("issuer = ", "algorithms = ['none']\nissuer = ", "none"),
        ("issuer = ", "algorithms = []\nissuer = ", "algorithms must not be empty"),
        ("issuer = ", "leeway_ms = 3600000\nissuer = ", "leeway_ms"),
        ("issuer = ", "keys_kept_ms = 1000\nissuer = ", "keys_kept_ms"),
        ("issuer = ", "isuer = 'x'\nissuer = ", "isuer"),
    ] {
        let said = with(from, to);
        assert!(said.contains("oidc.issuers") && said.contains(why), "{to}: {said}");
    }
    let (_dir, twice) = sources(&format!("{GOOD}{GOOD}"));
    assert!(load(&twice).unwrap_err().to_string().contains("is there twice"));
}

#[test]
fn trusted_proxies_are_addresses_or_ranges() {
    let env = |value: &str| Sources {
        env: vec![("VISAVIS__GATEWAY__TRUSTED_PROXIES".to_owned(), value.to_owned())],
        ..Sources::default()
    };
    let proxies = load(&env(r#"["10.0.0.1", "2001:db8::/32"]"#)).unwrap().config.gateway.trusted_proxies;
    assert_eq!(proxies.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1/32", "2001:db8::/32"]);
    let said = load(&env(r#"["10.0.0.1/8"]"#)).unwrap_err().to_string();
    assert!(said.contains("gateway.trusted_proxies") && said.contains("10.0.0.0/8"), "{said}");
}
