//! Read a `Content-Type`, strictly enough that nobody reads another type in it.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

/// A media type without its parameters, in lower case, and its charset.
#[derive(Debug, PartialEq, Eq)]
pub struct MediaType {
    pub name: String,
    charset: Option<String>,
}

impl MediaType {
    /// None where there is no such field, several of them, or no media type in it (RFC 9110 §8.3).
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(CONTENT_TYPE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let mut parts = line.to_str().ok()?.split(';');
        let name = parts.next()?.trim().to_ascii_lowercase();
        let (main, sub) = name.split_once('/')?;
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
        if !is_token(main) || !is_token(sub) {
            return None;
        }
        let mut charset = None;
        for part in parts {
            let Some((key, value)) = part.split_once('=') else { continue };
            if key.trim().eq_ignore_ascii_case("charset") {
                let value = value.trim().trim_matches('"').to_ascii_lowercase();
                // Two charsets are two ways to read it.
                if charset.replace(value).is_some() {
                    return None;
                }
            }
        }
        Some(Self { name, charset })
    }

    pub fn is_json(&self) -> bool {
        let sub = self.name.split('/').nth(1).unwrap_or_default();
        sub == "json" || sub.ends_with("+json")
    }

    /// JSON is UTF-8 (RFC 8259 §8.1); whoever says otherwise means other characters.
    pub fn is_utf8(&self) -> bool {
        self.charset.as_deref().is_none_or(|name| matches!(name, "utf-8" | "utf8" | "us-ascii"))
    }

    /// Whether a pattern like `application/json` or `image/*` names it.
    pub fn is_named_by(&self, pattern: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(main) => self.name.starts_with(main),
            None => *self.name == *pattern,
        }
    }
}

/// Whether a message's content is coded in some way.
pub fn is_coded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        let name = value.to_str().unwrap_or("?").trim();
        !name.is_empty() && !name.eq_ignore_ascii_case("identity")
    })
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Option<MediaType> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CONTENT_TYPE, line.parse().expect("a value"));
        }
        MediaType::of(&headers)
    }

    #[test]
    fn one_type_is_read_and_two_are_none() {
        let json = of(&["Application/JSON; charset=\"UTF-8\""]).expect("a type");
        assert!(json.is_json() && json.is_utf8() && json.is_named_by("application/*"));
        assert!(of(&["application/problem+json"]).expect("a type").is_json());
        assert!(!of(&["application/json; charset=utf-7"]).expect("a type").is_utf8());
        for wrong in [
            &[][..],
            &["application/json", "text/html"],
            &["application/json, text/html"],
            &["json"],
            &["text /html"],
            &["/json"],
            &["application/json; charset=utf-8; charset=utf-7"],
        ] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
