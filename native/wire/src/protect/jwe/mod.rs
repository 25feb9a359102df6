//! Encrypt a value to a key that its provider publishes: JWE in its compact form (RFC 7516), by AES-GCM.
//!
//! The algorithms are the key's, as declared with it; nothing is read from what anybody sends. `RSA-OAEP-256`
//! (RFC 7518 §4.3) for RSA keys of 2048 bits or more; `ECDH-ES` and `ECDH-ES+A256KW` (§4.6) for P-256, P-384,
//! P-521 and X25519, as [`curve`] has it. Each value has a content key of its own.

mod curve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::aead::{self, AES_128_GCM, AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::act::Unfit;
use super::with::With;
pub use curve::PointKey;

/// Why nothing is encrypted to a key any more.
pub const KEY_ENDED: Unfit = Unfit::Unavailable(
    "The provider's key that the rule encrypts to has expired. Declare the one that came after it.",
);
pub const NO_CHANCE: Unfit = Unfit::Unavailable("Nothing can be encrypted just now.");

const TAG_BYTES: usize = 16;
/// What wrapping adds (RFC 3394 §2.2.1).
pub const WRAPPED_BYTES: usize = 8;
pub const RSA_BITS_MIN: usize = 2048;

/// A provider's key, as a snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyForm {
    #[serde(default)]
    pub kid: Option<String>,
    pub alg: Algorithm,
    #[serde(default)]
    pub enc: ContentAlgorithm,
    /// `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7), DER, in base64.
    pub spki: String,
    /// Unix seconds from which nothing is encrypted to it any more; None: it does not end.
    #[serde(default)]
    pub until: Option<u64>,
    /// What else the header says (RFC 7516 §4): `typ`, `cty` and the provider's own.
    #[serde(default)]
    pub header: BTreeMap<String, String>,
    /// Let it say `iat`, the moment of encryption, in this unit.
    #[serde(default)]
    pub iat: Option<Unit>,
}

/// Of a moment since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Seconds,
    Milliseconds,
}

/// RFC 7518 §4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "RSA-OAEP-256")]
    RsaOaep256,
    #[serde(rename = "ECDH-ES")]
    EcdhEs,
    #[serde(rename = "ECDH-ES+A256KW")]
    EcdhEsA256Kw,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::EcdhEs => "ECDH-ES",
            Self::EcdhEsA256Kw => "ECDH-ES+A256KW",
        }
    }
}

/// What the value itself is encrypted by (RFC 7518 §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum ContentAlgorithm {
    A128GCM,
    #[default]
    A256GCM,
}

impl ContentAlgorithm {
    fn name(self) -> &'static str {
        match self {
            Self::A128GCM => "A128GCM",
            Self::A256GCM => "A256GCM",
        }
    }

    fn aead(self) -> &'static aead::Algorithm {
        match self {
            Self::A128GCM => &AES_128_GCM,
            Self::A256GCM => &AES_256_GCM,
        }
    }
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the key is no public key")]
    Unreadable,
    #[error("the key's algorithm does not go with it")]
    WrongAlgorithm,
    #[error("RSA keys have 2048 bits or more")]
    TooShort,
}

/// A declared key, ready to encrypt to.
#[derive(Clone, Deserialize)]
#[serde(try_from = "KeyForm")]
pub struct Encryption {
    form: KeyForm,
    recipient: Arc<Recipient>,
}

impl Encryption {
    /// The JWE of these bytes.
    pub fn jwe(&self, plain: &[u8], with: &With<'_>) -> Result<String, Unfit> {
        if self.form.until.is_some_and(|until| until <= with.now) {
            return Err(KEY_ENDED);
        }
        self.recipient.encrypt(plain, with.now).ok_or(NO_CHANCE)
    }
}

impl TryFrom<KeyForm> for Encryption {
    type Error = KeyError;

    fn try_from(form: KeyForm) -> Result<Self, KeyError> {
        let recipient = Arc::new(Recipient::new(&form)?);
        Ok(Self { form, recipient })
    }
}

impl PartialEq for Encryption {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form
    }
}

