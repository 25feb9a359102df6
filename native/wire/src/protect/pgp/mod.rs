//! Encrypt a file to an `OpenPGP` key: a message of one recipient (RFC 9580 §10.3), which is read by all that read such.
//!
//! Which key it is, whether it holds and what it is for was judged when it was declared; here it is what a snapshot
//! says. What is encrypted is neither compressed nor signed, and its name and time are not in it. It carries the
//! hash that version 1 has (§5.13.1): every program checks it, and `GnuPG` reads no newer form.

mod session;
#[cfg(test)]
mod tests;
mod wrap;

use std::sync::Arc;

use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{cipher, digest, rand};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::act::Unfit;
use super::jwe::{KEY_ENDED, KeyError, NO_CHANCE};
use super::with::With;
use session::{Subkey, SubkeyForm};

const BLOCK_BYTES: usize = 16;
/// §5.13.1: a block of chance and its last two bytes again.
const PREFIX_BYTES: usize = BLOCK_BYTES + 2;
/// §5.14: the header of a packet that holds a SHA-1.
const HASH_HEAD: [u8; 2] = [0xd3, 20];

/// Packets by their types (§5).
const SESSION_KEY: u8 = 1;
const LITERAL: u8 = 11;
const ENCRYPTED: u8 = 18;

/// A key as a snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    subkey: SubkeyForm,
    cipher: Cipher,
    /// Unix seconds from which nothing is encrypted to it any more; None: it does not end.
    #[serde(default)]
    until: Option<u64>,
}

/// §9.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Cipher {
    #[serde(rename = "AES-128")]
    Aes128,
    #[serde(rename = "AES-256")]
    Aes256,
}

impl Cipher {
    fn number(self) -> u8 {
        match self {
            Self::Aes128 => 7,
            Self::Aes256 => 9,
        }
    }

    fn algorithm(self) -> &'static cipher::Algorithm {
        match self {
            Self::Aes128 => &cipher::AES_128,
            Self::Aes256 => &cipher::AES_256,
        }
    }

    fn key_bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }
}

/// A declared key, ready to encrypt to.
#[derive(Clone, Deserialize)]
#[serde(try_from = "Form")]
pub struct Pgp {
    form: Form,
    subkey: Arc<Subkey>,
}

impl TryFrom<Form> for Pgp {
    type Error = KeyError;

    fn try_from(form: Form) -> Result<Self, KeyError> {
        let subkey = Arc::new(Subkey::new(&form.subkey)?);
        Ok(Self { form, subkey })
    }
}

impl PartialEq for Pgp {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form
    }
}

impl Eq for Pgp {}

impl std::fmt::Debug for Pgp {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.form.fmt(formatter)
    }
}

impl Pgp {
    /// The message of a file.
    pub fn message(&self, file: &[u8], with: &With<'_>) -> Result<Vec<u8>, Unfit> {
        if self.form.until.is_some_and(|until| until <= with.now) {
            return Err(KEY_ENDED);
        }
        self.encrypted(file).ok_or(NO_CHANCE)
    }

    fn encrypted(&self, file: &[u8]) -> Option<Vec<u8>> {
        let cipher = self.form.cipher;
        let mut session_key = Zeroizing::new(vec![0; cipher.key_bytes()]);
        rand::fill(&mut session_key).ok()?;
        let to = self.subkey.session_packet(cipher.number(), &session_key)?;

        let literal = head(LITERAL, file.len() + 6)?;
        let clear_bytes = PREFIX_BYTES + literal.len() + 6 + file.len() + HASH_HEAD.len() + 20;
        let sealed = head(ENCRYPTED, clear_bytes + 1)?;
        let session = head(SESSION_KEY, to.len())?;

        // One room for all: a file may be as large as the policy's bound.
        let mut out = Vec::with_capacity(session.len() + to.len() + sealed.len() + 1 + clear_bytes);
        out.extend_from_slice(&session);
        out.extend_from_slice(&to);
        out.extend_from_slice(&sealed);
        out.push(1);
        let from = out.len();
        let mut prefix = [0; PREFIX_BYTES];
        rand::fill(&mut prefix[..BLOCK_BYTES]).ok()?;
        prefix.copy_within(BLOCK_BYTES - 2..BLOCK_BYTES, BLOCK_BYTES);
        out.extend_from_slice(&prefix);
        out.extend_from_slice(&literal);
        // Bytes, without a name, of no time (§5.9).
        out.extend_from_slice(&[b'b', 0, 0, 0, 0, 0]);
        out.extend_from_slice(file);
        out.extend_from_slice(&HASH_HEAD);
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &out[from..]);
        out.extend_from_slice(hash.as_ref());
        let key =
            EncryptingKey::cfb128(UnboundCipherKey::new(cipher.algorithm(), &session_key).ok()?).ok()?;
        // §5.13.1: it begins with zeros; what is chance is the first block.
        let begin = EncryptionContext::Iv128(FixedLength::from([0; BLOCK_BYTES]));
        key.less_safe_encrypt(&mut out[from..], begin).ok()?;
        Some(out)
    }
}

/// The header of a packet of so many bytes (§4.2.1).
fn head(kind: u8, length: usize) -> Option<Vec<u8>> {
    let mut head = vec![0xc0 | kind, 0xff];
    head.extend_from_slice(&u32::try_from(length).ok()?.to_be_bytes());
    Some(head)
}
