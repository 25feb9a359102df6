//! Which of several answers to one key: by the request fields that the answer's `Vary` names.

use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderMap, HeaderName, VARY};

use crate::cache::key::{Key, Parts};

/// An answer may name this many fields.
const NAMES_MAX: usize = 16;

/// The fields that `Vary` names, in order, each once; None where it cannot be stored because of them.
pub fn names(answer: &HeaderMap) -> Option<Box<[HeaderName]>> {
    let mut names = Vec::new();
    for value in answer.get_all(VARY) {
        for name in value.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            // `*`: the answer depends on more than the request says (RFC 9110 §12.5.5).
            if name == "*" {
                return None;
            }
            names.push(HeaderName::from_bytes(name.as_bytes()).ok()?);
        }
    }
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    (names.len() <= NAMES_MAX).then(|| names.into())
}

/// The key of the variant that a request with these fields selects.
pub fn variant(primary: &Key, names: &[HeaderName], request: &HeaderMap) -> Key {
    let mut parts = Parts::within(primary);
    for name in names {
        let selecting = selecting(request, name);
        parts.add(name.as_str().as_bytes()).add_maybe(selecting.as_deref());
    }
    parts.key()
}

/// A field's value with what does not change its meaning taken out (RFC 9111 §4.1): lines joined, spaces
/// round commas; for preferences, their order and case as well. None where the request has no such field.
fn selecting(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let lines = request.get_all(name);
    lines.iter().next()?;
    let mut members: Vec<Vec<u8>> = lines.iter().flat_map(|line| members(line.as_bytes())).collect();
    if [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name) {
        for member in &mut members {
            member.make_ascii_lowercase();
            member.retain(|byte| !matches!(byte, b' ' | b'\t'));
        }
        members.sort_unstable();
        members.dedup();
    }
    Some(members.join(&b','))
}

/// The members of a list, without the space round them; a quoted string is left whole.
fn members(line: &[u8]) -> Vec<Vec<u8>> {
    let mut quoted = false;
    line.split(|byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    })
    .map(|member| member.trim_ascii().to_vec())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().expect("value"));
        }
        headers
    }

    fn same(name: &'static str, one: &[&str], other: &[&str]) -> bool {
        let request = |lines: &[&str]| map(&lines.iter().map(|line| (name, *line)).collect::<Vec<_>>());
        let names = [HeaderName::from_static(name)];
        let key = Parts::new().key();
        variant(&key, &names, &request(one)) == variant(&key, &names, &request(other))
    }

    #[test]
    fn what_does_not_change_the_meaning_selects_the_same() {
        assert!(same("foo", &["1, 2"], &["1", "2"]));
        assert!(same("foo", &["1,2"], &[" 1, 2 "]));
        assert!(same("accept-language", &["en, de"], &["dE ,  en"]));
        assert!(!same("foo", &["a, b"], &["b, a"]));
        assert!(!same("foo", &["a"], &["A"]));
        assert!(!same("foo", &[], &[""]));
        assert!(!same("foo", &["\"1, 2\""], &["\"1,2\""]));
        assert!(!same("accept-language", &["en;q=0.5, de"], &["en, de;q=0.5"]));
    }

    #[test]
    fn a_star_anywhere_selects_nothing() {
        for lines in [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["foo, *"], &["*, foo"]] {
            let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            assert!(names(&map(&lines)).is_none(), "{lines:?}");
        }
        assert_eq!(*names(&map(&[("vary", "Foo, bar, FOO")])).expect("names"), ["bar", "foo"]);
        assert!(names(&map(&[])).expect("none").is_empty());
    }
}
