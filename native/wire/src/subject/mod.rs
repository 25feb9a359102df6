//! Whom a call is about: named by the consumer, known from here on by a keyed index alone.
//!
//! `Tidegate-Subject: kind:identifier` is read and taken out once it is decided for which client the call is.
//! The index is HMAC-SHA256 (RFC 2104) under the client's own key, over kind, a zero byte and the identifier in
//! one spelling: the same person has one index for a client, another for every other client, and none for
//! whoever lacks the key. Neither header nor identifier is forwarded, recorded or told in a refusal.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderName};
use zeroize::Zeroizing;

use crate::error::{Code, Refusal};
use crate::shared::hex;

pub mod consent;
pub mod identifier;
pub mod suppressed;

use identifier::Named;
use suppressed::{Suppressed, Way};

/// Whom the call is about; several by commas or by several fields.
pub const HEADER: HeaderName = HeaderName::from_static("tidegate-subject");

/// How many persons a call may be about.
pub const SUBJECTS_MAX: usize = 16;

const KEY_BYTES_MIN: usize = 32;

pub type Index = [u8; 32];

/// The key by which one client's subjects are indexed.
pub struct Key(hmac::Key);

impl Key {
    /// None where the secret is no key.
    pub fn new(secret: &[u8]) -> Option<Self> {
        (secret.len() >= KEY_BYTES_MIN).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    pub fn index(&self, named: &Named) -> Index {
        let mut context = hmac::Context::with_key(&self.0);
        // No kind holds a zero byte, so that no two pairs are one text.
        for part in [named.kind().as_bytes(), b"\0", named.identifier().as_bytes()] {
            context.update(part);
        }
        let mut index = Index::default();
        index.copy_from_slice(context.sign().as_ref());
        index
    }
}

/// Every client's key, as the vault gives them.
#[derive(Default)]
pub struct Keys(ArcSwap<HashMap<Arc<str>, Arc<Key>>>);

impl Keys {
    /// Those before are forgotten; what is no key is left out, and calls about its client's subjects wait for one.
    pub fn put(&self, secrets: HashMap<String, Zeroizing<Vec<u8>>>) {
        let keys = secrets.into_iter().filter_map(|(client, secret)| {
            let key = Key::new(&secret)?;
            Some((client.into(), Arc::new(key)))
        });
        self.0.store(Arc::new(keys.collect()));
    }

    pub fn get(&self, client: &str) -> Option<Arc<Key>> {
        self.0.load().get(client).cloned()
    }
}

/// Whose key a call's values may be sealed by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Whom {
    #[default]
    Nobody,
    One(Index),
    Several,
}

/// Whom one call is about.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// In hexadecimal, each once.
    pub indexes: Vec<Box<str>>,
    /// The one it is about, where it is one.
    pub whom: Whom,
    /// The client declares that calls about suppressed subjects are reported, and this is one.
    pub would_refuse: bool,
}

/// Read whom the call is about, and refuse it where the client has somebody of them suppressed.
///
/// `erases`: the call asks the provider to forget somebody, which is no reason to refuse it.
pub fn subjects(
    headers: &mut HeaderMap,
    keys: &Keys,
    client: &Arc<str>,
    suppressed: Option<&Suppressed>,
    erases: bool,
) -> Result<Subjects, Refusal> {
    let mut found = Subjects::default();
    if !headers.contains_key(HEADER) {
        return Ok(found);
    }
    let named = identifier::read(headers)?;
    headers.remove(HEADER);
    let key = keys.get(client).ok_or_else(|| {
        Refusal::new(
            Code::NotReady,
            format!(
                "The key by which client `{client}`'s subjects are known is not here; try again shortly."
            ),
        )
    })?;
    for one in &named {
        let index = key.index(one);
        let hit = suppressed.filter(|suppressed| !erases && suppressed.holds(&index));
        match hit.map(Suppressed::way) {
            Some(Way::Refuse) => return Err(refusal(client, one.kind())),
            Some(Way::Report) => found.would_refuse = true,
            None => {}
        }
        let text = hex(&index).into_boxed_str();
        if !found.indexes.contains(&text) {
            found.whom = if found.indexes.is_empty() { Whom::One(index) } else { Whom::Several };
            found.indexes.push(text);
        }
    }
    Ok(found)
}

fn refusal(client: &str, kind: &str) -> Refusal {
    Refusal::new(
        Code::Suppressed,
        format!(
            "Nothing is sent any more about a subject (`{kind}`) that this call names: it was erased for client \
             `{client}`. `tidegate subject suppressed --client {client}` lists since when."
        ),
    )
    .by(Arc::from(format!("clients.{client}.suppressed")))
}

#[cfg(test)]
mod tests;
