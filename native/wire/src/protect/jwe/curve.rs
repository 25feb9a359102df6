//! Agree on a key with one that lies on a curve: `ECDH-ES` (RFC 7518 §4.6, RFC 8037 §3.2).

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::KeyError;

/// NIST SP 800-56A §5.8.1: what one round of SHA-256 yields.
pub const AGREED_BYTES_MAX: usize = 32;

/// Who they are that agree: ours and theirs (`apu` and `apv`). Nobody names them here.
pub type Parties<'p> = [&'p [u8]; 2];
const UNNAMED: Parties<'static> = [b"", b""];

/// With the length of a key in DER that names its curve and says both coordinates (RFC 5480 §2, RFC 8410 §4). One
/// that describes a curve of its own is longer: of such a one nobody knows what it is good for.
const CURVES: [(&agreement::Algorithm, &str, usize); 4] = [
    (&agreement::ECDH_P256, "P-256", 91),
    (&agreement::ECDH_P384, "P-384", 120),
    (&agreement::ECDH_P521, "P-521", 158),
    (&agreement::X25519, "X25519", 44),
];

/// A provider's public key on a curve.
pub struct PointKey {
    pub curve: &'static agreement::Algorithm,
    /// RFC 7518 §6.2.1.1, RFC 8037 §2.
    name: &'static str,
    spki: Vec<u8>,
}

impl PointKey {
    /// The key that somebody can agree with; any other is refused here, not when a call comes.
    pub fn of(spki: Vec<u8>) -> Result<Self, KeyError> {
        let (curve, name, _) =
            CURVES.into_iter().find(|(.., length)| *length == spki.len()).ok_or(KeyError::WrongAlgorithm)?;
        let key = Self { curve, name, spki };
        let trial = PrivateKey::generate(curve).map_err(|_| KeyError::Unreadable)?;
        key.shared(&trial, |_| ()).ok_or(KeyError::WrongAlgorithm)?;
        Ok(key)
    }

    /// Agree on so many bytes for the named algorithm, by a key that is made for it alone; `epk` says its public half.
    pub fn agree(&self, algorithm: &str, bytes: usize) -> Option<(Value, Zeroizing<Vec<u8>>)> {
        let made = self.with_ephemeral(|point, secret| {
            Some((epk(self.name, point)?, concat_kdf(secret, algorithm, UNNAMED, bytes)))
        });
        made.flatten()
    }

    /// Make something of a key that is made for it alone, of its public point and what is shared then.
    pub fn with_ephemeral<S>(&self, make: impl FnOnce(&[u8], &[u8]) -> S) -> Option<S> {
        let ours = PrivateKey::generate(self.curve).ok()?;
        let point = ours.compute_public_key().ok()?;
        self.shared(&ours, |secret| make(point.as_ref(), secret))
    }

    /// Whether its points are bytes as they are (RFC 7748).
    pub fn is_montgomery(&self) -> bool {
        self.name == "X25519"
    }

    pub(super) fn shared<S>(&self, ours: &PrivateKey, make: impl FnOnce(&[u8]) -> S) -> Option<S> {
        let theirs = UnparsedPublicKey::new(self.curve, &self.spki);
        agree(ours, theirs, (), |secret| Ok(make(secret))).ok()
    }
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

/// RFC 7518 §4.6.2, of one round.
pub(super) fn concat_kdf(
    secret: &[u8],
    algorithm: &str,
    parties: Parties<'_>,
    bytes: usize,
) -> Zeroizing<Vec<u8>> {
    debug_assert!(bytes <= AGREED_BYTES_MAX, "more than one round yields");
    let number = |of: usize| u32::try_from(of).unwrap_or_default().to_be_bytes();
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&number(1));
    context.update(secret);
    for part in [algorithm.as_bytes(), parties[0], parties[1]] {
        context.update(&number(part.len()));
        context.update(part);
    }
    context.update(&number(bytes * 8));
    let mut key = Zeroizing::new(context.finish().as_ref().to_vec());
    key.truncate(bytes);
    key
}
