//! An issuer's public keys: a JSON Web Key Set (RFC 7517) is read, and signatures are checked with its keys. A key is
//! good for one algorithm alone, whatever a token claims.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use super::config::Algorithm;

/// No issuer signs with more keys at a time.
const MOST_KEYS: usize = 64;

/// Keys that signatures can be checked with.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Named>);

#[derive(Debug)]
struct Named {
    id: Option<String>,
    key: PublicKey,
}

/// A public key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Modulus and exponent, big-endian.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// An uncompressed point on P-256.
    P256(Vec<u8>),
    /// A point of Ed25519.
    Ed25519(Vec<u8>),
}

/// A key as it is published.
#[derive(Deserialize)]
struct Published {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys for other uses or of other kinds are passed over; a set without one that is of use is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let document: Value = serde_json::from_slice(bytes).map_err(|_| "the key set is not JSON".to_owned())?;
        let listed = document["keys"].as_array().ok_or("the key set has no list of keys")?;
        if listed.len() > MOST_KEYS {
            return Err(format!("the key set has more than {MOST_KEYS} keys"));
        }
        let keys: Vec<Named> = listed.iter().filter_map(Named::read).collect();
        if keys.is_empty() {
            return Err("the key set has no key for RS256 (2,048 bits or more), ES256 or EdDSA (Ed25519)".into());
        }
        Ok(Self(keys))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The key of this name and algorithm. A token that names no key may be meant for one alone.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&PublicKey> {
        let mut fitting = self.0.iter().filter(|k| k.key.algorithm() == algorithm);
        if id.is_some() {
            return fitting.find(|k| k.id.as_deref() == id).map(|k| &k.key);
        }
        let only = fitting.next()?;
        fitting.next().is_none().then_some(&only.key)
    }
}

impl Named {
    fn read(value: &Value) -> Option<Self> {
        let published: Published = serde_json::from_value(value.clone()).ok()?;
        let signs = published.purpose.as_deref().is_none_or(|p| p == "sig");
        let verifies = published.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|o| o == "verify"));
        let key = PublicKey::read(&published).filter(|_| signs && verifies)?;
        let agrees = published.alg.as_deref().is_none_or(|a| a == key.algorithm().name());
        agrees.then_some(Self { id: published.kid, key })
    }
}

impl PublicKey {
    fn read(published: &Published) -> Option<Self> {
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        match (published.kty.as_str(), published.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (number(bytes(&published.n)?), number(bytes(&published.e)?));
                let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
                let fine = (2048..=8192).contains(&bits) && (1..=8).contains(&e.len());
                fine.then_some(Self::Rsa { n, e })
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&published.x)?, bytes(&published.y)?);
                (x.len() == 32 && y.len() == 32).then(|| Self::P256([&[4][..], &x, &y].concat()))
            }
            ("OKP", Some("Ed25519")) => bytes(&published.x).filter(|x| x.len() == 32).map(Self::Ed25519),
            _ => None,
        }
    }

    /// The one algorithm it is good for.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether the owner of this key signed `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Self::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature).is_ok(),
        }
    }
}

/// Without leading zeros, which some issuers publish and the library refuses.
fn number(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    bytes.drain(..zeros);
    bytes
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    fn set(keys: &Value) -> Result<KeySet, String> {
        KeySet::parse(json!({"keys": keys}).to_string().as_bytes())
    }

    fn ed25519(pair: &Ed25519KeyPair, id: Option<&str>) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode(pair.public_key())})
    }

    #[test]
    fn a_key_is_found_by_its_name_and_only_for_its_algorithm() {
        let (a, b) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
        let keys = set(&json!([ed25519(&a, Some("a")), ed25519(&b, Some("b"))])).unwrap();
        let signature = b.sign(b"message");
        assert!(keys.find(Some("b"), Algorithm::EdDsa).unwrap().verifies(b"message", signature.as_ref()));
        assert!(!keys.find(Some("a"), Algorithm::EdDsa).unwrap().verifies(b"message", signature.as_ref()));
        assert!(!keys.find(Some("b"), Algorithm::EdDsa).unwrap().verifies(b"massage", signature.as_ref()));
        assert!(keys.find(Some("b"), Algorithm::Rs256).is_none());
        assert!(keys.find(None, Algorithm::EdDsa).is_none(), "which of the two?");
        assert!(set(&json!([ed25519(&a, None)])).unwrap().find(None, Algorithm::EdDsa).is_some());
    }

    #[test]
    fn keys_that_are_of_no_use_are_passed_over() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let changed = |name: &str, value: Value| {
            let mut key = ed25519(&pair, Some("k"));
            key[name] = value;
            key
        };
        let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
        for useless in [
            changed("use", json!("enc")),
            changed("key_ops", json!(["sign"])),
            changed("alg", json!("ES256")),
            changed("crv", json!("X25519")),
            changed("x", json!("AAAA")),
            changed("x", json!("not base64!")),
            changed("kty", json!(7)),
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"kty": "RSA", "n": short, "e": "AQAB"}),
            json!({"kty": "RSA", "n": "", "e": "AQAB"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
            json!("text"),
        ] {
            assert!(set(&json!([useless])).is_err(), "{useless}");
            let beside = set(&json!([useless, ed25519(&pair, Some("good"))])).unwrap();
            assert_eq!(beside.len(), 1);
        }
        for bad in [&b""[..], b"[]", b"{}", br#"{"keys":{}}"#, &[0xff; 9]] {
            assert!(KeySet::parse(bad).is_err());
        }
        assert!(set(&Value::Array(vec![ed25519(&pair, Some("k")); 65])).is_err());
    }
}
