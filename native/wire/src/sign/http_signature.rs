//! HTTP Message Signatures (RFC 9421), with the body covered by `Content-Digest` (RFC 9530).

use std::fmt::Write as _;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;

use super::digest::Hash;
use super::{Unsigned, field, set, text_field, unusable};
use crate::error::{Code, Refusal};
use crate::lease::Lease;

const DIGEST: HeaderName = HeaderName::from_static("content-digest");
const INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");

#[derive(Debug, Clone, Deserialize)]
pub struct HttpSignature {
    /// What is covered, in this order: derived components (`@method`) and header fields, in small letters.
    pub components: Vec<String>,
    pub algorithm: Algorithm,
    pub label: String,
}

/// RFC 9421 §6.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "ed25519")]
    Ed25519,
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256,
    #[serde(rename = "rsa-pss-sha512")]
    RsaPss,
    #[serde(rename = "rsa-v1_5-sha256")]
    RsaPkcs1,
}

impl HttpSignature {
    pub fn covers_body(&self) -> bool {
        self.components.iter().any(|name| name == DIGEST.as_str())
    }

    pub fn sign(
        &self,
        lease: &Lease,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        if let Some(body) = request.body.filter(|_| self.covers_body()) {
            let digest = BASE64_STANDARD.encode(Hash::Sha256.plain(body));
            headers.insert(DIGEST, crate::headers::value(&format!("sha-256=:{digest}:")));
        }
        let key_id = text_field(lease, "key_id")?;
        if key_id.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..b' ' | 0x7f..)) {
            return Err(unusable("The field `key_id` cannot stand in a signature.".to_owned()));
        }
        let parameters = format!(";created={};keyid=\"{key_id}\"", request.now_s());
        let (input, base) = self.base(request, headers, &parameters)?;
        let key = lease.signing_key(|| SigningKey::read(self.algorithm, field(lease, "key").ok()?));
        let made = key
            .ok_or_else(|| {
                unusable("The field `key` is no key for this algorithm: connect it again.".to_owned())
            })?
            .sign(base.as_bytes())?;
        set(headers, INPUT, &format!("{}={input}", self.label))?;
        set(headers, SIGNATURE, &format!("{}=:{}:", self.label, BASE64_STANDARD.encode(made)))
    }

    /// The signature's parameters and its base (§2.5).
    pub(super) fn base(
        &self,
        request: &Unsigned<'_>,
        headers: &HeaderMap,
        parameters: &str,
    ) -> Result<(String, String), Refusal> {
        let mut base = String::new();
        let mut input = String::from("(");
        for (place, name) in self.components.iter().enumerate() {
            let value = component(name, request, headers)?;
            // Writing to a String cannot fail.
            let _ = writeln!(base, "\"{name}\": {value}");
            let _ = write!(input, "{}\"{name}\"", if place == 0 { "" } else { " " });
        }
        input.push(')');
        input.push_str(parameters);
        let _ = write!(base, "\"@signature-params\": {input}");
        Ok((input, base))
    }
}

/// §2.1 and §2.2.
fn component(name: &str, request: &Unsigned<'_>, headers: &HeaderMap) -> Result<String, Refusal> {
    let target = || match request.query {
        Some(query) => format!("{}?{query}", request.path),
        None => request.path.to_owned(),
    };
    Ok(match name {
        "@method" => request.method.as_str().to_owned(),
        "@authority" => request.authority.to_ascii_lowercase(),
        "@scheme" => request.scheme.to_owned(),
        "@path" => request.path.to_owned(),
        "@query" => format!("?{}", request.query.unwrap_or_default()),
        "@request-target" => target(),
        "@target-uri" => format!("{}://{}{}", request.scheme, request.authority, target()),
        _ => {
            let values: Vec<&str> =
                headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::trim).collect();
            if values.is_empty() {
                return Err(Refusal::new(
                    Code::MalformedRequest,
                    format!("The provider wants the header field `{name}` signed, and the call has none."),
                ));
            }
            values.join(", ")
        }
    })
}

/// A key that was read from a credential's field, ready to sign. No `Debug`.
pub enum SigningKey {
    Hmac(zeroize::Zeroizing<Vec<u8>>),
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    RsaPss(RsaKeyPair),
    RsaPkcs1(RsaKeyPair),
}

impl SigningKey {
    /// A private key in PEM; for the HMAC, the key in base64.
    pub fn read(algorithm: Algorithm, field: &[u8]) -> Option<Self> {
        if algorithm == Algorithm::HmacSha256 {
            return BASE64_STANDARD.decode(field).ok().map(|key| Self::Hmac(key.into()));
        }
        let key = PrivateKeyDer::from_pem_slice(field).ok()?;
        let der = key.secret_der();
        Some(match algorithm {
            Algorithm::HmacSha256 => return None,
            Algorithm::Ed25519 => Self::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?),
            Algorithm::EcdsaP256 => {
                let made = match &key {
                    PrivateKeyDer::Sec1(_) => {
                        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
                    }
                    _ => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der),
                };
                Self::Ecdsa(made.ok()?)
            }
            Algorithm::RsaPss | Algorithm::RsaPkcs1 => {
                let made = match &key {
                    PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(der),
                    _ => RsaKeyPair::from_pkcs8(der),
                };
                let made = made.ok()?;
                if algorithm == Algorithm::RsaPss { Self::RsaPss(made) } else { Self::RsaPkcs1(made) }
            }
        })
    }

    /// The public half of a key on a curve: a point, or its one number.
    pub fn public(&self) -> Option<&[u8]> {
        match self {
            Self::Ed25519(key) => Some(key.public_key().as_ref()),
            Self::Ecdsa(key) => Some(key.public_key().as_ref()),
            Self::Hmac(_) | Self::RsaPss(_) | Self::RsaPkcs1(_) => None,
        }
    }

    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let failed = |_| Refusal::new(Code::Internal, "The call could not be signed.");
        let random = SystemRandom::new();
        let by_rsa = |key: &RsaKeyPair, padding: &'static dyn signature::RsaEncoding| {
            let mut made = vec![0; key.public_modulus_len()];
            key.sign(padding, &random, message, &mut made).map_err(failed)?;
            Ok(made)
        };
        match self {
            Self::Hmac(key) => Ok(Hash::Sha256.keyed(key, message)),
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Self::Ecdsa(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Self::RsaPss(key) => by_rsa(key, &signature::RSA_PSS_SHA512),
            Self::RsaPkcs1(key) => by_rsa(key, &signature::RSA_PKCS1_SHA256),
        }
    }
}
