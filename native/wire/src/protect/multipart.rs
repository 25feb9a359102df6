//! The parts of a form with files under a policy (`multipart/form-data`, RFC 7578), read strictly and written anew.
//!
//! Readers of this form differ more than those of any other, in where a part begins and in what it is called. So
//! one grammar alone is read: no text before the first boundary or after the last, the boundary nowhere else, and
//! of each part nothing but its disposition, its type and its content. What goes out has a boundary that is made
//! of what stands between it, so that the same parts are the same bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderValue;
use memchr::memmem;

use super::act::{Fresh, Outcome, Value};
use super::content::{Content, MediaType, OF_FILES, is_token};
use super::document::{self, Claim};
use super::named::{most_claiming, rule_of};
use super::selector::{Path, Target};
use super::told::{Breach, Place, Told};
use crate::error::Code;
use crate::json::Node;
use crate::sign::digest::hex;

const PARTS_MAX: usize = 100;
/// Of one line of a part's header.
const LINE_BYTES_MAX: usize = 1_024;
/// RFC 2046 §5.1.1.
const BOUNDARY_MAX: usize = 70;

/// Why a body is refused, as the end of a sentence. Never what stands in it.
type Fault = &'static str;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part<'b> {
    name: &'b str,
    file_name: Option<Cow<'b, str>>,
    media_type: Option<MediaType>,
    content: Cow<'b, [u8]>,
}

/// Read, rewrite and write a body of this type.
pub fn rewrite(media_type: &MediaType, body: &[u8], told: &mut Told<'_>) -> Result<Content, Breach> {
    let unparseable = |why: Fault| Breach::new(Code::Unparseable, format!("The multipart body {why}."));
    let boundary = media_type.parameter("boundary").filter(|boundary| is_boundary(boundary));
    let boundary = boundary.ok_or_else(|| unparseable("has no `boundary` as RFC 2046 has it"))?;
    let parts = read(boundary, body).map_err(unparseable)?;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for part in &parts {
        *counts.entry(part.name).or_default() += 1;
    }
    let mut fresh = Vec::with_capacity(parts.len());
    for part in &parts {
        let is_repeated = counts.get(part.name).is_some_and(|count| *count > 1);
        fresh.extend(rewritten(part, is_repeated, told)?);
    }
    let boundary = boundary_for(&fresh);
    let body = written(&boundary, &fresh);
    // What goes out is what a reader finds in it.
    if read(&boundary, &body).as_ref() != Ok(&fresh) {
        return Err(Breach::garbled());
    }
    let media_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"));
    Ok(Content { body: body.into(), media_type: Some(media_type.map_err(|_| Breach::garbled())?) })
}

fn is_boundary(text: &str) -> bool {
    (1..=BOUNDARY_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"'()+_-./:=?".contains(&b))
}

/// What goes out of a part; None where nothing does.
fn rewritten<'b>(
    part: &Part<'b>,
    is_repeated: bool,
    told: &mut Told<'_>,
) -> Result<Option<Part<'b>>, Breach> {
    let policy = told.policy;
    let place = Place::named("part", part.name);
    let rules = policy.rules.iter().enumerate();
    let whole = rules.clone().filter_map(|(number, rule)| match &rule.target {
        Target::Part(steps) => Some((number, steps.as_slice())),
        _ => None,
    });
    let claim = most_claiming(whole, part.name);
    let rule = rule_of(claim, part.name, is_repeated, &place, told)?;
    let inside = policy.rules_in(|target| match target {
        Target::InPart(name, path) if **name == *part.name => Some(path),
        _ => None,
    });
    let of_name = rules.clone().find_map(|(number, rule)| match &rule.target {
        Target::FileName(name) if **name == *part.name => Some(number),
        _ => None,
    });
    let makes_file = rule.is_some_and(|rule| policy.rules[rule].act.makes_files());
    let content = if inside.is_empty() {
        leaf(part, rule, &place, told)?
    } else if is_repeated && rule.is_none() {
        return Err(Breach::repeated(&place));
    } else {
        document_in(part, &inside, claim, told)?
    };
    // A file that stays here keeps its name with it; one that is encrypted says nothing of its name.
    let of_name = match &content {
        None => rule,
        Some(_) if makes_file => of_name,
        Some(_) => of_name.or(rule),
    };
    let file_name = match &part.file_name {
        None => None,
        Some(name) => match told.act(of_name, Value::Text(name), &Place::file_name(part.name))? {
            Outcome::Same => Some(name.clone()),
            Outcome::Gone | Outcome::File(_) => None,
            Outcome::New(Fresh::Text(name) | Fresh::Number(name)) => Some(Cow::Owned(name)),
        },
    };
    let media_type = if makes_file { MediaType::read(OF_FILES) } else { part.media_type.clone() };
    Ok(content.map(|content| Part { name: part.name, file_name, media_type, content }))
}

