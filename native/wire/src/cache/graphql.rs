//! Tell a GraphQL document that only reads from one that may change something.
//!
//! Only what stands outside all braces matters: the keywords of the definitions. A document with anything
//! else there than queries and fragments, or that does not read as one, may change something.

/// Whether every operation of the document is a query.
pub fn reads_only(document: &str) -> bool {
    let mut rest = document.as_bytes();
    let mut operations = 0;
    // What was opened and not closed yet; a definition begins where nothing is.
    let mut open: Vec<u8> = Vec::new();
    let mut begins = true;
    loop {
        let Some(token) = next(&mut rest) else { return false };
        match token {
            Token::End => return open.is_empty() && begins && operations > 0,
            Token::Open(byte) => {
                if open.is_empty() && begins {
                    // `{` alone is a query without a name.
                    if byte != b'{' {
                        return false;
                    }
                    operations += 1;
                    begins = false;
                }
                open.push(byte);
                if open.len() > 256 {
                    return false;
                }
            }
            Token::Close(byte) => {
                let fits = matches!(
                    (open.pop(), byte),
                    (Some(b'{'), b'}') | (Some(b'('), b')') | (Some(b'['), b']')
                );
                if !fits {
                    return false;
                }
                // A selection set ends a definition.
                begins = open.is_empty() && byte == b'}';
            }
            Token::Name(name) if open.is_empty() && begins => match name {
                b"query" => {
                    operations += 1;
                    begins = false;
                }
                b"fragment" => begins = false,
                _ => return false,
            },
            Token::Other if open.is_empty() && begins => return false,
            Token::Name(_) | Token::Other => {}
        }
    }
}

enum Token<'d> {
    Open(u8),
    Close(u8),
    Name(&'d [u8]),
    /// A string, a number or another mark.
    Other,
    End,
}

/// The next token; None where there is none to be read (GraphQL, October 2021, §2.1).
fn next<'d>(rest: &mut &'d [u8]) -> Option<Token<'d>> {
    loop {
        let Some((first, after)) = rest.split_first() else { return Some(Token::End) };
        match first {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => *rest = after,
            0xEF if after.starts_with(&[0xBB, 0xBF]) => *rest = &after[2..],
            b'#' => {
                let end = after.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(after.len());
                *rest = &after[end..];
            }
            b'{' | b'(' | b'[' => {
                *rest = after;
                return Some(Token::Open(*first));
            }
            b'}' | b')' | b']' => {
                *rest = after;
                return Some(Token::Close(*first));
            }
            b'"' => {
                *rest =
                    if after.starts_with(b"\"\"") { after_block(&after[2..])? } else { after_string(after)? };
                return Some(Token::Other);
            }
            byte if byte.is_ascii_alphabetic() || *byte == b'_' => {
                let length = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
                let (name, after) = rest.split_at(length.unwrap_or(rest.len()));
                *rest = after;
                return Some(Token::Name(name));
            }
            byte if byte.is_ascii_digit() || b"!$&.:=@|-+".contains(byte) => {
                *rest = after;
                return Some(Token::Other);
            }
            _ => return None,
        }
    }
}

fn after_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\n' | b'\r', ..] | [] | [b'\\'] => return None,
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
        };
    }
}

fn after_block(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = match rest {
            [b'"', b'"', b'"', after @ ..] => return Some(after),
            [b'\\', b'"', b'"', b'"', after @ ..] | [_, after @ ..] => after,
            [] => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_only_read_are_known() {
        for document in [
            "{ me { name } }",
            "query { me { name } }",
            "query Me($id: ID! = \"}\") @live { user(id: $id) { ...F } } fragment F on User { name }",
            "\u{feff}# mutation\nquery A{a} query B{b}",
            "{ a(text: \"\"\" mutation { \\\"\"\" } \"\"\") }",
            "{ mutation { subscription } }",
        ] {
            assert!(reads_only(document), "{document}");
        }
    }

    #[test]
    fn what_may_change_something_or_cannot_be_read_is_not_trusted() {
        for document in [
            "mutation { pay }",
            "query A { a } mutation B { pay }",
            "{ a } mutation { pay }",
            "subscription { a }",
            "fragment F on User { name }",
            "query A { a } # }\nmutation B { pay }",
            "{ a(text: \"\\\"\") } mutation { pay }",
            "{ a(text: \"\"\"\\\"\"\") } \"\"\") } mutation { pay }",
            "{ a } } { b }",
            "{ a",
            "query",
            "",
            "query A { a } type T { a: Int }",
            "{ a(b: [1}) }",
            "{ \u{0} }",
            "{ a(text: \"\n\") }",
        ] {
            assert!(!reads_only(document), "{document}");
        }
    }
}
