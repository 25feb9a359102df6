//! Say where a provider lives: scheme, host and port (RFC 6454).
//!
//! An origin is what a secret is bound to and what dial must prove, so there is one spelling for each:
//! lower-case ASCII names, canonical address literals, no shorthand that a resolver might read otherwise.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// RFC 1035 §2.3.4, less the root's own length byte and dot.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// One origin. Cloning copies two counted references.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin {
    scheme: Scheme,
    host: Arc<str>,
    port: u16,
    authority: Arc<str>,
}

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    #[error("an origin starts with `https://` or `http://`")]
    Scheme,
    #[error("an origin has no path, query or fragment")]
    MoreThanAnOrigin,
    #[error("an origin has no user or password")]
    User,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("the host is not a host name in ASCII (internationalised names are written as `xn--…`)")]
    Host,
    #[error("the host looks like an IPv4 address, but is not four decimal numbers without leading zeros")]
    Ipv4,
    #[error("the host is not an IPv6 address in brackets, without a zone id")]
    Ipv6,
}

impl Origin {
    /// Read `https://host[:port]`, with at most a bare `/` after it.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = split_scheme(text)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '\\', '?', '#']) {
            return Err(OriginError::MoreThanAnOrigin);
        }
        if authority.contains('@') {
            return Err(OriginError::User);
        }
        let (host, port) = split_port(authority)?;
        let port = port.map_or(Ok(scheme.default_port()), parse_port)?;
        let host = parse_host(host)?;
        Ok(Self { scheme, authority: authority_of(scheme, &host, port), host, port })
    }

    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// A lower-case name, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address, where the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// What a `Host` header says: the host, bracketed where IPv6 needs it, with the port unless it is the
    /// scheme's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Origin {
    type Error = OriginError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), OriginError> {
    let (scheme, rest) = text.split_once("://").ok_or(OriginError::Scheme)?;
    if scheme.eq_ignore_ascii_case("https") {
        Ok((Scheme::Https, rest))
    } else if scheme.eq_ignore_ascii_case("http") {
        Ok((Scheme::Http, rest))
    } else {
        Err(OriginError::Scheme)
    }
}

/// Part the host, brackets still on, from the port.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), OriginError> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(OriginError::Ipv6)?;
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(OriginError::Ipv6),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(OriginError::Ipv6),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, OriginError> {
    // `u16::from_str` takes a leading `+`.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(OriginError::Port);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(OriginError::Port),
        Ok(port) => Ok(port),
    }
}

fn parse_host(text: &str) -> Result<Arc<str>, OriginError> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let literal = bracketed.strip_suffix(']').ok_or(OriginError::Ipv6)?;
        let address: Ipv6Addr = literal.parse().map_err(|_| OriginError::Ipv6)?;
        return Ok(address.to_string().into());
    }
    if ends_in_a_number(text) {
        let address: Ipv4Addr = text.parse().map_err(|_| OriginError::Ipv4)?;
        return Ok(address.to_string().into());
    }
    if text.len() > NAME_BYTES_MAX || !text.split('.').all(is_label) {
        return Err(OriginError::Host);
    }
    Ok(text.to_ascii_lowercase().into())
}