fn leaf<'b>(
    part: &Part<'b>,
    rule: Option<usize>,
    place: &Place<'_>,
    told: &mut Told<'_>,
) -> Result<Option<Cow<'b, [u8]>>, Breach> {
    let value = match std::str::from_utf8(&part.content) {
        Ok(text) => Value::Text(text),
        Err(_) if part.is_text() => return Err(unreadable(place, "is not UTF-8")),
        Err(_) => Value::Bytes(&part.content),
    };
    Ok(match told.act(rule, value, place)? {
        Outcome::Same => Some(part.content.clone()),
        Outcome::Gone => None,
        Outcome::File(file) => Some(Cow::Owned(file)),
        Outcome::New(Fresh::Text(text) | Fresh::Number(text)) => Some(Cow::Owned(text.into_bytes())),
    })
}

fn document_in<'b>(
    part: &Part<'b>,
    rules: &[(usize, &Path)],
    above: Option<Claim>,
    told: &mut Told<'_>,
) -> Result<Option<Cow<'b, [u8]>>, Breach> {
    let place = Place::document("part", Some(part.name));
    let is_json = |kind: &MediaType| kind.is_json() || kind.kind == "text/plain";
    if !part.media_type.as_ref().is_none_or(is_json) {
        return Err(unreadable(&place, "has a type other than JSON"));
    }
    let root = Node::read(&part.content).map_err(|why| unreadable(&place, why))?;
    let fresh = document::rewritten(&root, rules, above, place, told)?;
    document::written(&fresh).map(|written| Some(Cow::Owned(written)))
}

fn unreadable(place: &Place<'_>, why: &str) -> Breach {
    Breach::new(Code::Unparseable, format!("What stands in `{place}` {why}."))
}

impl Part<'_> {
    fn is_text(&self) -> bool {
        self.media_type.as_ref().is_none_or(|kind| kind.is_json() || kind.kind.starts_with("text/"))
    }
}

/// The parts of a body, in their order.
fn read<'b>(boundary: &str, body: &'b [u8]) -> Result<Vec<Part<'b>>, Fault> {
    let delimiter = format!("--{boundary}");
    let finder = memmem::Finder::new(delimiter.as_bytes());
    let mut rest = body.strip_prefix(delimiter.as_bytes()).ok_or("does not begin with its boundary")?;
    let mut parts = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(b"--") {
            let is_end = after.is_empty() || after == b"\r\n";
            return if is_end { Ok(parts) } else { Err("goes on after its last boundary") };
        }
        rest = rest.strip_prefix(b"\r\n").ok_or("has a boundary that goes on in its line")?;
        if parts.len() == PARTS_MAX {
            return Err("has more than 100 parts");
        }
        let end = finder.find(rest).ok_or("does not end with its boundary")?;
        let part = rest[..end].strip_suffix(b"\r\n").ok_or("has its boundary within a line")?;
        parts.push(Part::read(part)?);
        rest = &rest[end + delimiter.len()..];
    }
}

