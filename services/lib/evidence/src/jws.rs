//! Signatures: Ed25519 in compact JWS (RFC 7515, 8037), public keys as JWK (RFC 7517) named by their thumbprint
//! (RFC 7638). Used by receipts and by the signed ends of audit trails.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::EvidenceError;

/// The private half. Never shown, never logged.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Jwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// The key, base64url.
    pub x: String,
    /// Its thumbprint (RFC 7638).
    pub kid: String,
    /// `EdDSA`.
    pub alg: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub usage: String,
}

/// Public keys, those in use and those of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

impl SigningKey {
    /// A fresh key, and its PKCS #8 form to be kept.
    ///
    /// # Errors
    /// [`EvidenceError::Key`] when the system gives no random numbers.
    pub fn generate() -> Result<(Self, Vec<u8>), EvidenceError> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let document = made.map_err(|_| EvidenceError::Key("no random numbers"))?;
        Ok((Self::from_pkcs8(document.as_ref())?, document.as_ref().to_vec()))
    }

    /// A key from its PKCS #8 form.
    ///
    /// # Errors
    /// [`EvidenceError::Key`].
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, EvidenceError> {
        let pair = Ed25519KeyPair::from_pkcs8(document);
        Ok(Self { pair: pair.map_err(|_| EvidenceError::Key("it is no Ed25519 key in PKCS #8"))? })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> Jwk {
        Jwk::of(self.pair.public_key().as_ref())
    }

    /// `payload` signed as a document of this `typ`.
    ///
    /// # Errors
    /// [`EvidenceError::Content`] for what has no JSON form.
    pub fn sign<T: Serialize>(&self, typ: &'static str, payload: &T) -> Result<String, EvidenceError> {
        let header = Header { alg: "EdDSA".into(), kid: self.public().kid, typ: typ.into() };
        let signed = format!("{}.{}", part(&header)?, part(payload)?);
        let signature = self.pair.sign(signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

/// Secrets do not appear in logs.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

impl Jwk {
    fn of(public: &[u8]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(public);
        // The members of an OKP key in the order of their names, without space: RFC 7638 and RFC 8037.
        let digest = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            kid: URL_SAFE_NO_PAD.encode(digest),
            x,
            alg: "EdDSA".into(),
            usage: "sig".into(),
        }
    }

    /// The key itself, if this is an Ed25519 key under its own name.
    fn bytes(&self) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.x).ok().filter(|b| b.len() == 32)?;
        (self.kty == "OKP" && self.crv == "Ed25519" && Self::of(&bytes).kid == self.kid).then_some(bytes)
    }
}

impl Jwks {
    /// The content of a signed document of this `typ`, if one of these keys signed it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open<T: DeserializeOwned>(&self, typ: &'static str, token: &str) -> Result<T, EvidenceError> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(EvidenceError::Malformed("it does not have three parts"));
        };
        let decode = |part: &str, what| URL_SAFE_NO_PAD.decode(part).map_err(|_| EvidenceError::Malformed(what));
        let head: Header = serde_json::from_slice(&decode(header, "the header is not base64url")?)
            .map_err(|_| EvidenceError::Malformed("the header is not the one this service writes"))?;
        // The algorithm is ours to choose, never the document's.
        if head.alg != "EdDSA" || head.typ != typ {
            return Err(EvidenceError::Kind { expected: typ });
        }
        let key = self.keys.iter().find(|k| k.kid == head.kid).and_then(Jwk::bytes);
        let key = key.ok_or(EvidenceError::UnknownKey { kid: head.kid })?;
        let signature = decode(signature, "the signature is not base64url")?;
        let signed = format!("{header}.{payload}");
        let verified = UnparsedPublicKey::new(&ED25519, key).verify(signed.as_bytes(), &signature);
        verified.map_err(|_| EvidenceError::Signature)?;
        let payload = decode(payload, "the payload is not base64url")?;
        serde_json::from_slice(&payload).map_err(|e| EvidenceError::Content(e.to_string()))
    }
}

fn part<T: Serialize>(value: &T) -> Result<String, EvidenceError> {
    let json = serde_json::to_vec(value).map_err(|e| EvidenceError::Content(e.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn key() -> SigningKey {
        SigningKey::generate().unwrap().0
    }

    #[test]
    fn what_was_signed_opens_with_its_key_alone_and_as_its_kind_alone() {
        let (one, other) = (key(), key());
        let token = one.sign(crate::RECEIPT, &json!({"a": 1})).unwrap();
        let keys = Jwks { keys: vec![other.public(), one.public()] };
        assert_eq!(keys.open::<Value>(crate::RECEIPT, &token).unwrap(), json!({"a": 1}));
        let kind = keys.open::<Value>(crate::AUDIT_HEAD, &token).unwrap_err();
        assert_eq!(kind, EvidenceError::Kind { expected: crate::AUDIT_HEAD });
        let strangers = Jwks { keys: vec![other.public()] };
        let unknown = strangers.open::<Value>(crate::RECEIPT, &token).unwrap_err();
        assert_eq!(unknown, EvidenceError::UnknownKey { kid: one.public().kid });
        // A key set in which somebody put another key under the right name.
        let forged = Jwks { keys: vec![Jwk { x: other.public().x, ..one.public() }] };
        assert!(forged.open::<Value>(crate::RECEIPT, &token).is_err());
    }

    #[test]
    fn a_change_of_any_character_is_found() {
        let key = key();
        let (keys, token) =
            (Jwks { keys: vec![key.public()] }, key.sign(crate::RECEIPT, &json!({"faces": 3})).unwrap());
        for i in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(keys.open::<Value>(crate::RECEIPT, &changed).is_err(), "changed at {i}: {changed}");
        }
        assert!(keys.open::<Value>(crate::RECEIPT, &token[..token.len() - 1]).is_err());
    }

    #[test]
    fn a_kept_key_is_the_same_key() {
        let (key, document) = SigningKey::generate().unwrap();
        let again = SigningKey::from_pkcs8(&document).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(SigningKey::from_pkcs8(&document[1..]).is_err());
        assert_eq!(format!("{key:?}"), "SigningKey");
    }

    /// The example key of RFC 8037, appendix A.2 and A.3.
    #[test]
    fn thumbprints_are_those_of_the_standard() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let jwk = Jwk::of(&URL_SAFE_NO_PAD.decode(x).unwrap());
        assert_eq!((jwk.x.as_str(), jwk.kid.as_str()), (x, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    }
}