/// Whether C libraries and browsers would read the host as an IPv4 address (`127.1`, `0x7f.1`,
/// `017700000001`): its last label is a number (WHATWG URL §3.5). Such a host is a strict literal or nothing.
fn ends_in_a_number(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !label.is_empty()
        && label.len() <= LABEL_BYTES_MAX
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn authority_of(scheme: Scheme, host: &str, port: u16) -> Arc<str> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == scheme.default_port() { host.into() } else { format!("{host}:{port}").into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        Origin::parse(text).expect(text).to_string()
    }

    #[test]
    fn one_origin_has_one_spelling() {
        for (text, expected) in [
            ("https://api.stripe.com", "https://api.stripe.com"),
            ("HTTPS://API.Stripe.COM/", "https://api.stripe.com"),
            ("https://api.stripe.com:443", "https://api.stripe.com"),
            ("http://api.example:443", "http://api.example:443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://[2001:DB8:0:0::1]:8443", "https://[2001:db8::1]:8443"),
            ("https://[::ffff:1.2.3.4]", "https://[::ffff:1.2.3.4]"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("https://_private.example", "https://_private.example"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn authority_names_the_port_only_where_it_is_not_the_schemes_own() {
        let origin = Origin::parse("https://[::1]:8443").expect("origin");
        assert_eq!(origin.authority(), "[::1]:8443");
        assert_eq!(origin.host(), "::1");
        assert_eq!(origin.address(), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        let origin = Origin::parse("https://api.example").expect("origin");
        assert_eq!(origin.authority(), "api.example");
        assert_eq!(origin.port(), 443);
        assert_eq!(origin.address(), None);
    }

    #[test]
    fn anything_more_or_other_than_an_origin_is_refused() {
        for (text, expected) in [
            ("ftp://api.example", OriginError::Scheme),
            ("api.example", OriginError::Scheme),
            ("https:/api.example", OriginError::Scheme),
            ("https://api.example/v1", OriginError::MoreThanAnOrigin),
            ("https://api.example?x", OriginError::MoreThanAnOrigin),
            ("https://api.example#x", OriginError::MoreThanAnOrigin),
            ("https://evil.test\\.api.example", OriginError::MoreThanAnOrigin),
            ("https://api.example@evil.test", OriginError::User),
            ("https://api.example:0", OriginError::Port),
            ("https://api.example:+443", OriginError::Port),
            ("https://api.example:65536", OriginError::Port),
            ("https://api.example:", OriginError::Port),
            ("https://", OriginError::Host),
            ("https://api..example", OriginError::Host),
            ("https://api.example.", OriginError::Host),
            ("https://-api.example", OriginError::Host),
            ("https://api%2eexample", OriginError::Host),
            ("https://api.example\r\nX", OriginError::Host),
            ("https://api.exam ple", OriginError::Host),
            ("https://b\u{fc}cher.example", OriginError::Host),
            ("https://\u{ff11}27.0.0.\u{ff11}", OriginError::Host),
            ("https://::1", OriginError::Ipv6),
            ("https://[::1", OriginError::Ipv6),
            ("https://[::1]8443", OriginError::Ipv6),
            ("https://[fe80::1%eth0]", OriginError::Ipv6),
            ("https://[fe80::1%25eth0]", OriginError::Ipv6),
            ("https://[127.0.0.1]", OriginError::Ipv6),
        ] {
            assert_eq!(Origin::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn ipv4_shorthand_is_refused_rather_than_resolved() {
        for host in [
            "127.1",
            "127.0.1",
            "2130706433",
            "017700000001",
            "0x7f000001",
            "0x7f.1",
            "0X7F.0.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "1.2.3.4.5",
            "256.0.0.1",
            "0",
            "0x",
            "localhost.0x7f",
            "1.2.3.",
            "::1.2",
        ] {
            let parsed = Origin::parse(&format!("https://{host}"));
            assert!(parsed.is_err(), "{host} was read as {parsed:?}");
        }
    }

    #[test]
    fn origins_travel_as_text() {
        let origin: Origin = serde_json::from_str("\"https:\\/\\/api.example:8443\"").expect("origin");
        assert_eq!(serde_json::to_string(&origin).expect("text"), "\"https://api.example:8443\"");
        assert!(serde_json::from_str::<Origin>("\"https://api.example/x\"").is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_reads_the_same_again_and_holds_nothing_that_a_header_could_misread(
            text in "(https?|HTTPS)://(\\PC*|[a-z0-9.:@/\\[\\]%_-]{0,40})",
        ) {
            if let Ok(origin) = Origin::parse(&text) {
                prop_assert_eq!(Origin::parse(&origin.to_string()), Ok(origin.clone()));
                let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-:[]".contains(&b);
                prop_assert!(origin.authority().bytes().all(plain), "{}", origin);
            }
        }
    }
}