impl<'b> Part<'b> {
    fn read(part: &'b [u8]) -> Result<Self, Fault> {
        let mut rest = part;
        let (mut disposition, mut media_type, mut coding, mut length) = (None, None, None, None);
        let content = loop {
            let end =
                memmem::find(rest, b"\r\n").ok_or("has a part without an empty line after its header")?;
            let line = &rest[..end];
            rest = &rest[end + 2..];
            if line.is_empty() {
                break rest;
            }
            let (name, value) = field(line)?;
            let is_new = match name.to_ascii_lowercase().as_str() {
                "content-disposition" => disposition.replace(Disposition::read(value)?).is_none(),
                "content-type" => media_type.replace(type_of(value)?).is_none(),
                "content-transfer-encoding" => {
                    if !["7bit", "8bit", "binary"].iter().any(|known| value.eq_ignore_ascii_case(known)) {
                        return Err("has a part with a `Content-Transfer-Encoding` that codes it");
                    }
                    coding.replace(()).is_none()
                }
                // Some libraries write it. It says nothing that is not seen, if it is true.
                "content-length" => length.replace(value).is_none(),
                _ => return Err("has a part with a header field that no form has (RFC 7578)"),
            };
            if !is_new {
                return Err("has a part with a header field twice");
            }
        };
        if length.is_some_and(|length| {
            !length.bytes().all(|b| b.is_ascii_digit()) || length.parse() != Ok(content.len())
        }) {
            return Err("has a part with a `Content-Length` that is not its own");
        }
        let Disposition { name, file_name } =
            disposition.ok_or("has a part without a `Content-Disposition`")?;
        if name.eq_ignore_ascii_case("_charset_") && !content.eq_ignore_ascii_case(b"utf-8") {
            return Err("names a charset other than UTF-8");
        }
        Ok(Self {
            name,
            file_name: file_name.map(Cow::Borrowed),
            media_type,
            content: Cow::Borrowed(content),
        })
    }
}

/// A line of a part's header: one line, and the name right before its colon.
fn field(line: &[u8]) -> Result<(&str, &str), Fault> {
    const WRONG: Fault = "has a part with a header line that is not `Name: value` in UTF-8";
    if line.len() > LINE_BYTES_MAX {
        return Err("has a part with a header line of more than 1,024 bytes");
    }
    let line = std::str::from_utf8(line).map_err(|_| WRONG)?;
    let (name, value) = line.split_once(':').ok_or(WRONG)?;
    if !is_token(name) || line.contains(char::is_control) {
        return Err(WRONG);
    }
    Ok((name, value.trim_matches(' ')))
}

fn type_of(value: &str) -> Result<MediaType, Fault> {
    let read =
        MediaType::read(value).ok_or("has a part with a `Content-Type` that is none, or not in UTF-8")?;
    if read.kind.starts_with("multipart/") || read.kind.starts_with("message/") {
        return Err("has a part that has parts");
    }
    Ok(read.plain())
}

struct Disposition<'b> {
    name: &'b str,
    file_name: Option<&'b str>,
}

