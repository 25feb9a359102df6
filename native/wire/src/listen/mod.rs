//! Listen: takes what arrives on a socket and lets through only what has one meaning.
//!
//! First of the steps. [`guard`] stands between the socket and hyper, [`lint`] is its judgement.

pub mod guard;
pub mod lint;
