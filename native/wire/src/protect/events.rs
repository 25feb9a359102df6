//! Streams of events (`text/event-stream`, WHATWG HTML §9.2): where one ends, and the text that it carries.
//!
//! Lines end by LF, CRLF or CR, an event by an empty line; its `data` lines are one text. What is written anew has
//! that text in one line, and all its other lines as they came.

use std::borrow::Cow;

/// Finds where blocks of lines end, over pieces that may end anywhere.
#[derive(Debug)]
pub struct Blocks {
    /// Something of the block has come.
    is_begun: bool,
    is_line_empty: bool,
    after_return: bool,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { is_begun: false, is_line_empty: true, after_return: false }
    }
}

impl Blocks {
    /// How many bytes of what comes belong to the block that is read; None where all do and it goes on. A line feed
    /// that comes apart from the return before it, which ended a block, is a block of its own.
    pub fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            let is_second = *byte == b'\n' && self.after_return;
            self.after_return = *byte == b'\r';
            let ends_line = matches!(byte, b'\r' | b'\n');
            if is_second && self.is_begun {
                continue;
            }
            if is_second || ends_line && self.is_line_empty {
                let takes_second = self.after_return && bytes.get(at + 1) == Some(&b'\n');
                self.after_return &= !takes_second;
                self.is_begun = false;
                return Some(at + 1 + usize::from(takes_second));
            }
            self.is_begun = true;
            self.is_line_empty = ends_line;
        }
        None
    }
}

/// The lines of a block, with what ends each.
fn lines(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        let ending = if rest[end..].starts_with(b"\r\n") { 2 } else { usize::from(end < rest.len()) };
        let (line, after) = rest.split_at(end);
        let (ending, after) = after.split_at(ending);
        rest = after;
        Some((line, ending))
    })
}

/// What a line says as `data`.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let value = line.strip_prefix(b"data")?;
    match value.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        None => value.is_empty().then_some(value),
    }
}

/// What a block says; None where it has no `data`.
pub fn data(block: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut pieces = lines(block).filter_map(|(line, _)| data_of(line));
    let mut data = Cow::Borrowed(pieces.next()?);
    for piece in pieces {
        let whole = data.to_mut();
        whole.push(b'\n');
        whole.extend_from_slice(piece);
    }
    Some(data)
}

/// Whether it says nothing at all: comments and empty lines.
pub fn is_silent(block: &[u8]) -> bool {
    lines(block).all(|(line, _)| line.is_empty() || line.starts_with(b":"))
}

/// The block with another text, which is one line.
pub fn with_data(block: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len() + data.len());
    let mut is_said = false;
    for (line, ending) in lines(block) {
        if data_of(line).is_none() {
            out.extend_from_slice(line);
        } else if is_said {
            continue;
        } else {
            is_said = true;
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(data);
        }
        out.extend_from_slice(ending);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks of a stream that comes in pieces of this size.
    fn blocks(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
        let (mut found, mut block, mut end) = (Vec::new(), Vec::new(), Blocks::default());
        for mut piece in stream.chunks(size) {
            while let Some(at) = end.end(piece) {
                block.extend_from_slice(&piece[..at]);
                piece = &piece[at..];
                found.push(std::mem::take(&mut block));
            }
            block.extend_from_slice(piece);
        }
        (found, block)
    }

    #[test]
    fn events_end_by_an_empty_line_of_any_kind_wherever_pieces_end() {
        let stream = b"data: 1\r\n\r\n: c\n\ndata: 2\rid: 3\r\rdata: 4\n\r\ndata:5\ndata\r\n\r\ndata: rest\n";
        for size in 1..=stream.len() {
            let (found, rest) = blocks(stream, size);
            let said: Vec<_> = found.iter().filter_map(|block| data(block)).collect();
            assert_eq!(said, [&b"1"[..], b"2", b"4", b"5\n"], "{size}");
            assert_eq!(
                ([found.concat(), rest.clone()].concat(), rest.as_slice()),
                (stream.to_vec(), &b"data: rest\n"[..])
            );
            assert_eq!(found.iter().filter(|block| is_silent(block) && block.len() > 1).count(), 1);
        }
    }

    #[test]
    fn a_field_is_one_by_its_whole_name() {
        for (block, said) in [
            (&b"data:x\n\n"[..], Some(&b"x"[..])),
            (b"data:  x\n\n", Some(b" x")),
            (b"data\n\n", Some(b"")),
            (b"data:\n\n", Some(b"")),
            (b"datas: x\n\n", None),
            (b" data: x\n\n", None),
            (b"Data: x\n\n", None),
            (b": data: x\n\n", None),
            (b"\n", None),
        ] {
            assert_eq!(data(block).as_deref(), said);
        }
        assert!(!is_silent(b"id: 1\n\n"));
    }

    #[test]
    fn another_text_leaves_the_other_lines_as_they_are() {
        let block = b"event: a\r\ndata: {\r\n: c\r\ndata: }\r\nid: 7\r\n\r\n";
        assert_eq!(with_data(block, b"{}"), b"event: a\r\ndata: {}\r\n: c\r\nid: 7\r\n\r\n");
    }
}
