//! Name the consumer from the access token, the JWT or the certificate that it shows.
//!
//! The token is looked for in `Tidegate-Token`, then where the provider's own credential would sit, so
//! that an unmodified SDK works. It is judged by checksum, then by HMAC, then by expiry; it never goes
//! further: `forward` drops every field it may have stood in.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};

use crate::error::{Code, Refusal};
use crate::identity::{self, Keys, Proof, has_claims, is_jwt};
use crate::route::path::decode_name;
use crate::snapshot::{AccessToken, AttachPart, Consumer, Provider, Snapshot};

pub const TOKEN_HEADER: &str = "tidegate-token";
const PREFIX: &str = "tdg_";
const LENGTH: usize = PREFIX.len() + 36;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Proof that the call comes from a consumer.
#[derive(Debug)]
pub struct Authenticated<'s> {
    pub token: &'s AccessToken,
    pub consumer: &'s Consumer,
}

/// What a call may be known by.
pub struct Shown<'r> {
    pub headers: &'r HeaderMap,
    pub query: Option<&'r str>,
    /// The names of the certificate that the connection was made with.
    pub names: &'r [String],
}

pub fn authenticate<'s>(
    snapshot: &'s Snapshot,
    key: &hmac::Key,
    issuer_keys: &Keys,
    shown: &Shown<'_>,
    provider: Option<&Provider>,
    now: u64,
) -> Result<Authenticated<'s>, Refusal> {
    let refuse = |detail: &'static str| Refusal::new(Code::Unauthenticated, detail);
    let known = |token: &'s AccessToken| Authenticated { token, consumer: snapshot.consumer(token.consumer) };
    // A token that is shown decides, also where a certificate would do.
    let Some(text) = shown_token(shown.headers, shown.query, provider) else {
        return by_certificate(snapshot, shown.names).map(known).ok_or_else(|| {
            refuse("The call shows no access token: send it as `Tidegate-Token`, or where the provider's key would go.")
        });
    };
    if is_jwt(&text) {
        return by_jwt(snapshot, issuer_keys, &text, now).map(known).map_err(refuse);
    }
    if !well_formed(&text) {
        return Err(refuse(
            "The access token is not one of Tidegate's, or was cut or mistyped: its checksum is wrong.",
        ));
    }
    let tag = hmac::sign(key, text.as_bytes());
    let digest: [u8; 32] =
        tag.as_ref().try_into().map_err(|_| refuse("The access token cannot be checked."))?;
    let token = snapshot.tokens.get(&digest).ok_or_else(|| {
        refuse("The access token is not known here, or was revoked: `tidegate token create` makes a new one.")
    })?;
    if token.expires <= now {
        return Err(refuse("The access token has expired: `tidegate token create` makes a new one."));
    }
    Ok(known(token))
}

fn by_certificate<'s>(snapshot: &'s Snapshot, names: &[String]) -> Option<&'s AccessToken> {
    let mine = |proof: &Proof| matches!(proof, Proof::Certificate(name) if names.contains(name));
    snapshot.identities.iter().find(|identity| mine(&identity.proof)).map(|identity| &identity.token)
}

fn by_jwt<'s>(
    snapshot: &'s Snapshot,
    keys: &Keys,
    text: &str,
    now: u64,
) -> Result<&'s AccessToken, &'static str> {
    let (issuer, claims) =
        identity::verify(&snapshot.issuers, keys, text, now).map_err(identity::Refused::as_str)?;
    let mine = |proof: &Proof| matches!(proof, Proof::Token(number, wanted) if *number == issuer && has_claims(&claims, wanted));
    let found = snapshot.identities.iter().find(|identity| mine(&identity.proof));
    found.map(|identity| &identity.token).ok_or("The JWT is right, but no consumer is known by its claims.")
}

/// `tdg_`, 30 base62 characters, and the CRC-32 of all before it as 6 base62 digits.
pub fn well_formed(token: &str) -> bool {
    if token.len() != LENGTH
        || !token.starts_with(PREFIX)
        || !token.bytes().skip(PREFIX.len()).all(|b| b.is_ascii_alphanumeric())
    {
        return false;
    }
    let (body, checksum) = token.as_bytes().split_at(LENGTH - 6);
    let mut value = crc32fast::hash(body);
    let mut expected = [b'0'; 6];
    for digit in expected.iter_mut().rev() {
        *digit = BASE62[(value % 62) as usize];
        value /= 62;
    }
    expected == checksum
}

/// The first text that claims to be an access token, from the places it may stand in.
fn shown_token(headers: &HeaderMap, query: Option<&str>, provider: Option<&Provider>) -> Option<String> {
    if let Some(value) = headers.get(TOKEN_HEADER) {
        return Some(value.to_str().unwrap_or_default().trim().to_owned());
    }
    if let Some(token) = headers.get(header::AUTHORIZATION).and_then(|v| from_authorization(v.to_str().ok()?))
    {
        return Some(token);
    }
    provider?.attach.iter().find_map(|part| match part {
        AttachPart::Header { name, .. } => last_word(headers.get(name)?.to_str().ok()?),
        AttachPart::Query { name, .. } => query?.split('&').find_map(|pair| {
            let (n, value) = pair.split_once('=')?;
            (decode_name(n) == name.as_str())
                .then(|| decode_name(value).into_owned())
                .filter(|v| v.starts_with(PREFIX))
        }),
        AttachPart::Cookie { name, .. } => {
            headers.get(header::COOKIE)?.to_str().ok()?.split(';').find_map(|pair| {
                let (n, value) = pair.trim().split_once('=')?;
                (n == name && value.starts_with(PREFIX)).then(|| value.to_owned())
            })
        }
        AttachPart::Basic { .. } => None,
    })
}

/// `Basic` holds it as user or password (Stripe's SDKs use the user); any other scheme as its last word.
fn from_authorization(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ').unwrap_or(("", value));
    if !scheme.eq_ignore_ascii_case("basic") {
        return last_word(rest);
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    [user, password].into_iter().find(|half| half.starts_with(PREFIX)).map(str::to_owned)
}

fn last_word(value: &str) -> Option<String> {
    let word = value.split([' ', '=', ':']).next_back()?;
    (word.starts_with(PREFIX) || is_jwt(word)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_catches_every_single_changed_character() {
        let body = "tdg_0123456789abcdefghijABCDEFGHIJ";
        let mut value = crc32fast::hash(body.as_bytes());
        let mut checksum = [b'0'; 6];
        for digit in checksum.iter_mut().rev() {
            *digit = BASE62[(value % 62) as usize];
            value /= 62;
        }
        let token = format!("{body}{}", String::from_utf8_lossy(&checksum));
        assert!(well_formed(&token));
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            assert!(!well_formed(&String::from_utf8_lossy(&changed)), "{at}");
        }
        assert!(!well_formed(&token[..39]));
    }

    #[test]
    fn the_token_is_found_where_sdks_put_keys() {
        let basic = format!("Basic {}", BASE64_STANDARD.encode("tdg_user:"));
        for (value, expected) in [
            ("Bearer tdg_a", Some("tdg_a")),
            ("token tdg_a", Some("tdg_a")),
            ("Bot tdg_a", Some("tdg_a")),
            (basic.as_str(), Some("tdg_user")),
            ("Bearer sk_live", None),
            ("Basic !!!", None),
        ] {
            assert_eq!(from_authorization(value).as_deref(), expected, "{value}");
        }
    }
}
