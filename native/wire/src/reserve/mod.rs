//! What a provider says of its limits, in one form.

pub mod signal;
