//! Dial against real sockets: certificates made on the spot, TLS servers and a DNS server on loopback.
#![expect(clippy::similar_names, reason = "a dialler dials; dialled is what came of it")]

mod addresses;
mod dns;
mod support;
mod tls;
