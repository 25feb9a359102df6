//! AES-128-CBC with its key under RSA-OAEP: what payment networks read that do not read JWE yet.
//!
//! Nothing tells the provider whether somebody altered it (NIST SP 800-38A §6.2): it is for those who take nothing
//! else. Padding is that of RFC 5652 §6.3, OAEP that of RFC 8017 §7.1 with one hash for both of its uses.

use std::sync::Arc;

use aws_lc_rs::cipher::{AES_128, DecryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OAEP_SHA512_MGF1SHA512, OaepAlgorithm, OaepPublicEncryptingKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::protect::act::Unfit;
use crate::protect::jwe::{KEY_ENDED, KeyError, NO_CHANCE, rsa_key};
use crate::protect::with::With;
use crate::sign::digest::hex;

const KEY_BYTES: usize = 16;

/// A provider's key, as a snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    /// `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7), DER, in base64.
    spki: String,
    oaep: Oaep,
    encoding: Encoding,
    /// Unix seconds from which nothing is encrypted to it any more; None: it does not end.
    #[serde(default)]
    until: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Oaep {
    #[serde(rename = "SHA-256")]
    Sha256,
    #[serde(rename = "SHA-512")]
    Sha512,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Hex,
    Base64,
}

/// A declared key, ready to encrypt to.
#[derive(Clone, Deserialize)]
#[serde(try_from = "Form")]
pub struct Cbc {
    form: Form,
    key: Arc<OaepPublicEncryptingKey>,
}

/// What it made of a value, as text.
pub struct Parts {
    pub data: String,
    pub key: String,
    pub iv: String,
}

impl TryFrom<Form> for Cbc {
    type Error = KeyError;

    fn try_from(form: Form) -> Result<Self, KeyError> {
        let key = Arc::new(rsa_key(&form.spki)?);
        Ok(Self { form, key })
    }
}

impl PartialEq for Cbc {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form
    }
}

impl Eq for Cbc {}

impl std::fmt::Debug for Cbc {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.form.fmt(formatter)
    }
}

impl Cbc {
    pub fn parts(&self, plain: &[u8], with: &With<'_>) -> Result<Parts, Unfit> {
        if self.form.until.is_some_and(|until| until <= with.now) {
            return Err(KEY_ENDED);
        }
        self.encrypted(plain).ok_or(NO_CHANCE)
    }

    fn encrypted(&self, plain: &[u8]) -> Option<Parts> {
        let mut content_key = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(&mut *content_key).ok()?;
        let cipher =
            PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_128, &*content_key).ok()?);
        let mut data = plain.to_vec();
        let DecryptionContext::Iv128(iv) = cipher.ok()?.encrypt(&mut data).ok()? else { return None };
        let mut room = vec![0; self.key.ciphertext_size()];
        let key = self.key.encrypt(self.form.oaep.algorithm(), &*content_key, &mut room, None).ok()?;
        let written = |bytes: &[u8]| self.form.encoding.written(bytes);
        Some(Parts { data: written(&data), key: written(key), iv: written(iv.as_ref()) })
    }
}

impl Oaep {
    fn algorithm(self) -> &'static OaepAlgorithm {
        match self {
            Self::Sha256 => &OAEP_SHA256_MGF1SHA256,
            Self::Sha512 => &OAEP_SHA512_MGF1SHA512,
        }
    }
}

impl Encoding {
    fn written(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}
