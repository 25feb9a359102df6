//! Tell a GraphQL document that only reads from one that may change something.
//!
//! Only what stands outside all braces matters: the keywords of the definitions. A document with anything
//! else there than queries and fragments, or that does not read as one, may change something.

use crate::graphql::{Lexer, Token};

/// Whether every operation of the document is a query.
pub fn reads_only(document: &str) -> bool {
    let mut lexer = Lexer::new(document);
    let mut operations = 0;
    // What was opened and not closed yet; a definition begins where nothing is.
    let mut open: Vec<u8> = Vec::new();
    let mut begins = true;
    loop {
        let Some(token) = lexer.token() else { return false };
        match token {
            Token::Comment | Token::ByteOrderMark => {}
            Token::End => return open.is_empty() && begins && operations > 0,
            Token::Mark(byte @ (b'{' | b'(' | b'[')) => {
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
            Token::Mark(byte @ (b'}' | b')' | b']')) => {
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
                "query" => {
                    operations += 1;
                    begins = false;
                }
                "fragment" => begins = false,
                _ => return false,
            },
            _ if open.is_empty() && begins => return false,
            _ => {}
        }
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
