//! Tripwires: what sits where nobody declared it? Card numbers, bank accounts, addresses, secrets.
//!
//! Fields are protected because they are declared. A detector only notices that a value which goes out in clear looks
//! like something else than its field was declared for. Each looks for a form that checks itself (a check digit, an
//! issuer's range, a known beginning), also in the value's decoded [`views`]. Never a promise that nothing is there.

pub mod account;
pub mod card;
pub mod live;
pub mod secret;
pub mod views;

use serde::Deserialize;

use live::Live;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// The number of a payment card.
    Pan,
    /// The number of a bank account (ISO 13616).
    Iban,
    Email,
    /// A key or password of a well-known form, or one that the vault has.
    Secret,
    /// A JSON Web Token (RFC 7519).
    Jwt,
    /// Letters that look drawn by chance.
    Entropy,
}

impl Detector {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pan => "pan",
            Self::Iban => "iban",
            Self::Email => "email",
            Self::Secret => "secret",
            Self::Jwt => "jwt",
            Self::Entropy => "entropy",
        }
    }

    /// Refused also where a policy only reports: it must not leave by mistake even once.
    pub fn is_hard(self) -> bool {
        matches!(self, Self::Pan | Self::Secret)
    }

    /// Words of a category by which a field is declared to hold such a thing.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Pan => &["card", "credit_card", "pan", "payment", "financial", "account_number"],
            Self::Iban => &["account_number", "bank", "financial", "iban", "payment"],
            Self::Email => &["contact", "email"],
            Self::Secret => &["authorization", "credentials", "secret"],
            Self::Jwt => &["authorization", "credentials", "secret", "token"],
            Self::Entropy => &["authorization", "credentials", "id", "secret", "token", "unique_id"],
        }
    }

    /// Whether a field of this category may hold it.
    pub fn is_covered_by(self, category: &str) -> bool {
        category.split('.').any(|word| self.words().contains(&word))
    }
}

/// The first of what is wanted that stands in a text, or in one of its views, and no category covers.
pub fn find(
    wanted: &[Detector],
    text: &str,
    category: Option<&str>,
    live: Option<&Live>,
) -> Option<Detector> {
    let wanted: Vec<Detector> = wanted
        .iter()
        .copied()
        .filter(|one| category.is_none_or(|category| !one.is_covered_by(category)))
        .collect();
    if wanted.is_empty() || text.len() < SHORTEST {
        return None;
    }
    views::any(text, &mut |view| wanted.iter().copied().find(|one| is_in(*one, view, live)))
}

/// All that stands in a text, or in one of its views.
pub fn all(text: &str) -> Vec<Detector> {
    const ALL: [Detector; 6] =
        [Detector::Pan, Detector::Iban, Detector::Email, Detector::Secret, Detector::Jwt, Detector::Entropy];
    let mut found = Vec::new();
    if text.len() >= SHORTEST {
        views::any(text, &mut |view| {
            let more = ALL.into_iter().filter(|one| is_in(*one, view, None));
            for one in more {
                if !found.contains(&one) {
                    found.push(one);
                }
            }
            None::<()>
        });
    }
    found
}

/// Nothing that is looked for is shorter.
const SHORTEST: usize = 6;

fn is_in(detector: Detector, text: &str, live: Option<&Live>) -> bool {
    match detector {
        Detector::Pan => card::is_in(text),
        Detector::Iban => account::is_in(text),
        Detector::Email => is_email_in(text),
        Detector::Secret => secret::is_in(text) || live.is_some_and(|live| live.is_in(text)),
        Detector::Jwt => secret::is_jwt_in(text),
        Detector::Entropy => secret::is_chance_in(text),
    }
}

/// Something before an `@`, and a domain with a top level of letters after it.
fn is_email_in(text: &str) -> bool {
    let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b"._%+-'".contains(&byte) || !byte.is_ascii();
    let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte) || !byte.is_ascii();
    memchr::memchr_iter(b'@', text.as_bytes()).any(|at| {
        let (before, after) = (&text.as_bytes()[..at], &text.as_bytes()[at + 1..]);
        let length = after.iter().take_while(|byte| is_domain(**byte)).count();
        let mut labels = after[..length].rsplit(|byte| *byte == b'.').skip_while(|label| label.is_empty());
        let top = labels.next().unwrap_or_default();
        before.last().copied().is_some_and(is_local)
            && (2..=24).contains(&top.len())
            && top.iter().all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
            && labels.next().is_some_and(|label| !label.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_where_they_stand() {
        for text in
            ["jane@example.com", "To: <jane.doe+x@mail.example.co.uk>.", "é@exämple.de", "o'neill@a.io,"]
        {
            assert!(is_email_in(text), "{text}");
        }
        for text in
            ["@handle", "a@b", "a@b.c", "a@.com", "user@host:22", "1@2.3", "@example.com", "a @example.com"]
        {
            assert!(!is_email_in(text), "{text}");
        }
    }

    #[test]
    fn a_category_covers_what_it_is_of() {
        let pan = "4111 1111 1111 1111";
        assert_eq!(find(&[Detector::Pan], pan, None, None), Some(Detector::Pan));
        assert_eq!(find(&[Detector::Pan], pan, Some("contact.phone_number"), None), Some(Detector::Pan));
        assert_eq!(find(&[Detector::Pan], pan, Some("user.payment.card"), None), None);
        assert_eq!(
            find(&[Detector::Email, Detector::Pan], pan, Some("contact.email"), None),
            Some(Detector::Pan)
        );
        assert_eq!(find(&[], pan, None, None), None);
    }
}
