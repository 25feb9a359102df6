//! The packet that gives a message's key to its recipient, in version 3 (RFC 9580 §5.1.1).

use aws_lc_rs::digest;
use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::wrap;
use crate::protect::jwe::{KeyError, PointKey, RSA_BITS_MIN, der};

/// §9.1.
const RSA: u8 = 1;
const ECDH: u8 = 18;
/// §11.5: who sends it is not said.
const ANONYMOUS: &[u8; 20] = b"Anonymous Sender    ";
const FINGERPRINT_BYTES: usize = 20;

/// A subkey for encryption, of a key of version 4.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubkeyForm {
    /// In hexadecimal (§5.5.4.2).
    fingerprint: String,
    /// `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7), DER, in base64.
    spki: String,
    /// Of one on a curve: what the key that wraps is derived by; None: it is RSA.
    #[serde(default)]
    kdf: Option<Kdf>,
}

/// §11.5.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    /// The curve's object identifier, in hexadecimal (§9.2).
    curve: String,
    /// By their numbers (§9.5, §9.3).
    hash: u8,
    cipher: u8,
}

pub struct Subkey {
    fingerprint: [u8; FINGERPRINT_BYTES],
    key: Key,
}

enum Key {
    Rsa(Pkcs1PublicEncryptingKey),
    Point { key: PointKey, curve: Vec<u8>, hash: u8, cipher: u8 },
}

impl Subkey {
    pub fn new(form: &SubkeyForm) -> Result<Self, KeyError> {
        let fingerprint = unhex(&form.fingerprint).and_then(|bytes| bytes.try_into().ok());
        let spki = der(&form.spki)?;
        let key = match &form.kdf {
            None => {
                let key = PublicEncryptingKey::from_der(&spki).map_err(|_| KeyError::WrongAlgorithm)?;
                if key.key_size_bits() < RSA_BITS_MIN {
                    return Err(KeyError::TooShort);
                }
                Key::Rsa(Pkcs1PublicEncryptingKey::new(key).map_err(|_| KeyError::Unreadable)?)
            }
            Some(kdf) => {
                if hash_of(kdf.hash).is_none() || wrap::key_bytes(kdf.cipher).is_none() {
                    return Err(KeyError::WrongAlgorithm);
                }
                let curve = unhex(&kdf.curve).ok_or(KeyError::Unreadable)?;
                Key::Point { key: PointKey::of(spki)?, curve, hash: kdf.hash, cipher: kdf.cipher }
            }
        };
        Ok(Self { fingerprint: fingerprint.ok_or(KeyError::Unreadable)?, key })
    }

    /// The packet's content that gives away `session_key`, which is for this cipher.
    pub fn session_packet(&self, cipher: u8, session_key: &[u8]) -> Option<Vec<u8>> {
        let mut packet = vec![3];
        packet.extend_from_slice(&self.fingerprint[FINGERPRINT_BYTES - 8..]);
        let mut given = Zeroizing::new(Vec::with_capacity(session_key.len() + 11));
        given.push(cipher);
        given.extend_from_slice(session_key);
        let sum = session_key.iter().fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
        given.extend_from_slice(&sum.to_be_bytes());
        match &self.key {
            Key::Rsa(key) => {
                packet.push(RSA);
                let mut room = vec![0; key.ciphertext_size()];
                packet.extend_from_slice(&mpi(key.encrypt(&given, &mut room).ok()?));
            }
            Key::Point { key, .. } => {
                packet.push(ECDH);
                // §11.5: to whole blocks of eight, each byte of it says how many.
                let padding = 8 - given.len() % 8;
                let padded = given.len() + padding;
                given.resize(padded, u8::try_from(padding).ok()?);
                let (point, wrapped) = key.with_ephemeral(|point, shared| {
                    Some((point.to_vec(), self.wrapped(shared, &given)?))
                })??;
                packet.extend_from_slice(&mpi(&marked(key, point)));
                packet.push(u8::try_from(wrapped.len()).ok()?);
                packet.extend_from_slice(&wrapped);
            }
        }
        Some(packet)
    }

    /// §11.5: what is given away, wrapped by a key that both derive of what they share.
    fn wrapped(&self, shared: &[u8], given: &[u8]) -> Option<Vec<u8>> {
        let Key::Point { curve, hash, cipher, .. } = &self.key else { return None };
        let mut context = digest::Context::new(hash_of(*hash)?);
        context.update(&[0, 0, 0, 1]);
        context.update(shared);
        context.update(&[u8::try_from(curve.len()).ok()?]);
        context.update(curve);
        context.update(&[ECDH, 3, 1, *hash, *cipher]);
        context.update(ANONYMOUS);
        context.update(&self.fingerprint);
        let derived = Zeroizing::new(context.finish().as_ref().to_vec());
        wrap::wrapped(derived.get(..wrap::key_bytes(*cipher)?)?, given)
    }
}

/// §11.2: points of NIST's curves say so themselves; those that are bytes as they are get a mark.
fn marked(key: &PointKey, point: Vec<u8>) -> Vec<u8> {
    if key.is_montgomery() { [&[0x40], point.as_slice()].concat() } else { point }
}

/// A number, after how many bits it has (§3.2).
fn mpi(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let number = &bytes[zeros..];
    let spare = number.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = u16::try_from(number.len() * 8 - spare).unwrap_or_default();
    [bits.to_be_bytes().as_slice(), number].concat()
}

fn hash_of(number: u8) -> Option<&'static digest::Algorithm> {
    match number {
        8 => Some(&digest::SHA256),
        9 => Some(&digest::SHA384),
        10 => Some(&digest::SHA512),
        _ => None,
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
