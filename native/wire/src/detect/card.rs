//! Find numbers of payment cards: the length and beginning of an issuer's range, and the check digit.
//!
//! The check digit alone passes one of ten numbers drawn by chance (ISO/IEC 7812-1, annex B), so all three are asked.

use std::ops::RangeInclusive;

/// Letters that may stand against a number; in what has more it is part of something else, such as a hash.
const LETTERS_MAX: usize = 4;
const LENGTHS: RangeInclusive<usize> = 13..=19;

/// The first six digits, from and to, and how many there are in all (ISO/IEC 7812 issuer identification numbers).
const RANGES: [(u32, u32, RangeInclusive<usize>); 18] = [
    (400_000, 499_999, 13..=19),
    (510_000, 559_999, 16..=16),
    (222_100, 272_099, 16..=16),
    (340_000, 349_999, 15..=15),
    (370_000, 379_999, 15..=15),
    (601_100, 601_199, 16..=19),
    (622_126, 622_925, 16..=19),
    (644_000, 659_999, 16..=19),
    (352_800, 358_999, 16..=19),
    (300_000, 305_999, 14..=19),
    (309_500, 309_599, 14..=19),
    (360_000, 369_999, 14..=19),
    (380_000, 399_999, 14..=19),
    (620_000, 629_999, 16..=19),
    (501_800, 503_899, 16..=19),
    (589_300, 589_399, 16..=19),
    (630_400, 630_499, 16..=19),
    (675_900, 676_399, 16..=19),
];

pub fn is_in(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = run_end(bytes, at);
        if end - at >= *LENGTHS.start() && !is_within_letters(bytes, at, end) && is_in_run(&bytes[at..end]) {
            return true;
        }
        at = end;
    }
    false
}

/// Where digits end that at most one space, dash or dot parts from each other.
fn run_end(bytes: &[u8], from: usize) -> usize {
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = from;
    loop {
        at += 1;
        let parted = matches!(bytes.get(at), Some(b' ' | b'-' | b'.')) && is_digit(at + 1);
        if !is_digit(at) && !parted {
            return at;
        }
    }
}

fn is_within_letters(bytes: &[u8], start: usize, end: usize) -> bool {
    let before = bytes[..start].iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let after = bytes[end..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    // What follows a letter and more digits is no word.
    let goes_on = bytes.get(end + after).is_some_and(u8::is_ascii_digit) && after > 0;
    let came = before > 0 && start > before && bytes[start - before - 1].is_ascii_digit();
    before > LETTERS_MAX || after > LETTERS_MAX || goes_on || came
}

/// Groups of digits, one or more in a row, that make a card's number.
fn is_in_run(run: &[u8]) -> bool {
    let groups: Vec<&[u8]> = run.split(|byte| !byte.is_ascii_digit()).collect();
    (0..groups.len()).any(|first| {
        let mut digits = [0_u8; 19];
        let mut length = 0;
        for group in &groups[first..] {
            let Some(room) = digits.get_mut(length..length + group.len()) else { return false };
            room.copy_from_slice(group);
            length += group.len();
            if is_card(&digits[..length]) {
                return true;
            }
        }
        false
    })
}

fn is_card(digits: &[u8]) -> bool {
    if !LENGTHS.contains(&digits.len()) {
        return false;
    }
    let first = digits[..6].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let of_an_issuer = |(from, to, lengths): &(u32, u32, RangeInclusive<usize>)| {
        (*from..=*to).contains(&first) && lengths.contains(&digits.len())
    };
    RANGES.iter().any(of_an_issuer) && passes_luhn(digits)
}

/// ISO/IEC 7812-1, annex B.
fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') << (place % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != digits[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that issuers publish for tests.
    const CARDS: [&str; 12] = [
        "4111111111111111",
        "4242424242424242",
        "4222222222222",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "6011111111111117",
        "3530111333300000",
        "30569309025904",
        "38520000023237",
        "6200000000000005",
        "6759649826438453",
    ];

    fn spaced(card: &str, by: &str) -> String {
        let groups: Vec<&str> =
            card.as_bytes().chunks(4).map(|group| std::str::from_utf8(group).expect("digits")).collect();
        groups.join(by)
    }

    #[test]
    fn cards_are_found_however_they_are_written() {
        for card in CARDS {
            for text in [
                card.to_owned(),
                spaced(card, " "),
                spaced(card, "-"),
                spaced(card, "."),
                format!("card={card}&cvc=123"),
                format!("Paid with {}, 12/27", spaced(card, " ")),
                format!("{} 12 27 123", spaced(card, " ")),
                format!("pan{card}"),
            ] {
                assert!(is_in(&text), "{text}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_one_is_passed_over() {
        for text in [
            "4111111111111112",
            "411111111111111",
            "1790000000000",
            "0000000000000000",
            "4444444444444444",
            "9111111111111119",
            "3f4111111111111111ab12",
            "8a0f4111111111111111",
            "550e8400-e29b-41d4-a716-446655440000",
            "41111111111111110000",
            "4111 1111  1111 1111",
            "",
        ] {
            assert!(!is_in(text), "{text}");
        }
    }

    #[test]
    fn few_numbers_drawn_by_chance_are_cards() {
        let mut state = 88_172_645_463_325_252_u64;
        let mut found = 0;
        for _ in 0..10_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            found += usize::from(is_in(&format!("{:016}", state % 10_000_000_000_000_000)));
        }
        assert!(found < 350, "{found} of 10,000");
    }
}
