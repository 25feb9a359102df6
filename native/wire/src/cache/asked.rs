//! A request as the cache sees it: as it will be sent, for its principal; and by what it is keyed.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderMap};
use http::{HeaderName, Method};

use crate::cache::body::canonical;
use crate::cache::directives::Directives;
use crate::cache::key::{Key, Parts};
use crate::cache::rules::{BodyForm, Rules, Sharing};
use crate::cache::search::SearchRule;
use crate::cache::status::Forward;
use crate::origin::Origin;
use crate::route::path;
use crate::route::table::Found;
use crate::snapshot::Provider;

/// A body that is part of a key is held in memory until the call goes on.
pub const BODY_MAX: usize = 256 << 10;

/// On whose behalf a call goes, in all that may part its answers from others'.
#[derive(Debug, Clone)]
pub struct Principal {
    pub client: Arc<str>,
    pub provider: Arc<str>,
    /// Answers that came under other address and TLS rules, or passed other checks, are none to this call.
    pub provider_rules: u64,
    /// Id and version: what a person entered anew is another principal, what was rotated is not.
    pub connection: Option<(Arc<str>, u32)>,
    /// Of the credential's secret fields; None where the call carries none.
    pub credential: Option<[u8; 32]>,
}

pub struct Asked<'c> {
    pub rules: &'c Arc<Rules>,
    pub method: &'c Method,
    pub origin: &'c Origin,
    pub path: &'c str,
    /// Without the credential.
    pub query: Option<&'c str>,
    /// Cleaned, and without the credential.
    pub headers: &'c HeaderMap,
    /// The whole body, where it was to be keyed and is not too large.
    pub body: Option<Bytes>,
    pub has_body: bool,
    pub whose: Principal,
    pub provider: &'c Provider,
    pub operation: &'c Arc<str>,
}

/// What makes a request's key, and the keys that lead to it where the provider rules over its query.
#[derive(Clone)]
pub struct Keying {
    key: Key,
    /// All but the query.
    rest: Parts,
    /// By declared rules.
    query: Option<String>,
}

/// Whether the call's body is wanted whole, to be keyed.
pub fn keys_body(rules: &Rules, method: &Method) -> bool {
    rules.mode != Sharing::Off && (is_query(method) || rules.read_only && *method == Method::POST)
}

fn query_method() -> Method {
    Method::from_bytes(b"QUERY").unwrap_or(Method::GET)
}

pub fn is_query(method: &Method) -> bool {
    method.as_str() == "QUERY"
}

/// Whether a call of this method changes nothing at the provider (RFC 9110 §9.2.1), or is declared so.
pub fn is_safe(rules: &Rules, method: &Method) -> bool {
    method.is_safe() || is_query(method) || rules.read_only && *method == Method::POST
}

impl Asked<'_> {
    /// By what the request is keyed; None where it is one that nothing is stored for.
    pub fn keying(&self) -> Option<Keying> {
        let class: &[u8] = match *self.method {
            Method::GET | Method::HEAD if !self.has_body => b"GET",
            _ if keys_body(self.rules, self.method) => self.method.as_str().as_bytes(),
            _ => return None,
        };
        let mut parts = partition(self.rules, &self.whose, self.headers)?;
        parts.add(class).add_origin(self.origin).add(self.path.as_bytes());
        // A version pin may be the consumer's own, and providers do not always name it in `Vary`.
        for (name, _) in &self.provider.headers {
            parts.add_field(self.headers, name);
        }
        if self.rules.is_shared() {
            let mut own: Vec<&HeaderName> =
                self.headers.keys().filter(|name| self.rules.keys_field(name)).collect();
            own.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
            for name in own {
                parts.add_field(self.headers, name);
            }
        }
        if class != b"GET" {
            self.add_body(&mut parts)?;
        }
        let query = declared_query(self.rules, self.query);
        let rest = parts.mark();
        let key = parts.add_query(query.as_deref()).key();
        parts.back_to(rest);
        Some(Keying { key, rest: parts, query: query.map(Cow::into_owned) })
    }

    /// The content with what says how it is to be read (RFC 10008 §4.1).
    fn add_body(&self, parts: &mut Parts) -> Option<()> {
        let body = self.body.as_ref()?;
        for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
            parts.add_field(self.headers, &name);
        }
        let as_it_is = self.headers.contains_key(CONTENT_ENCODING)
            || self.headers.contains_key(CACHE_CONTROL) && Directives::read(self.headers).no_transform;
        let form = match self.rules.body {
            Some(form @ (BodyForm::Json | BodyForm::Form)) if as_it_is && form != BodyForm::Exact => {
                BodyForm::Exact
            }
            Some(_) if as_it_is => return None,
            Some(form) => form,
            None => BodyForm::Exact,
        };
        parts.add(&canonical(form, body)?);
        Some(())
    }

    /// What is looked up for the request, for whoever runs Tidegate.
    pub fn explained(&self) -> String {
        let shared = match self.rules.mode {
            Sharing::Off => {
                return "nothing is stored of this operation; what it changes is noted".to_owned();
            }
            Sharing::Principal => match &self.whose.connection {
                Some((id, version)) => {
                    format!(
                        "for client `{}` by connection `{id}` (entered version {version})",
                        self.whose.client
                    )
                }
                None => format!("for client `{}`", self.whose.client),
            },
            Sharing::Credential => "for all whose connections hold the same credential".to_owned(),
            Sharing::Public => "for all, where the provider says that the answer is public".to_owned(),
        };
        if keys_body(self.rules, self.method) {
            return format!("stored {shared}; the key is that of the URI and of the body of each call");
        }
        let Some(keying) = self.keying() else {
            return format!("stored {shared}; this method is not, and what it changes is noted");
        };
        let query = keying.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
        let mut fields: Vec<&str> = self.provider.headers.iter().map(|(name, _)| name.as_str()).collect();
        fields.extend(self.rules.actors.iter().map(HeaderName::as_str));
        let fields = match fields.as_slice() {
            [] => String::new(),
            some => format!(", with {}", some.join(", ")),
        };
        // A key that holds a credential's fingerprint is known at the call alone.
        let key = match self.rules.mode {
            Sharing::Credential => String::new(),
            _ => format!("; without further fields its key is {}", keying.key().hex()),
        };
        format!("stored {shared}: GET {}{}{query}{fields}{key}", self.origin, self.path)
    }

    /// Why a request that has no key goes to the provider.
    pub fn passes_because(&self) -> Forward {
        if self.rules.mode == Sharing::Off { Forward::Bypass } else { Forward::Method }
    }
}

