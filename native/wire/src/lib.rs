//! The wire path of Tidegate: whatever touches each byte of a call.
#![forbid(unsafe_code)]

pub mod listen;
