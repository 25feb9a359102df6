//! Put the encryption of a whole place of a document in its place, in the shape that its provider reads.
//!
//! What stands there is written anew by the rules for it first; so what another rule withholds is not in it. The
//! shape is data: which member holds what, and what a header field says. A place that is not there makes the call
//! one that is refused, unless the rule says that it may be absent: what stands elsewhere by mistake goes in clear.

mod cbc;
#[cfg(test)]
mod tests;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer};

use super::act::Unfit;
use super::jwe::Encryption;
use super::with::With;
use crate::json::Node;
use cbc::{Cbc, Parts};

/// How a place is encrypted, as the snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealing {
    by: By,
    /// What stands there instead, in its order.
    members: Vec<(Box<str>, Piece)>,
    /// The name that the place has then; None: its own.
    #[serde(default)]
    pub into: Option<Box<str>>,
    #[serde(default)]
    pub may_be_absent: bool,
    /// What the request's header says then.
    #[serde(default, deserialize_with = "header_fields")]
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Jwe(Encryption),
    Cbc(Cbc),
}

/// What a member holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Piece {
    Jwe,
    Data,
    Key,
    Iv,
    Text(Box<str>),
}

/// What encrypting made, of which each has its own.
enum Made {
    Jwe(String),
    Parts(Parts),
}

impl Sealing {
    /// Whether all its pieces are made.
    pub fn fits(&self) -> bool {
        self.members.iter().all(|(_, piece)| match (&self.by, piece) {
            (_, Piece::Text(_)) | (By::Jwe(_), Piece::Jwe) => true,
            (By::Cbc(_), piece) => *piece != Piece::Jwe,
            (By::Jwe(_), _) => false,
        })
    }

    /// What takes the place of a part of a document.
    pub fn seal(&self, clear: &Node<'_>, with: &With<'_>) -> Result<Node<'static>, Unfit> {
        // A text is the text that it says, and all else is as JSON writes it.
        let written = match clear {
            Node::Text(text) => text.as_bytes().to_vec(),
            other => other.written(),
        };
        let made = match &self.by {
            By::Jwe(to) => Made::Jwe(to.jwe(&written, with)?),
            By::Cbc(to) => Made::Parts(to.parts(&written, with)?),
        };
        let members = self.members.iter().map(|(name, piece)| {
            let text = piece.of(&made)?.to_owned();
            Some((name.to_string().into(), Node::Text(text.into())))
        });
        members.collect::<Option<_>>().map(Node::Map).ok_or(Unfit::Cannot("has a shape of other pieces"))
    }
}

impl Piece {
    fn of<'m>(&'m self, made: &'m Made) -> Option<&'m str> {
        match (self, made) {
            (Self::Text(text), _) => Some(text),
            (Self::Jwe, Made::Jwe(jwe)) => Some(jwe),
            (Self::Data, Made::Parts(parts)) => Some(&parts.data),
            (Self::Key, Made::Parts(parts)) => Some(&parts.key),
            (Self::Iv, Made::Parts(parts)) => Some(&parts.iv),
            _ => None,
        }
    }
}

fn header_fields<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(HeaderName, HeaderValue)>, D::Error> {
    let read = Vec::<(String, String)>::deserialize(from)?;
    let fields = read.into_iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(&value).ok()?))
    });
    fields.collect::<Option<_>>().ok_or_else(|| serde::de::Error::custom("no header field"))
}