impl<'b> Disposition<'b> {
    /// `form-data; name="…"; filename="…"` (RFC 7578 §4.2), where neither has an escape: readers undo different ones.
    fn read(value: &'b str) -> Result<Self, Fault> {
        const WRONG: Fault =
            "has a part whose `Content-Disposition` is not `form-data` with `name` and `filename`";
        let (kind, mut rest) = value.split_at(value.find(';').unwrap_or(value.len()));
        if !kind.trim_end_matches(' ').eq_ignore_ascii_case("form-data") {
            return Err(WRONG);
        }
        let (mut name, mut file_name) = (None, None);
        while !rest.is_empty() {
            rest = rest.strip_prefix(';').ok_or(WRONG)?.trim_start_matches(' ');
            let (key, after) = rest.split_once('=').ok_or(WRONG)?;
            let text;
            (text, rest) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or(WRONG)?,
                None => after.split_at(after.find([';', ' ']).unwrap_or(after.len())),
            };
            rest = rest.trim_start_matches(' ');
            if !after.starts_with('"') && !is_token(text) {
                return Err(WRONG);
            }
            if text.contains('\\') {
                return Err("has a part with a backslash in its name or its file's");
            }
            let is_new = match key.to_ascii_lowercase().as_str() {
                "name" => name.replace(text).is_none(),
                "filename" => file_name.replace(text).is_none(),
                "filename*" => return Err("has a part with `filename*`, which no form has (RFC 7578)"),
                _ => return Err(WRONG),
            };
            if !is_new {
                return Err("has a part that is named twice");
            }
        }
        let name = name.filter(|name| !name.is_empty()).ok_or("has a part without a name")?;
        if name.contains('%') {
            return Err("has a part with an escape in its name");
        }
        Ok(Self { name, file_name })
    }
}

/// Nobody can write a content that has its own hash in it.
fn boundary_for(parts: &[Part<'_>]) -> String {
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(part.name.as_bytes());
        hash.update(part.file_name.as_deref().unwrap_or_default().as_bytes());
        hash.update(&part.content);
    }
    format!("tidegate-{}", &hex(hash.finish().as_ref())[..32])
}

