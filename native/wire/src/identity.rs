//! Who a consumer is by what somebody else vouches for: a certificate's name, or a signed JWT.
//!
//! Part of `authenticate`. Which names and claims are whose is in the snapshot; the keys of issuers come
//! from Python, which fetches them, and are asked for anew when a token names one that is not there.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Clocks may differ by this much (RFC 7519 §4.1.4 leaves it to us).
const SKEW_S: u64 = 60;
const TOKEN_BYTES_MAX: usize = 8 << 10;
const KEYS_MAX: usize = 64;

/// Somebody whose signed word on consumers counts.
#[derive(Debug)]
pub struct Issuer {
    pub name: Arc<str>,
    /// The `iss` of its tokens, compared as it is.
    pub issuer: String,
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
}

/// What a consumer is known by.
#[derive(Debug)]
pub enum Proof {
    /// A certificate's name: a SPIFFE id or another URI, or a DNS name.
    Certificate(String),
    /// An issuer's number, and the claims that its token must have.
    Token(usize, Vec<(String, String)>),
}

/// Why a token is not taken. Nothing of the token is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Malformed,
    UnknownIssuer,
    Algorithm,
    /// The key that it names is not among the issuer's.
    UnknownKey,
    Signature,
    Expired,
    NotYet,
    Audience,
}

impl Refused {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "The token is no JWT that can be read.",
            Self::UnknownIssuer => "The JWT is of an issuer that is not declared.",
            Self::Algorithm => "The JWT is signed by an algorithm that is not declared for its issuer.",
            Self::UnknownKey => "The JWT is signed with a key that its issuer does not publish.",
            Self::Signature => "The JWT's signature is wrong.",
            Self::Expired => "The JWT has expired.",
            Self::NotYet => "The JWT is not valid yet.",
            Self::Audience => "The JWT is for another audience.",
        }
    }
}

/// The issuers' keys, by issuer.
#[derive(Default)]
pub struct Keys {
    held: RwLock<HashMap<Arc<str>, Arc<JwkSet>>>,
    wanted: Mutex<HashSet<Arc<str>>>,
}

impl Keys {
    pub fn put(&self, issuer: &str, set: JwkSet) {
        self.held.write().unwrap_or_else(PoisonError::into_inner).insert(issuer.into(), Arc::new(set));
    }

    /// The issuers whose keys did not do since this was asked last.
    pub fn take_wanted(&self) -> Vec<Arc<str>> {
        self.wanted().drain().collect()
    }

    fn wanted(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, issuer: &str) -> Option<Arc<JwkSet>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(issuer).cloned()
    }
}

/// Read an issuer's keys; those that cannot be used are left out.
pub fn read_keys(json: &[u8]) -> Option<JwkSet> {
    let document: Value = serde_json::from_slice(json).ok()?;
    let keys = document.get("keys")?.as_array()?.iter().take(KEYS_MAX);
    let keys = keys.filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
    let signing = |key: &Jwk| !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
    Some(JwkSet { keys: keys.filter(signing).collect() })
}

/// Whether a text looks like a JWT, and no other kind of token.
pub fn is_jwt(text: &str) -> bool {
    text.len() <= TOKEN_BYTES_MAX && text.starts_with("eyJ") && text.split('.').count() == 3
}

/// Verify a token: its issuer's number and its claims.
pub fn verify(
    issuers: &[Issuer],
    keys: &Keys,
    token: &str,
    now: u64,
) -> Result<(usize, Map<String, Value>), Refused> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Malformed)?;
    // Its own word for who issued it only chooses the keys that must prove it.
    let said: Map<String, Value> =
        jsonwebtoken::dangerous::insecure_decode(token).map_err(|_| Refused::Malformed)?.claims;
    let said = said.get("iss").and_then(Value::as_str).ok_or(Refused::UnknownIssuer)?;
    let (number, issuer) =
        issuers.iter().enumerate().find(|(_, issuer)| issuer.issuer == said).ok_or(Refused::UnknownIssuer)?;
    if !issuer.algorithms.contains(&header.alg) {
        return Err(Refused::Algorithm);
    }
    let key = key_for(issuer, keys, header.alg, header.kid.as_deref())?;
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[&issuer.issuer]);
    validation.set_audience(&issuer.audiences);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    // Judged below by the call's own clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation)
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidAudience => Refused::Audience,
            jsonwebtoken::errors::ErrorKind::InvalidSignature => Refused::Signature,
            _ => Refused::Malformed,
        })?
        .claims;
    // A NumericDate may have a fraction (RFC 7519 §2), which no clock here needs.
    let at = |name: &str| {
        let said = claims.get(name).map(|value| value.as_u64().or_else(|| whole(value)));
        said.map(|seconds| seconds.ok_or(Refused::Malformed)).transpose()
    };
    if at("exp")?.is_none_or(|end| end.saturating_add(SKEW_S) <= now) {
        return Err(Refused::Expired);
    }
    let later = now.saturating_add(SKEW_S);
    if at("nbf")?.is_some_and(|begin| begin > later) || at("iat")?.is_some_and(|made| made > later) {
        return Err(Refused::NotYet);
    }
    Ok((number, claims))
}

fn whole(value: &Value) -> Option<u64> {
    let text = value.as_f64().filter(|seconds| *seconds >= 0.0)?.trunc().to_string();
    text.parse().ok()
}

fn key_for(issuer: &Issuer, keys: &Keys, alg: Algorithm, id: Option<&str>) -> Result<DecodingKey, Refused> {
    let unknown = || {
        keys.wanted().insert(Arc::clone(&issuer.name));
        Refused::UnknownKey
    };
    let set = keys.of(&issuer.name).ok_or_else(unknown)?;
    let fits = |key: &&Jwk| {
        let of_name = match (id, key.common.key_id.as_deref()) {
            (Some(id), Some(known)) => id == known,
            (Some(_), None) => false,
            // Without a name, only a key that stands alone is meant.
            (None, _) => set.keys.len() == 1,
        };
        let of_algorithm = key.common.key_algorithm.is_none_or(|known| algorithm_of(known) == Some(alg));
        of_name && of_algorithm
    };
    let key = set.keys.iter().find(fits).ok_or_else(unknown)?;
    DecodingKey::from_jwk(key).map_err(|_| unknown())
}

fn algorithm_of(known: KeyAlgorithm) -> Option<Algorithm> {
    known.to_string().parse().ok()
}

/// Whether the claims are those that a consumer is known by. A claim of several values has each of them.
pub fn has_claims(claims: &Map<String, Value>, wanted: &[(String, String)]) -> bool {
    wanted.iter().all(|(name, value)| match claims.get(name) {
        Some(Value::String(said)) => said == value,
        Some(Value::Array(said)) => said.iter().any(|one| one.as_str() == Some(value)),
        Some(Value::Bool(said)) => value == if *said { "true" } else { "false" },
        Some(Value::Number(said)) => said.to_string() == *value,
        _ => false,
    })
}

/// The names that a consumer's certificate has: its URIs and its DNS names.
pub fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(alternative)) = parsed.subject_alternative_name() else { return Vec::new() };
    let names = alternative.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}