impl Eq for Encryption {}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.form.fmt(formatter)
    }
}

/// A key that values are encrypted to.
pub struct Recipient {
    alg: Algorithm,
    enc: ContentAlgorithm,
    key: PublicKey,
    /// What the header says besides.
    kid: Option<String>,
    header: BTreeMap<String, String>,
    iat: Option<Unit>,
}

enum PublicKey {
    Rsa(OaepPublicEncryptingKey),
    Point(PointKey),
}

impl Recipient {
    pub fn new(form: &KeyForm) -> Result<Self, KeyError> {
        let key = match form.alg {
            Algorithm::RsaOaep256 => PublicKey::Rsa(rsa_key(&form.spki)?),
            Algorithm::EcdhEs | Algorithm::EcdhEsA256Kw => PublicKey::Point(PointKey::of(der(&form.spki)?)?),
        };
        let (kid, header) = (form.kid.clone(), form.header.clone());
        Ok(Self { alg: form.alg, enc: form.enc, key, kid, header, iat: form.iat })
    }

    /// The JWE of these bytes, at this moment (Unix seconds); None where the machine has no chance to give.
    pub fn encrypt(&self, plain: &[u8], now: u64) -> Option<String> {
        let mut content_key = Zeroizing::new(vec![0; self.enc.aead().key_len()]);
        rand::fill(&mut content_key).ok()?;
        let mut header = json!(self.header);
        header["alg"] = self.alg.name().into();
        header["enc"] = self.enc.name().into();
        match self.iat {
            None => {}
            Some(Unit::Seconds) => header["iat"] = now.into(),
            Some(Unit::Milliseconds) => header["iat"] = (now * 1000).into(),
        }
        if let Some(kid) = &self.kid {
            header["kid"] = kid.as_str().into();
        }
        let encrypted_key = match &self.key {
            PublicKey::Rsa(key) => {
                let mut room = vec![0; key.ciphertext_size()];
                key.encrypt(&OAEP_SHA256_MGF1SHA256, &content_key, &mut room, None).ok()?.to_vec()
            }
            PublicKey::Point(key) => {
                let is_direct = self.alg == Algorithm::EcdhEs;
                // RFC 7518 §4.6.2: of direct agreement it is the content's algorithm.
                let (name, bytes) = if is_direct {
                    (self.enc.name(), content_key.len())
                } else {
                    (self.alg.name(), curve::AGREED_BYTES_MAX)
                };
                let (epk, agreed) = key.agree(name, bytes)?;
                header["epk"] = epk;
                if is_direct {
                    content_key = agreed;
                    Vec::new()
                } else {
                    let mut room = vec![0; content_key.len() + WRAPPED_BYTES];
                    let key = AesKek::new(&AES_256, &agreed).ok()?;
                    key.wrap(&content_key, &mut room).ok()?.to_vec()
                }
            }
        };
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let mut sealed = plain.to_vec();
        let key = RandomizedNonceKey::new(self.enc.aead(), &content_key).ok()?;
        let nonce = key.seal_in_place_append_tag(Aad::from(header.as_bytes()), &mut sealed).ok()?;
        let tag = sealed.split_off(sealed.len() - TAG_BYTES);
        let parts = [encrypted_key.as_slice(), nonce.as_ref(), &sealed, &tag];
        let parts = parts.map(|part| URL_SAFE_NO_PAD.encode(part));
        Some(format!("{header}.{}", parts.join(".")))
    }
}

/// What a snapshot writes in base64.
pub fn der(spki: &str) -> Result<Vec<u8>, KeyError> {
    STANDARD.decode(spki).map_err(|_| KeyError::Unreadable)
}

/// An RSA key of a good length.
pub fn rsa_key(spki: &str) -> Result<OaepPublicEncryptingKey, KeyError> {
    let key = PublicEncryptingKey::from_der(&der(spki)?).map_err(|_| KeyError::WrongAlgorithm)?;
    if key.key_size_bits() < RSA_BITS_MIN {
        return Err(KeyError::TooShort);
    }
    OaepPublicEncryptingKey::new(key).map_err(|_| KeyError::Unreadable)
}
