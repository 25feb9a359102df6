//! Encrypt a value to a key that its provider publishes: JWE in its compact form (RFC 7516), AES-256-GCM.
//!
//! The algorithm is the key's, as declared with it; nothing is read from what anybody sends. `RSA-OAEP-256`
//! (RFC 7518 §4.3) for RSA keys of 2048 bits or more; `ECDH-ES` and `ECDH-ES+A256KW` (§4.6) for P-256, P-384,
//! P-521 and X25519. Each value has a content key of its own.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const RSA_BITS_MIN: usize = 2048;
/// NIST SP 800-56A §5.8.1, RFC 7518 §4.6.2: one round of SHA-256 yields a key of 256 bits.
const KEY_BITS: u32 = 256;

/// A provider's key, as a snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyForm {
    #[serde(default)]
    pub kid: Option<String>,
    pub alg: Algorithm,
    /// `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7), DER, in base64.
    pub spki: String,
    /// Unix seconds from which nothing is encrypted to it any more; None: it does not end.
    #[serde(default)]
    pub until: Option<u64>,
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
    pub recipient: Arc<Recipient>,
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
    kid: Option<String>,
    key: PublicKey,
    until: Option<u64>,
}

enum PublicKey {
    Rsa(OaepPublicEncryptingKey),
    /// On which curve, and its name (RFC 7518 §6.2.1.1, RFC 8037 §2).
    Agreement(&'static agreement::Algorithm, &'static str, Vec<u8>),
}

impl Recipient {
    pub fn new(form: &KeyForm) -> Result<Self, KeyError> {
        let spki = STANDARD.decode(&form.spki).map_err(|_| KeyError::Unreadable)?;
        let key = match form.alg {
            Algorithm::RsaOaep256 => {
                let key = PublicEncryptingKey::from_der(&spki).map_err(|_| KeyError::WrongAlgorithm)?;
                if key.key_size_bits() < RSA_BITS_MIN {
                    return Err(KeyError::TooShort);
                }
                PublicKey::Rsa(OaepPublicEncryptingKey::new(key).map_err(|_| KeyError::Unreadable)?)
            }
            Algorithm::EcdhEs | Algorithm::EcdhEsA256Kw => on_a_curve(spki)?,
        };
        Ok(Self { alg: form.alg, kid: form.kid.clone(), key, until: form.until })
    }

    /// Whether its time is over, at this moment (Unix seconds).
    pub fn has_ended(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// The JWE of these bytes; None where the machine has no chance to give.
    pub fn encrypt(&self, plain: &[u8]) -> Option<String> {
        let mut content_key = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(&mut *content_key).ok()?;
        let mut header = json!({"alg": self.alg.name(), "enc": "A256GCM"});
        if let Some(kid) = &self.kid {
            header["kid"] = kid.as_str().into();
        }
        let encrypted_key = match &self.key {
            PublicKey::Rsa(key) => {
                let mut room = vec![0; key.ciphertext_size()];
                key.encrypt(&OAEP_SHA256_MGF1SHA256, &*content_key, &mut room, None).ok()?.to_vec()
            }
            PublicKey::Agreement(algorithm, curve, theirs) => {
                let ours = PrivateKey::generate(algorithm).ok()?;
                let point = ours.compute_public_key().ok()?;
                header["epk"] = epk(curve, point.as_ref())?;
                let agreed = self.agreed(&ours, algorithm, theirs)?;
                if self.alg == Algorithm::EcdhEs {
                    content_key = agreed;
                    Vec::new()
                } else {
                    let mut room = [0; KEY_BYTES + 8];
                    let key = AesKek::new(&AES_256, &*agreed).ok()?;
                    key.wrap(&*content_key, &mut room).ok()?.to_vec()
                }
            }
        };
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let mut sealed = plain.to_vec();
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*content_key).ok()?;
        let nonce = key.seal_in_place_append_tag(Aad::from(header.as_bytes()), &mut sealed).ok()?;
        let tag = sealed.split_off(sealed.len() - TAG_BYTES);
        let parts = [encrypted_key.as_slice(), nonce.as_ref(), &sealed, &tag];
        let parts = parts.map(|part| URL_SAFE_NO_PAD.encode(part));
        Some(format!("{header}.{}", parts.join(".")))
    }

    fn agreed(
        &self,
        ours: &PrivateKey,
        algorithm: &'static agreement::Algorithm,
        theirs: &[u8],
    ) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        // RFC 7518 §4.6.2: of direct agreement it is the content's algorithm.
        let name = if self.alg == Algorithm::EcdhEs { "A256GCM" } else { self.alg.name() };
        let key = UnparsedPublicKey::new(algorithm, theirs);
        agree(ours, key, (), |secret| Ok(concat_kdf(secret, name))).ok()
    }
}

fn on_a_curve(spki: Vec<u8>) -> Result<PublicKey, KeyError> {
    let curves: [(&agreement::Algorithm, &str); 4] = [
        (&agreement::ECDH_P256, "P-256"),
        (&agreement::ECDH_P384, "P-384"),
        (&agreement::ECDH_P521, "P-521"),
        (&agreement::X25519, "X25519"),
    ];
    for (algorithm, curve) in curves {
        let fits = PrivateKey::generate(algorithm).map_err(|_| KeyError::Unreadable).is_ok_and(|trial| {
            agree(&trial, UnparsedPublicKey::new(algorithm, &spki), (), |_| Ok(())).is_ok()
        });
        if fits {
            return Ok(PublicKey::Agreement(algorithm, curve, spki));
        }
    }
    Err(KeyError::WrongAlgorithm)
}

/// RFC 7518 §6.2.1 and RFC 8037 §2: the public half of the key that is made for this value alone.
fn epk(curve: &str, point: &[u8]) -> Option<Value> {
    if curve == "X25519" {
        return Some(json!({"kty": "OKP", "crv": curve, "x": URL_SAFE_NO_PAD.encode(point)}));
    }
    let (mark, point) = point.split_first()?;
    if *mark != 4 {
        return None;
    }
    let (x, y) = point.split_at(point.len() / 2);
    Some(json!({"kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)}))
}

/// RFC 7518 §4.6.2, with neither party named.
fn concat_kdf(secret: &[u8], algorithm: &str) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&1_u32.to_be_bytes());
    context.update(secret);
    for part in [algorithm.as_bytes(), b"", b""] {
        context.update(&u32::try_from(part.len()).unwrap_or_default().to_be_bytes());
        context.update(part);
    }
    context.update(&KEY_BITS.to_be_bytes());
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    key.copy_from_slice(context.finish().as_ref());
    key
}
