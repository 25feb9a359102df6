//! Find numbers of bank accounts: a country, its length, and the remainder by 97 (ISO 13616-1, ISO 7064 MOD 97-10).

/// Countries in ISO's registry, with the length of their numbers.
const LENGTHS: [(&[u8; 2], usize); 83] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
];
/// The rest of the registry: those whose names come last.
const MORE_LENGTHS: [(&[u8; 2], usize); 4] = [(b"UA", 29), (b"VA", 22), (b"VG", 24), (b"XK", 20)];

pub fn is_in(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len().saturating_sub(14)).any(|at| {
        let begins = bytes[at].is_ascii_alphabetic() && bytes[at + 1].is_ascii_alphabetic();
        let is_word = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        begins && is_word && is_account(&bytes[at..])
    })
}

fn is_account(bytes: &[u8]) -> bool {
    let country = [bytes[0].to_ascii_uppercase(), bytes[1].to_ascii_uppercase()];
    let known = LENGTHS.iter().chain(&MORE_LENGTHS).find(|(name, _)| **name == country);
    let Some((_, length)) = known else { return false };
    let mut number = Vec::with_capacity(*length);
    let mut rest = bytes;
    while number.len() < *length {
        match rest {
            [byte, after @ ..] if byte.is_ascii_alphanumeric() => {
                number.push(byte.to_ascii_uppercase());
                rest = after;
            }
            // Written in groups.
            [b' ' | b'-', byte, ..] if byte.is_ascii_alphanumeric() => rest = &rest[1..],
            _ => return false,
        }
    }
    let ends = !rest.first().is_some_and(u8::is_ascii_alphanumeric);
    ends && number[2..4].iter().all(u8::is_ascii_digit) && remainder(&number) == 1
}

/// Of the number with its first four characters last, letters counting from 10, by 97.
fn remainder(number: &[u8]) -> u32 {
    number[4..].iter().chain(&number[..4]).fold(0, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of the registry.
    const ACCOUNTS: [&str; 8] = [
        "DE89370400440532013000",
        "GB29NWBK60161331926819",
        "FR1420041010050500013M02606",
        "NL91ABNA0417164300",
        "NO9386011117947",
        "MT84MALT011000012345MTLCAST001S",
        "CH9300762011623852957",
        "SA0380000000608010167519",
    ];

    #[test]
    fn accounts_are_found_however_they_are_written() {
        for account in ACCOUNTS {
            let groups: Vec<&str> = account
                .as_bytes()
                .chunks(4)
                .map(|group| std::str::from_utf8(group).expect("letters"))
                .collect();
            for text in [
                account.to_owned(),
                account.to_lowercase(),
                groups.join(" "),
                groups.join("-"),
                format!("IBAN: {account}."),
                format!("to {} please", groups.join(" ")),
            ] {
                assert!(is_in(&text), "{text}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_one_is_passed_over() {
        for text in [
            "DE89370400440532013001",
            "DE8937040044053201300",
            "DE893704004405320130000",
            "ZZ89370400440532013000",
            "XDE89370400440532013000",
            "DE 89  370400440532013000",
            "DEX9370400440532013000",
            "",
            "DE",
        ] {
            assert!(!is_in(text), "{text}");
        }
    }
}
