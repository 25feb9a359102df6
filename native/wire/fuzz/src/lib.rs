//! What the targets of the lint share: reading a stream as a socket would give it.

use tidegate_wire::listen::lint::Violation;

/// Presents `bytes` to `pass` in pieces of `size`, and what is withheld again with what follows.
/// Returns how many bytes passed, and what was refused after them.
pub fn in_pieces(
    bytes: &[u8],
    size: usize,
    mut pass: impl FnMut(&[u8]) -> Result<usize, Violation>,
) -> (usize, Option<Violation>) {
    let mut start = 0;
    let mut end = 0;
    while end < bytes.len() {
        end = (end + size).min(bytes.len());
        while start < end {
            match pass(&bytes[start..end]) {
                Ok(0) => break,
                Ok(passed) => start += passed,
                Err(violation) => return (start, Some(violation)),
            }
        }
    }
    (start, None)
}
