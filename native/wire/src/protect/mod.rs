//! Protect what a call carries (being built): keys, tokens, hashes, encryption to a provider's key.

pub mod ff1;
pub mod hash;
pub mod jwe;
pub mod keys;
pub mod token;
pub mod tokenise;
