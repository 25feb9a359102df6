//! `DPoP` (RFC 9449): each call proves that its sender holds the key which the access token is bound to.
//!
//! A proof is a small JWT for one request. A provider may want a nonce of its own in it, which it gives with
//! its answers: the newest is kept for each connection and origin.

use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, header};
use serde::{Deserialize, Serialize};

use super::digest::Hash;
use super::http_signature::{Algorithm as KeyKind, SigningKey};
use super::{Unsigned, field, nonce, set, unusable};
use crate::error::{Code, Refusal};
use crate::lease::Lease;
use crate::origin::Origin;

pub(super) const PROOF: HeaderName = HeaderName::from_static("dpop");
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// A longer nonce is none: it goes out with every call.
pub const NONCE_BYTES_MAX: usize = 1024;
/// Origins that a connection has a nonce of; declared ones are fewer.
const ORIGINS_MAX: usize = 16;
const KEY: &str = "dpop_key";
const TOKEN: &str = "access_token";

#[derive(Debug, Clone, Deserialize)]
pub struct Dpop {
    pub algorithm: Algorithm,
}

/// RFC 7518 §3.4, RFC 8037 §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// What proofs of one access token have in common, made once. No `Debug`: it holds the key.
pub struct Prover {
    key: SigningKey,
    /// The JWT's header, encoded.
    header: String,
    /// The access token's hash.
    ath: String,
}

/// §4.2. What stands in it comes from the request and is escaped by the writer of JSON.
#[derive(Serialize)]
struct Claims<'p> {
    jti: &'p str,
    htm: &'p str,
    htu: &'p str,
    iat: u64,
    ath: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'p str>,
}

impl Dpop {
    pub fn sign(
        &self,
        lease: &Lease,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        let prover = lease.prover(|| Prover::read(self.algorithm, lease)).ok_or_else(|| {
            unusable(
                "The connection's credential has no key that its token is bound to: connect it again."
                    .to_owned(),
            )
        })?;
        let asked = lease.nonces().of(request.scheme, request.authority);
        set(headers, PROOF, &prover.proof(request, &nonce()?, asked.as_deref())?)
    }
}

impl Prover {
    fn read(algorithm: Algorithm, lease: &Lease) -> Option<Self> {
        let (name, kind) = match algorithm {
            Algorithm::Es256 => ("ES256", KeyKind::EcdsaP256),
            Algorithm::EdDsa => ("EdDSA", KeyKind::Ed25519),
        };
        let key = SigningKey::read(kind, lease.field(KEY)?)?;
        let header = format!(r#"{{"typ":"dpop+jwt","alg":"{name}","jwk":{}}}"#, public_jwk(&key)?);
        let token = field(lease, TOKEN).ok()?;
        Some(Self { key, header: encoded(header.as_bytes()), ath: encoded(&Hash::Sha256.plain(token)) })
    }

    /// §4.2: the target is without query and fragment.
    pub(super) fn proof(
        &self,
        request: &Unsigned<'_>,
        jti: &str,
        nonce: Option<&str>,
    ) -> Result<String, Refusal> {
        let htu = format!("{}://{}{}", request.scheme, request.authority, request.path);
        let claims = Claims {
            jti,
            htm: request.method.as_str(),
            htu: &htu,
            iat: request.now_s(),
            ath: &self.ath,
            nonce,
        };
        let claims = serde_json::to_vec(&claims)
            .map_err(|_| Refusal::new(Code::Internal, "The call could not be signed."))?;
        let mut jwt = format!("{}.{}", self.header, encoded(&claims));
        let made = self.key.sign(jwt.as_bytes())?;
        jwt.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(made, &mut jwt);
        Ok(jwt)
    }
}

/// RFC 7517 and RFC 8037, in the order of RFC 7638, and nothing that need not be told.
fn public_jwk(key: &SigningKey) -> Option<String> {
    let public = key.public()?;
    Some(match public {
        // SEC 1 §2.3.3: an uncompressed point is `04`, x and y.
        [4, point @ ..] if point.len() == 64 => {
            let (x, y) = point.split_at(32);
            format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, encoded(x), encoded(y))
        }
        x if x.len() == 32 => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encoded(x)),
        _ => return None,
    })
}

fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Whether a 401 says that the proof wants the provider's nonce (§9).
///
/// What a provider could gain by saying so is one more try of the call, so the word alone is looked for.
pub fn wants_nonce(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .any(|value| memchr::memmem::find(value.as_bytes(), b"use_dpop_nonce").is_some())
}

/// The one nonce that an answer gives, if it is one (§8.1: NQCHAR).
pub fn nonce_in(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(NONCE).iter();
    let (one, None) = (given.next()?, given.next()) else { return None };
    let visible = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let fits = (1..=NONCE_BYTES_MAX).contains(&one.len()) && one.as_bytes().iter().all(visible);
    if fits { one.to_str().ok() } else { None }
}

/// The newest nonce of each origin that a connection calls; one token's goes on with the next.
#[derive(Default)]
pub struct Nonces(Mutex<Vec<(Origin, Box<str>)>>);

impl Nonces {
    /// Keep what an answer of `origin` gives; false where it gives none.
    pub fn learn(&self, origin: &Origin, headers: &HeaderMap) -> bool {
        let Some(nonce) = nonce_in(headers) else { return false };
        let mut all = self.all();
        match all.iter_mut().find(|(known, _)| known == origin) {
            Some((_, known)) if **known == *nonce => {}
            Some((_, known)) => *known = nonce.into(),
            None => {
                all.truncate(ORIGINS_MAX - 1);
                all.push((origin.clone(), nonce.into()));
            }
        }
        true
    }

    pub fn any(&self) -> bool {
        !self.all().is_empty()
    }

    fn of(&self, scheme: &str, authority: &str) -> Option<Box<str>> {
        let all = self.all();
        let mine = |origin: &Origin| origin.scheme().as_str() == scheme && origin.authority() == authority;
        all.iter().find(|(origin, _)| mine(origin)).map(|(_, nonce)| nonce.clone())
    }

    fn all(&self) -> MutexGuard<'_, Vec<(Origin, Box<str>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