impl Keying {
    pub fn key(&self) -> Key {
        self.key
    }

    pub fn key_by(&self, rule: &SearchRule) -> Key {
        let query = rule.apply(self.query.as_deref());
        self.rest.clone().add_query(query.as_deref()).key()
    }

    /// Where stands what the provider says of the queries of this path.
    pub fn search_key(&self) -> Key {
        let mut parts = self.rest.clone();
        parts.add(b"search");
        parts.key()
    }
}

fn declared_query<'q>(rules: &Rules, query: Option<&'q str>) -> Option<Cow<'q, str>> {
    if rules.ignore.is_empty() && !rules.sort {
        return query.map(Cow::Borrowed);
    }
    SearchRule::declared(rules).apply(query)
}

/// The part of a key that keeps principals apart; None where nothing is to be stored.
pub fn partition(rules: &Rules, whose: &Principal, headers: &HeaderMap) -> Option<Parts> {
    let mut parts = Parts::new();
    match rules.mode {
        Sharing::Off => return None,
        Sharing::Principal => {
            let connection = whose.connection.as_ref();
            parts
                .add(b"principal")
                .add(whose.client.as_bytes())
                .add_maybe(connection.map(|(id, _)| id.as_bytes()))
                .add_maybe(
                    connection.map(|(_, version)| version.to_be_bytes()).as_ref().map(<[u8; 4]>::as_slice),
                );
        }
        Sharing::Credential => {
            parts.add(b"credential").add_maybe(whose.credential.as_ref().map(<[u8; 32]>::as_slice));
        }
        Sharing::Public => {
            parts.add(b"public");
        }
    }
    parts.add(whose.provider.as_bytes()).add(&whose.provider_rules.to_be_bytes());
    for actor in &rules.actors {
        parts.add_field(headers, actor);
    }
    Some(parts)
}

/// Where changes to a URI are noted, for the principals who would be given its answers.
///
/// It is the rules of reading that count: what a PUT changes is what a GET of that URI had stored.
pub fn place_of_uri(
    provider: &Provider,
    whose: &Principal,
    headers: &HeaderMap,
    origin: &Origin,
    path: &str,
    query: Option<&str>,
) -> Option<u64> {
    let segments = path::segments(path, provider.encoded_slash).ok()?;
    let reading = [Method::GET, query_method(), Method::POST].into_iter().find_map(|method| {
        let Found::Operation(number) = provider.table.find(&method, segments.as_slice()) else { return None };
        let rules = provider.operations.get(number as usize)?.cache.as_ref()?;
        (rules.mode != Sharing::Off && is_safe(rules, &method)).then_some(rules)
    });
    let rules = reading?;
    let mut parts = partition(rules, whose, headers)?;
    let query = declared_query(rules, query);
    parts
        .add(b"place")
        .add_origin(origin)
        .add(path.as_bytes())
        .add_maybe(query.as_deref().map(str::as_bytes));
    Some(parts.key().word())
}

/// Where changes to a group (RFC 9875) are noted: it is one origin's, in one partition.
pub fn place_of_group(
    rules: &Rules,
    whose: &Principal,
    headers: &HeaderMap,
    origin: &Origin,
    group: &str,
) -> Option<u64> {
    let mut parts = partition(rules, whose, headers)?;
    parts.add(b"group").add_origin(origin).add(group.as_bytes());
    Some(parts.key().word())
}

pub fn place_of_connection(connection: &str) -> u64 {
    let mut parts = Parts::new();
    parts.add(b"connection").add(connection.as_bytes());
    parts.key().word()
}

/// A path or query in the one spelling that RFC 3986 §6.2.2 has for it: digits of escapes in capitals, and no
/// escape for what needs none. It is what is sent, too.
pub fn one_spelling(text: &str) -> Cow<'_, str> {
    if !text.contains('%') || !text.split('%').skip(1).all(begins_an_escape) {
        return Cow::Borrowed(text);
    }
    let mut spelled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        spelled.push_str(before);
        let (digits, tail) = after.split_at(2);
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                spelled.push(char::from(byte));
            }
            _ => {
                spelled.push('%');
                spelled.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = tail;
    }
    spelled.push_str(rest);
    Cow::Owned(spelled)
}

/// A `%` that begins none could become the beginning of one.
fn begins_an_escape(after: &str) -> bool {
    after.len() >= 2 && after.bytes().take(2).all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_become_one() {
        assert_eq!(one_spelling("/a/%7euser/%2f%C3%a9/100%25"), "/a/~user/%2F%C3%A9/100%25");
        assert_eq!(one_spelling("q=%2525%61&+1"), "q=%2525a&+1");
        for as_it_is in ["/a%zz%61", "%61%4", "%%36%31", "%é%61"] {
            assert_eq!(one_spelling(as_it_is), as_it_is);
        }
    }
}
