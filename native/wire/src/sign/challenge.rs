//! Read what a provider asks to be shown (RFC 9110 §11.6.1): schemes with their parameters.
//!
//! Strict: a field that does not read as challenges holds none.

/// One challenge. Names of parameters are in small letters; a `token68` is no parameter and left out.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge<'h> {
    pub scheme: &'h str,
    parameters: Vec<(String, String)>,
}

const CHALLENGES_MAX: usize = 16;
const PARAMETERS_MAX: usize = 32;
const FIELD_BYTES_MAX: usize = 8 << 10;

impl Challenge<'_> {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The challenges of one `WWW-Authenticate` field; None where it is not well formed.
pub fn challenges(field: &str) -> Option<Vec<Challenge<'_>>> {
    if field.len() > FIELD_BYTES_MAX {
        return None;
    }
    let mut found: Vec<Challenge<'_>> = Vec::new();
    let mut rest = field;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(found);
        }
        let (name, after) = token(rest)?;
        if let Some(value) = after.trim_start_matches([' ', '\t']).strip_prefix('=')
            && let Some(challenge) = found.last_mut()
        {
            rest = parameter(challenge, name, value)?;
            continue;
        }
        if found.len() == CHALLENGES_MAX {
            return None;
        }
        let mut challenge = Challenge { scheme: name, parameters: Vec::new() };
        rest = match after.strip_prefix(' ').map(|after| after.trim_start_matches(' ')) {
            // Only what follows the scheme at once can be a token68.
            Some(after) => {
                if let Some(after) = token68(after).or_else(|| separated(after)) {
                    after
                } else {
                    let (name, after) = token(after)?;
                    let value = after.trim_start_matches([' ', '\t']).strip_prefix('=')?;
                    parameter(&mut challenge, name, value)?
                }
            }
            None => separated(after)?,
        };
        found.push(challenge);
    }
}

/// Read a parameter's value, and give what follows it.
fn parameter<'h>(challenge: &mut Challenge<'_>, name: &str, value: &'h str) -> Option<&'h str> {
    let name = name.to_ascii_lowercase();
    if challenge.parameters.len() == PARAMETERS_MAX || challenge.parameter(&name).is_some() {
        return None;
    }
    let value = value.trim_start_matches([' ', '\t']);
    let (value, rest) = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => token(value).map(|(value, rest)| (value.to_owned(), rest))?,
    };
    challenge.parameters.push((name, value));
    separated(rest)
}

/// What follows must be the end, or a comma.
fn separated(rest: &str) -> Option<&str> {
    let rest = rest.trim_start_matches([' ', '\t']);
    (rest.is_empty() || rest.starts_with(',')).then_some(rest)
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|letter| !is_token(letter)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// RFC 9110 §5.6.2.
fn is_token(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter)
}

fn token68(text: &str) -> Option<&str> {
    let is_of_it = |letter: char| letter.is_ascii_alphanumeric() || "-._~+/".contains(letter);
    let rest = text.trim_start_matches(is_of_it);
    if rest.len() == text.len() {
        return None;
    }
    separated(rest.trim_start_matches('='))
}

/// RFC 9110 §5.6.4, after its first quotation mark.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => {
                let (_, escaped) = letters.next()?;
                if !is_printable(escaped) {
                    return None;
                }
                value.push(escaped);
            }
            _ if is_printable(letter) => value.push(letter),
            _ => return None,
        }
    }
    None
}

fn is_printable(letter: char) -> bool {
    letter == '\t' || !letter.is_control()
}

/// A quoted-string that reads as `value`.
pub fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for letter in value.chars() {
        if matches!(letter, '"' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(field: &str) -> Option<Vec<String>> {
        let challenges = challenges(field)?;
        let shown = challenges.iter().map(|one| {
            let parameters = one.parameters.iter().map(|(name, value)| format!(" {name}={value}"));
            format!("{}{}", one.scheme, parameters.collect::<String>())
        });
        Some(shown.collect())
    }

    #[test]
    fn challenges_are_told_apart_from_their_parameters() {
        for (field, told) in [
            ("", &[][..]),
            ("Basic realm=\"a, b\"", &["Basic realm=a, b"]),
            (
                "Newauth realm=\"apps\", type=1, title=\"Login \\\"x\\\"\", Basic realm=simple",
                &["Newauth realm=apps type=1 title=Login \"x\"", "Basic realm=simple"],
            ),
            ("Negotiate, Digest qop=\"auth\" , NONCE = x", &["Negotiate", "Digest qop=auth nonce=x"]),
            (" , NTLM dG9rZW4=, , Bearer", &["NTLM", "Bearer"]),
            ("Digest realm=\"caf\u{e9}\"", &["Digest realm=caf\u{e9}"]),
        ] {
            assert_eq!(
                read(field).as_deref(),
                Some(told.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).as_deref(),
                "{field}"
            );
        }
    }

    #[test]
    fn what_is_not_well_formed_holds_no_challenge() {
        for field in [
            "=x",
            "Digest realm=\"open",
            "Digest realm=\"a\"b",
            "Digest realm=a b",
            "Digest realm=a, realm=b",
            "Digest realm=\"a\u{1}\"",
            "Digest realm=\"a\\",
            "Digest a b=c",
            "\"x\"",
        ] {
            assert_eq!(read(field), None, "{field}");
        }
        assert_eq!(read(&"a,".repeat(CHALLENGES_MAX + 1)), None);
        assert_eq!(read(&format!("Digest a=\"{}\"", "x".repeat(FIELD_BYTES_MAX))), None);
    }

    proptest! {
        #[test]
        fn a_value_that_is_quoted_reads_as_it_was(value in "[ -~\u{a0}-\u{17f}]{0,40}") {
            let field = format!("Digest realm={}, qop=auth", quoted(&value));
            let read = challenges(&field).expect("challenges");
            prop_assert_eq!(read[0].parameter("realm"), Some(value.as_str()));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            let _ = challenges(&text);
        }
    }
}
