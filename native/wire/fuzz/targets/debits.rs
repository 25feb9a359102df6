//! What is used of days and months: any file is read or told to be damaged, with no panic on the way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_wire::reserve::debits::read_lines;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_lines(bytes);
});
