//! Snapshots: any document is taken or refused, with no panic on the way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_wire::snapshot::Snapshot;

fuzz_target!(|bytes: &[u8]| {
    let _ = Snapshot::parse(bytes);
});