fn written(boundary: &str, parts: &[Part<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.content.len() + 256).sum());
    for part in parts {
        let mut head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", part.name);
        if let Some(name) = &part.file_name {
            let _ = write!(head, "; filename=\"{name}\"");
        }
        head.push_str("\r\n");
        if let Some(media_type) = &part.media_type {
            let _ = write!(head, "Content-Type: {media_type}\r\n");
        }
        head.push_str("\r\n");
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&part.content);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(head: &str, content: &str) -> String {
        format!("--b\r\n{head}\r\n\r\n{content}\r\n")
    }

    fn named(rest: &str) -> String {
        format!("Content-Disposition: form-data; {rest}")
    }

    fn read_one(head: &str, content: &str) -> Result<(), Fault> {
        let body = format!("{}--b--", part(head, content));
        read("b", body.as_bytes()).map(|parts| assert_eq!(parts.len(), 1))
    }

    #[test]
    fn the_form_that_browsers_and_libraries_write_is_read() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"a[b]\"\r\n\r\nJane\r\nDoe\r\n--b\r\n\
            content-type: application/PDF; x=y\r\ncontent-length: 4\r\nContent-Transfer-Encoding: binary\r\n\
            CONTENT-DISPOSITION:form-data;name=file ; filename=\"c v.pdf\"\r\n\r\n%PDF\r\n--b--\r\n";
        let parts = read("b", body.as_bytes()).expect("parts");
        let [one, other] = parts.as_slice() else { panic!("{parts:?}") };
        assert_eq!((one.name, &*one.content, &one.file_name), ("a[b]", &b"Jane\r\nDoe"[..], &None));
        assert_eq!(
            (other.name, &*other.content, other.file_name.as_deref()),
            ("file", &b"%PDF"[..], Some("c v.pdf"))
        );
        assert_eq!(other.media_type.as_ref().map(ToString::to_string).as_deref(), Some("application/pdf"));
        assert_eq!(read("b", b"--b--\r\n"), Ok(vec![]));
        assert!(read_one(&named("name=\"\u{e4} ;=\"; filename=\"\""), "").is_ok());
        assert!(
            read_one(&format!("{}\r\nContent-Type: text/plain; charset=UTF-8", named("name=a")), "x").is_ok()
        );
        let many = |count: usize| format!("{}--b--", part(&named("name=a"), "").repeat(count));
        assert!(read("b", many(PARTS_MAX).as_bytes()).is_ok());
        assert!(read("b", many(PARTS_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn what_two_readers_part_differently_is_refused() {
        let whole = part(&named("name=a"), "x");
        for body in [
            String::new(),
            "x".to_owned(),
            "--b".to_owned(),
            whole.clone(),
            whole.replace("\r\n", "\n"),
            format!("{whole}--b"),
            format!("{whole}--b-"),
            format!("\r\n{whole}--b--"),
            format!("hello\r\n{whole}--b--"),
            format!("{whole}--b--x"),
            format!("{whole}--b--\r\n\r\n"),
            format!("{whole}--b--\n"),
            format!("{whole}--b--\r\n{whole}--b--"),
            format!("{}--b--", part(&named("name=a"), "x --b y")),
            format!("{}--b--", part(&named("name=a"), "x\n--b\nContent-Disposition: form-data; name=c\n\ny")),
            format!("{whole}--bx--"),
            format!("{whole} --b--"),
            whole.replace("--b\r\n", "--b \r\n") + "--b--",
            whole.replace("--b\r\n", "--B\r\n") + "--b--",
            "--b\r\nContent-Disposition: form-data; name=a\r\n--b--".to_owned(),
            "--b\r\n--b--".to_owned(),
        ] {
            assert!(read("b", body.as_bytes()).is_err(), "{body:?}");
        }
    }

    #[test]
    fn what_two_readers_name_differently_is_refused() {
        for head in [
            String::new(),
            "Content-Type: text/plain".to_owned(),
            "Content-Disposition: form-data".to_owned(),
            "Content-Disposition: attachment; name=a".to_owned(),
            "Content-Disposition : form-data; name=a".to_owned(),
            " Content-Disposition: form-data; name=a".to_owned(),
            "Content-Disposition: form-data;\r\n name=a".to_owned(),
            "Content-Disposition: form-data; name=a\nX: y".to_owned(),
            "Content-Disposition: form-data; name=a\0".to_owned(),
            named("name=\"a"),
            named("name=\"a\"b"),
            named("name=a b"),
            named("name = a"),
            named("name=\"\""),
            named("name="),
            named("name=a;"),
            named("name=a; name=b"),
            named("name=a; NAME=b"),
            named("name=a; filename=x; filename=y"),
            named("name=a; filename=x; filename*=UTF-8''y"),
            named("name=a; filename*=UTF-8''y"),
            named("name*=UTF-8''a"),
            named("name=\"a\\\"b\""),
            named("name=a; filename=\"C:\\x\""),
            named("name=\"%61\""),
            named("name=a; size=3"),
            format!("{}\r\n{}", named("name=a"), named("name=b")),
            format!("{}\r\nContent-Type: text/plain\r\ncontent-type: text/html", named("name=a")),
            format!("{}\r\nContent-Type: text/plain; charset=utf-7", named("name=a")),
            format!("{}\r\nContent-Type: multipart/mixed; boundary=c", named("name=a")),
            format!("{}\r\nContent-Type: message/rfc822", named("name=a")),
            format!("{}\r\nContent-Transfer-Encoding: base64", named("name=a")),
            format!("{}\r\nContent-Transfer-Encoding: quoted-printable", named("name=a")),
            format!("{}\r\nContent-Length: 4", named("name=a")),
            format!("{}\r\nContent-Length: +1", named("name=a")),
            format!("{}\r\nX-Name: b", named("name=a")),
            named(&format!("name={}", "a".repeat(LINE_BYTES_MAX))),
            named("name=_charset_"),
        ] {
            assert!(read_one(&head, "x").is_err(), "{head:?}");
        }
        assert!(read("b", b"--b\r\nContent-Disposition: form-data; name=\xff\r\n\r\n\r\n--b--").is_err());
        for boundary in ["", "a b", "a,b", "\u{e4}", &"a".repeat(71)] {
            assert!(!is_boundary(boundary), "{boundary}");
        }
    }
}
