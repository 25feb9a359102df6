//! Dial against real sockets: certificates made on the spot, TLS servers and a DNS server on loopback.

mod addresses;
mod dns;
mod support;
mod tls;
