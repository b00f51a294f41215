//! Tokens as an identity provider signs them, and the keys as it publishes them: valid ones and, by their parts, every
//! wrong one.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key pair of an issuer, with its name.
#[derive(Debug)]
pub struct Signer {
    id: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Signer {
    /// A fresh RSA pair of 2,048 bits.
    #[must_use]
    pub fn rsa(id: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a pair");
        Self { id: id.to_owned(), pair: Pair::Rsa(Box::new(pair)) }
    }

    /// A fresh pair on P-256.
    #[must_use]
    pub fn p256(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a pair");
        Self { id: id.to_owned(), pair: Pair::P256(Box::new(pair)) }
    }

    /// A fresh Ed25519 pair.
    #[must_use]
    pub fn ed25519(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Ed25519(Box::new(Ed25519KeyPair::generate().expect("a pair"))) }
    }

    /// The header of its tokens.
    #[must_use]
    pub fn header(&self) -> Value {
        let algorithm = match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        };
        json!({"alg": algorithm, "kid": self.id, "typ": "JWT"})
    }

    /// The public half as a JSON Web Key.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match &self.pair {
            Pair::Rsa(pair) => {
                let (n, e) = numbers(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": text(n), "e": text(e)})
            }
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..65])})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
            }
        };
        key["kid"] = json!(self.id);
        key["use"] = json!("sig");
        key
    }

    /// Signs any bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with these claims.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header(), claims)
    }

    /// A token with a header of one's own.
    #[must_use]
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        compact(header, claims, |message| self.sign(message))
    }
}

/// Modulus and exponent of an RSA key of 2,048 bits in DER: a sequence of two numbers, the first after a zero byte.
fn numbers(der: &[u8]) -> (&[u8], &[u8]) {
    let (head, rest) = der.split_at(9);
    assert_eq!((head[0], &head[4..]), (0x30, &[2, 0x82, 1, 1, 0][..]), "a sequence that begins with 257 bytes");
    let (n, rest) = rest.split_at(256);
    assert_eq!(rest[..2], [2, 3], "then a number of 3 bytes");
    (n, &rest[2..])
}

/// A token of these parts with whatever signature.
#[must_use]
pub fn compact(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// The set of keys that an issuer publishes.
#[must_use]
pub fn key_set(signers: &[&Signer]) -> Value {
    json!({"keys": signers.iter().map(|s| s.jwk()).collect::<Vec<_>>()})
}

/// Claims of a token that is valid for an hour.
#[must_use]
pub fn claims(issuer: &str, audience: &str, subject: &str) -> Value {
    let now = unix_seconds();
    json!({"iss": issuer, "aud": audience, "sub": subject, "iat": now, "nbf": now, "exp": now + 3600})
}

/// Seconds since 1970.
#[must_use]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}
