//! The tokens of a GraphQL document (October 2021, §2.1), for the cache and for policies.

/// What a document is made of, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'d> {
    Name(&'d str),
    /// A string in its quotes.
    Text(&'d str),
    Number(&'d str),
    /// One of `! $ & ( ) : = @ [ ] { | }`.
    Mark(u8),
    /// `...`
    Spread,
    /// Ignored by whoever executes the document, and read by whoever logs it.
    Comment,
    ByteOrderMark,
    End,
}

#[derive(Debug, Clone)]
pub struct Lexer<'d> {
    text: &'d str,
    at: usize,
}

impl<'d> Lexer<'d> {
    pub fn new(text: &'d str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token; None where there is none to be read.
    pub fn token(&mut self) -> Option<Token<'d>> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r' | b',')) {
            self.at += 1;
        }
        let rest = &bytes[self.at..];
        let Some(first) = rest.first() else { return Some(Token::End) };
        let length = |count: fn(u8) -> bool| rest.iter().position(|b| !count(*b)).unwrap_or(rest.len());
        Some(match first {
            b'#' => {
                self.take(length(|b| !matches!(b, b'\n' | b'\r')));
                Token::Comment
            }
            b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|' | b'}' => {
                self.take(1);
                Token::Mark(*first)
            }
            b'.' if rest.starts_with(b"...") => {
                self.take(3);
                Token::Spread
            }
            b'"' => Token::Text(self.take(text_length(rest)?)),
            b'-' | b'0'..=b'9' => Token::Number(self.take(number_length(rest)?)),
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => Token::Name(self.take(length(is_of_name))),
            0xef if rest.starts_with("\u{feff}".as_bytes()) => {
                self.take(3);
                Token::ByteOrderMark
            }
            _ => return None,
        })
    }

    fn take(&mut self, length: usize) -> &'d str {
        let taken = &self.text[self.at..self.at + length];
        self.at += length;
        taken
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn text_length(text: &[u8]) -> Option<usize> {
    if text.starts_with(b"\"\"\"") {
        let mut at = 3;
        loop {
            match &text[at..] {
                [b'"', b'"', b'"', ..] => return Some(at + 3),
                [b'\\', b'"', b'"', b'"', ..] => at += 4,
                [b'\t' | b'\n' | b'\r', ..] => at += 1,
                [0..=0x1f, ..] | [] => return None,
                _ => at += 1,
            }
        }
    }
    let mut at = 1;
    loop {
        match &text[at..] {
            [b'"', ..] => return Some(at + 1),
            [b'\\', 0x20..=0x7e, ..] => at += 2,
            [b'\\' | 0..=0x1f, ..] | [] => return None,
            _ => at += 1,
        }
    }
}

fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |at: usize| {
        let count = text[at..].iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len() - at);
        (count > 0).then_some(at + count)
    };
    let start = usize::from(text[0] == b'-');
    let mut at = if text.get(start) == Some(&b'0') { start + 1 } else { digits(start)? };
    if text.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at = digits(at + 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-'))))?;
    }
    // `01`, `1x` and `1.2.3` are two tokens to nobody.
    let goes_on = text.get(at).is_some_and(|b| is_of_name(*b) || *b == b'.');
    (!goes_on).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            match lexer.token()? {
                Token::End => return Some(tokens),
                token => tokens.push(token),
            }
        }
    }

    #[test]
    fn a_document_is_taken_to_its_tokens() {
        let text = "\u{feff}{ a(b: -1.5e+3, c: \"\\\"ä\", d: \"\"\"x\"\\\"\"\"\n\"\"\") ...F } # end";
        let expected = [
            Token::ByteOrderMark,
            Token::Mark(b'{'),
            Token::Name("a"),
            Token::Mark(b'('),
            Token::Name("b"),
            Token::Mark(b':'),
            Token::Number("-1.5e+3"),
            Token::Name("c"),
            Token::Mark(b':'),
            Token::Text("\"\\\"ä\""),
            Token::Name("d"),
            Token::Mark(b':'),
            Token::Text("\"\"\"x\"\\\"\"\"\n\"\"\""),
            Token::Mark(b')'),
            Token::Spread,
            Token::Name("F"),
            Token::Mark(b'}'),
            Token::Comment,
        ];
        assert_eq!(tokens(text).expect("tokens"), expected);
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        for text in [
            "..",
            "01",
            "1x",
            "1.",
            ".5",
            "+1",
            "-",
            "1.2.3",
            "1e",
            "\"",
            "\"\n\"",
            "\"\\",
            "\"\"\"",
            "\"\"\"\"\"",
            "ä",
            "%",
            "\u{0}",
            "\"\u{0}\"",
            "\u{a0}",
            "'a'",
            "?",
            ";",
        ] {
            assert_eq!(tokens(text), None, "{text:?}");
        }
        assert_eq!(tokens("0 -0 0.0 \"\"").map(|tokens| tokens.len()), Some(4));
    }
}
