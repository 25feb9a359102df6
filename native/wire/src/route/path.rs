//! Judge a path before anything is matched against it: what policy sees is what is sent.
//!
//! Nothing is normalised. A spelling that two parsers could read differently (dot segments, encoded
//! slashes, empty segments, backslashes, NUL, overlong UTF-8) is refused, so that the segments matched
//! here are the segments the provider will find (OWASP API8:2023; RFC 3986 §6.2.2.3, §7.3).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A path longer in segments than any API's is an attack on matchers.
pub const SEGMENTS_MAX: usize = 64;

/// Why a path is refused: a rule's name and a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathFault {
    pub rule: &'static str,
    pub sentence: &'static str,
}

const fn fault(rule: &'static str, sentence: &'static str) -> PathFault {
    PathFault { rule, sentence }
}

/// The decoded segments of a path that passed; `/` has none, and a trailing slash ends in an empty one.
#[derive(Debug)]
pub struct Segments<'a>(Vec<Cow<'a, str>>);

impl<'a> Segments<'a> {
    pub fn as_slice(&self) -> &[Cow<'a, str>] {
        &self.0
    }
}

/// Split and decode, or say which rule the path breaks. `encoded_slash` lets `%2F` stand in a segment.
pub fn segments(path: &str, encoded_slash: bool) -> Result<Segments<'_>, PathFault> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(fault("path-absolute", "The path must start with `/`."));
    };
    let mut found = Vec::with_capacity(8);
    if rest.is_empty() {
        return Ok(Segments(found));
    }
    let mut parts = rest.split('/').peekable();
    while let Some(raw) = parts.next() {
        if raw.is_empty() && parts.peek().is_some() {
            return Err(fault("empty-segment", "The path has an empty segment (`//`)."));
        }
        if found.len() == SEGMENTS_MAX {
            return Err(fault("segments", "The path has more than 64 segments."));
        }
        found.push(segment(raw, encoded_slash)?);
    }
    Ok(Segments(found))
}

fn segment(raw: &str, encoded_slash: bool) -> Result<Cow<'_, str>, PathFault> {
    let bytes = raw.as_bytes();
    let mut encoded = false;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'%' => {
                let hex = bytes.get(at + 1..at + 3);
                if !hex.is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(fault(
                        "percent-encoding",
                        "A `%` is not followed by two hexadecimal digits.",
                    ));
                }
                encoded = true;
            }
            b'\\' => return Err(fault("backslash", "The path has a backslash.")),
            0x21..=0x7e => {}
            _ => {
                return Err(fault(
                    "path-character",
                    "The path has a character that must be percent-encoded.",
                ));
            }
        }
    }
    let text = if encoded {
        percent_decode_str(raw)
            .decode_utf8()
            .map_err(|_| fault("utf-8", "A percent-encoded part of the path is not valid UTF-8."))?
    } else {
        Cow::Borrowed(raw)
    };
    if encoded {
        for character in text.chars() {
            match character {
                '/' if !encoded_slash => {
                    return Err(fault(
                        "encoded-slash",
                        "The path has an encoded slash (`%2F`), which this provider does not declare.",
                    ));
                }
                '\\' => return Err(fault("backslash", "The path has an encoded backslash.")),
                c if c.is_control() => {
                    return Err(fault("control-character", "The path has an encoded control character."));
                }
                // `%25` hides a second layer of encoding from whoever decodes once.
                '%' if looks_encoded(&text) => {
                    return Err(fault("double-encoding", "The path is percent-encoded twice."));
                }
                _ => {}
            }
        }
    }
    // `..;` is `..` to servers that cut path parameters (RFC 3986 §3.3).
    for part in text.split('/') {
        let name = part.split(';').next().unwrap_or_default();
        if name == "." || name == ".." {
            return Err(fault("dot-segment", "The path has a dot segment (`.` or `..`)."));
        }
    }
    Ok(text)
}

fn looks_encoded(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(3).any(|w| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit())
}

/// The names of a query's parameters, decoded for the record: at most 32, each at most 64 characters.
pub fn parameter_names(query: &str) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()).take(64) {
        let (name, value) = pair.split_once('=').map_or((pair, None), |(n, v)| (n, Some(v)));
        // A bare word may be a value, and an access token in a name is a secret: neither is kept.
        if value.is_none() || name.len() > 64 || name.contains("tdg_") {
            continue;
        }
        let name = decode_name(name).chars().filter(|c| !c.is_control()).collect::<String>();
        if names.len() < 32 && !names.iter().any(|known| **known == *name) {
            names.push(name.into_boxed_str());
        }
    }
    names
}

/// A query parameter's name or value as its provider will read it (`application/x-www-form-urlencoded`).
pub fn decode_name(raw: &str) -> Cow<'_, str> {
    if raw.contains('+') {
        let spaced = raw.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(raw).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str) -> Option<&'static str> {
        segments(path, false).err().map(|f| f.rule)
    }

    #[test]
    fn spellings_that_two_parsers_read_differently_are_refused() {
        for (path, expected) in [
            ("/a/../b", "dot-segment"),
            ("/a/./b", "dot-segment"),
            ("/a/%2e%2e/b", "dot-segment"),
            ("/a/.%2E/b", "dot-segment"),
            ("/a/..;/b", "dot-segment"),
            ("/a/..;x=1/b", "dot-segment"),
            ("/a//b", "empty-segment"),
            ("//a", "empty-segment"),
            ("/a%2fb", "encoded-slash"),
            ("/a%2Fb", "encoded-slash"),
            ("/a\\b", "backslash"),
            ("/a%5cb", "backslash"),
            ("/a%00", "control-character"),
            ("/a%0d%0ab", "control-character"),
            ("/a%c0%af", "utf-8"),
            ("/a%e0%80%af", "utf-8"),
            ("/a%zz", "percent-encoding"),
            ("/a%2", "percent-encoding"),
            ("/a%252fb", "double-encoding"),
            ("/a%252e%252e", "double-encoding"),
            ("a", "path-absolute"),
            ("/a\u{7f}", "path-character"),
        ] {
            assert_eq!(rule(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn an_encoded_slash_passes_where_it_is_declared_but_not_as_a_dot_segment() {
        assert_eq!(segments("/p/group%2Fproject", true).expect("declared").as_slice()[1], "group/project");
        assert_eq!(segments("/p/a%2f..%2fb", true).expect_err("dots").rule, "dot-segment");
    }

    #[test]
    fn ordinary_paths_pass_decoded() {
        let found = segments("/v1/caf%C3%A9/100%25/a:b@c", false).expect("fine");
        assert_eq!(found.as_slice(), ["v1", "café", "100%", "a:b@c"]);
        assert_eq!(segments("/", false).expect("root").as_slice().len(), 0);
        assert_eq!(segments("/a/", false).expect("slash").as_slice(), ["a", ""]);
    }

    #[test]
    fn parameter_names_are_kept_without_values() {
        let names = parameter_names("limit=3&starting%5Fafter=x&tdg_abc=1&secret&limit=4");
        assert_eq!(names, ["limit".into(), "starting_after".into()] as [Box<str>; 2]);
    }
}
