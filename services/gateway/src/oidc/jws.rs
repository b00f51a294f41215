//! A token as it is sent: the compact form of a signed JWT (RFC 7515, 7519) is taken apart, within limits and without
//! believing any of it. Whether it holds is decided by `oidc`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

/// More is no token of a person or a service.
const MOST_BYTES: usize = 8 * 1024;

/// A token that is well formed; nothing of it is true yet.
#[derive(Debug)]
pub(super) struct Token<'a> {
    /// Name of the algorithm.
    pub algorithm: String,
    /// Name of the key.
    pub key_id: Option<String>,
    /// What it says.
    pub claims: Map<String, Value>,
    /// What was signed.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
}

/// The members of the header that matter. Keys and addresses of keys in it (`jwk`, `jku`, `x5u`) are never looked at.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// Whether this looks like a token rather than like anything else, for the refusal's words.
pub(super) fn resembles(text: &str) -> bool {
    text.split('.').count() == 3
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    pub fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.len() > MOST_BYTES {
            return Err("the token is larger than 8 KiB");
        }
        let (signed, signature) =
            text.rsplit_once('.').ok_or("the token is not of the form header.claims.signature")?;
        let (header, claims) = signed.split_once('.').ok_or("the token is not of the form header.claims.signature")?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "the token is not base64url");
        let header: Header =
            serde_json::from_slice(&decoded(header)?).map_err(|_| "the token's header is not one of a signed token")?;
        if header.crit.is_some() {
            return Err("the token's header has critical extensions, and none is understood here");
        }
        // A token made for another purpose, such as a logout, is not one for this (RFC 8725, 3.11).
        let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
        if !matches!(kind.as_deref(), None | Some("jwt" | "at+jwt" | "application/jwt" | "application/at+jwt")) {
            return Err("the token is of another type than JWT or at+jwt");
        }
        let claims =
            serde_json::from_slice(&decoded(claims)?).map_err(|_| "the token's claims are not a JSON object")?;
        let signature = decoded(signature)?;
        Ok(Self { algorithm: header.alg, key_id: header.kid, claims, signed: signed.as_bytes(), signature })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_taken_apart() {
        let text = token(r#"{"alg":"RS256","kid":"k","typ":"at+JWT","jku":"https://evil.example"}"#, r#"{"iss":"i"}"#);
        let parsed = Token::parse(&text).unwrap();
        assert_eq!((parsed.algorithm.as_str(), parsed.key_id.as_deref()), ("RS256", Some("k")));
        assert_eq!((parsed.claims["iss"].as_str(), &parsed.signature[..]), (Some("i"), &b"sig"[..]));
        assert_eq!(parsed.signed, text.rsplit_once('.').unwrap().0.as_bytes());
    }

    #[test]
    fn what_is_not_one_is_refused_with_a_reason() {
        let huge = token(r#"{"alg":"RS256"}"#, &format!(r#"{{"a":"{}"}}"#, "x".repeat(8 * 1024)));
        for (bad, why) in [
            ("", "form"),
            ("a.b", "form"),
            ("a.b.c.d", "base64url"),
            ("!.e30.c2ln", "base64url"),
            ("e30=.e30.c2ln", "base64url"),
            (&token("{}", "{}"), "header"),
            (&token("[]", "{}"), "header"),
            (&token(r#"{"alg":7}"#, "{}"), "header"),
            (&token(r#"{"alg":"RS256"}"#, "[]"), "claims"),
            (&token(r#"{"alg":"RS256","crit":["b64"]}"#, "{}"), "critical"),
            (&token(r#"{"alg":"RS256","typ":"logout+jwt"}"#, "{}"), "type"),
            (&huge, "8 KiB"),
        ] {
            let said = Token::parse(bad).unwrap_err();
            assert!(said.contains(why), "{bad}: {said}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "\\PC{0,200}", header in "\\PC{0,60}", claims in "\\PC{0,60}") {
            drop(Token::parse(&text));
            drop(Token::parse(&token(&header, &claims)));
        }
    }
}
