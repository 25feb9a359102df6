//! Say what kind of place an address is, and whether a call may go there.
//!
//! Pure: no I/O. Runs on every address of every answer, before any of them is connected to. An address is
//! `Public` only where the registries say so; whatever is special, unassigned or carries another address
//! inside is something else, and is refused unless its range is declared. docs/reference/addresses.md
//! lists the classes with their sources.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What an address is for. Only `Public` is dialled without a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Public,
    Unspecified,
    Loopback,
    Private,
    CarrierNat,
    LinkLocal,
    Metadata,
    Multicast,
    Broadcast,
    Documentation,
    Benchmarking,
    ProtocolAssignment,
    Anycast,
    Reserved,
    Ipv4Mapped,
    Ipv4Compatible,
    Ipv4Translated,
    SixToFour,
    Nat64,
    Nat64Local,
    Teredo,
    Isatap,
    UniqueLocal,
    SiteLocal,
    Discard,
    Orchid,
    DroneId,
    SegmentRouting,
    SixBone,
}

impl Class {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierNat => "carrier NAT",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::ProtocolAssignment => "protocol assignment",
            Self::Anycast => "special-purpose anycast",
            Self::Reserved => "reserved",
            Self::Ipv4Mapped => "IPv4-mapped",
            Self::Ipv4Compatible => "IPv4-compatible",
            Self::Ipv4Translated => "IPv4-translated",
            Self::SixToFour => "6to4",
            Self::Nat64 => "NAT64",
            Self::Nat64Local => "local-use NAT64",
            Self::Teredo => "Teredo",
            Self::Isatap => "ISATAP",
            Self::UniqueLocal => "unique local",
            Self::SiteLocal => "site-local",
            Self::Discard => "discard-only",
            Self::Orchid => "ORCHID",
            Self::DroneId => "drone identifier",
            Self::SegmentRouting => "segment routing",
            Self::SixBone => "6bone",
        }
    }
}

/// Say what an address is. A form that carries an IPv4 address is named by what it carries where that is
/// itself not public, so that `64:ff9b::10.0.0.1` reads as `private`.
pub fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

/// Let an address pass when it is public or lies in a declared range; else say what it is.
///
/// A range never opens the addresses that name no single host, and opens a metadata service only where it
/// is that very address. A form that carries an IPv4 address needs its own range, and the address inside
/// must pass as well. A mapped address is judged as the IPv4 address that the kernel makes of it.
pub fn permitted(address: IpAddr, allow_private: &[IpNet]) -> Result<(), Class> {
    let class = classify(address);
    let address = address.to_canonical();
    let declared = match class {
        Class::Public => return Ok(()),
        Class::Unspecified | Class::Multicast | Class::Broadcast => false,
        Class::Metadata => allow_private.contains(&IpNet::from(address)),
        _ => allow_private.iter().any(|range| range.contains(&address)),
    };
    if !declared {
        return Err(class);
    }
    match carried_by(address) {
        Some(inner) => permitted(IpAddr::V4(inner), allow_private),
        None => Ok(()),
    }
}

type Rule<A> = (fn(A) -> bool, Class);

/// The first that fits names the address, so a narrow class stands before the one around it.
const V4_RULES: &[Rule<Ipv4Addr>] = &[
    (is_metadata_v4, Class::Metadata),
    (is_this_network, Class::Unspecified),
    (is_loopback_v4, Class::Loopback),
    (is_private_v4, Class::Private),
    (is_carrier_nat, Class::CarrierNat),
    (is_link_local_v4, Class::LinkLocal),
    (is_protocol_assignment_v4, Class::ProtocolAssignment),
    (is_documentation_v4, Class::Documentation),
    (is_benchmarking_v4, Class::Benchmarking),
    (is_anycast_v4, Class::Anycast),
    (is_multicast_v4, Class::Multicast),
    (is_broadcast, Class::Broadcast),
    (is_reserved_v4, Class::Reserved),
];

const V6_RULES: &[Rule<Ipv6Addr>] = &[
    (is_unspecified_v6, Class::Unspecified),
    (is_loopback_v6, Class::Loopback),
    (is_metadata_v6, Class::Metadata),
    (is_ipv4_mapped, Class::Ipv4Mapped),
    (is_ipv4_translated, Class::Ipv4Translated),
    (is_ipv4_compatible, Class::Ipv4Compatible),
    (is_nat64, Class::Nat64),
    (is_nat64_local, Class::Nat64Local),
    (is_six_to_four, Class::SixToFour),
    (is_teredo, Class::Teredo),
    (is_link_local_v6, Class::LinkLocal),
    (is_unique_local, Class::UniqueLocal),
    (is_site_local, Class::SiteLocal),
    (is_multicast_v6, Class::Multicast),
    (is_isatap, Class::Isatap),
    (is_discard, Class::Discard),
    (is_benchmarking_v6, Class::Benchmarking),
    (is_orchid, Class::Orchid),
    (is_drone_id, Class::DroneId),
    (is_anycast_v6, Class::Anycast),
    (is_protocol_assignment_v6, Class::ProtocolAssignment),
    (is_documentation_v6, Class::Documentation),
    (is_segment_routing, Class::SegmentRouting),
    (is_six_bone, Class::SixBone),
    (is_outside_global_unicast, Class::Reserved),
];

fn classify_v4(address: Ipv4Addr) -> Class {
    first_match(V4_RULES, address)
}

fn classify_v6(address: Ipv6Addr) -> Class {
    let class = first_match(V6_RULES, address);
    let carried = carried_by_v6(class, address).map(classify_v4);
    carried.filter(|inner| *inner != Class::Public).unwrap_or(class)
}

fn first_match<A: Copy>(rules: &[Rule<A>], address: A) -> Class {
    rules.iter().find(|(fits, _)| fits(address)).map_or(Class::Public, |(_, class)| *class)
}

fn carried_by(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => carried_by_v6(first_match(V6_RULES, address), address),
    }
}

/// The IPv4 address that an address of such a form stands for.
fn carried_by_v6(form: Class, address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, s1, s2, .., s6, s7] = address.segments();
    match form {
        Class::Ipv4Mapped
        | Class::Ipv4Translated
        | Class::Ipv4Compatible
        | Class::Nat64
        | Class::Nat64Local
        | Class::Isatap => Some(ipv4(s6, s7)),
        Class::SixToFour => Some(ipv4(s1, s2)),
        // RFC 4380 §4: the host's own address, each bit inverted.
        Class::Teredo => Some(ipv4(!s6, !s7)),
        _ => None,
    }
}

fn ipv4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

// IPv4: the IANA special-purpose address registry (RFC 6890), and what clouds put outside it.

/// Addresses at which clouds hand out credentials to whoever asks from inside.
fn is_metadata_v4(address: Ipv4Addr) -> bool {
    matches!(
        address.octets(),
        // AWS, Google, Azure, OpenStack, DigitalOcean, Oracle and most others.
        [169, 254, 169, 254]
        // AWS: container credentials, EKS pod identity. Tencent.
        | [169, 254, 170, 2 | 23] | [169, 254, 0, 23]
        // Alibaba. Oracle's older one.
        | [100, 100, 100, 200] | [192, 0, 0, 192]
        // Azure's host agent: public space, but every virtual machine reaches its own host there.
        | [168, 63, 129, 16]
    )
}

/// RFC 791 §3.2: `0.0.0.0/8`, "this host on this network"; Linux takes `0.0.0.0` for loopback.
fn is_this_network(address: Ipv4Addr) -> bool {
    address.octets()[0] == 0
}

/// RFC 1122 §3.2.1.3.
fn is_loopback_v4(address: Ipv4Addr) -> bool {
    address.octets()[0] == 127
}

/// RFC 1918.
fn is_private_v4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [10, ..] | [172, 16..=31, ..] | [192, 168, ..])
}

/// RFC 6598: `100.64.0.0/10`.
fn is_carrier_nat(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [100, 64..=127, ..])
}

/// RFC 3927.
fn is_link_local_v4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [169, 254, ..])
}

/// RFC 6890 §2.1: `192.0.0.0/24`.
fn is_protocol_assignment_v4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [192, 0, 0, _])
}

/// RFC 5737.
fn is_documentation_v4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _])
}

/// RFC 2544: `198.18.0.0/15`.
fn is_benchmarking_v4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [198, 18 | 19, ..])
}

/// AS112 (RFC 7534, RFC 7535), AMT (RFC 7450), 6to4 relays (RFC 7526): no API lives there.
fn is_anycast_v4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [192, 31, 196, _] | [192, 52, 193, _] | [192, 88, 99, _] | [192, 175, 48, _])
}

/// RFC 5771.
fn is_multicast_v4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [224..=239, ..])
}

/// RFC 919. A subnet's own broadcast address lies in the subnet's range and cannot be told from a host.
fn is_broadcast(address: Ipv4Addr) -> bool {
    address == Ipv4Addr::BROADCAST
}

/// RFC 1112 §4: `240.0.0.0/4`.
fn is_reserved_v4(address: Ipv4Addr) -> bool {
    address.octets()[0] >= 240
}

// IPv6: the IANA special-purpose address registry, and forms that carry IPv4 inside.

fn is_unspecified_v6(address: Ipv6Addr) -> bool {
    address == Ipv6Addr::UNSPECIFIED
}

fn is_loopback_v6(address: Ipv6Addr) -> bool {
    address == Ipv6Addr::LOCALHOST
}

/// As `is_metadata_v4`: AWS (instance metadata, EKS pod identity), Google.
fn is_metadata_v6(address: Ipv6Addr) -> bool {
    matches!(
        address.segments(),
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254 | 0x0023] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254]
    )
}

/// RFC 4291 §2.5.5.2: `::ffff:0:0/96`.
fn is_ipv4_mapped(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0, 0, 0, 0, 0, 0xffff, ..])
}

/// RFC 2765 §2.1 (SIIT): `::ffff:0:0:0/96`.
fn is_ipv4_translated(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0, 0, 0, 0, 0xffff, 0, ..])
}

/// RFC 4291 §2.5.5.1: `::/96`, deprecated.
fn is_ipv4_compatible(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0, 0, 0, 0, 0, 0, ..])
}

/// RFC 6052 §2.1: `64:ff9b::/96`.
fn is_nat64(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x0064, 0xff9b, 0, 0, 0, 0, ..])
}

/// RFC 8215: `64:ff9b:1::/48`.
fn is_nat64_local(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x0064, 0xff9b, 1, ..])
}

/// RFC 3056: `2002::/16`.
fn is_six_to_four(address: Ipv6Addr) -> bool {
    address.segments()[0] == 0x2002
}

/// RFC 4380: `2001::/32`.
fn is_teredo(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x2001, 0, ..])
}

/// RFC 4291 §2.5.6.
fn is_link_local_v6(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// RFC 4193: `fc00::/7`.
fn is_unique_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xfe00 == 0xfc00
}

/// RFC 3879: `fec0::/10`, deprecated.
fn is_site_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfec0
}

/// RFC 4291 §2.7.
fn is_multicast_v6(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xff00 == 0xff00
}

/// RFC 5214 §6.1: any prefix, with an interface identifier that carries an IPv4 address.
fn is_isatap(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [_, _, _, _, 0x0000 | 0x0200, 0x5efe, ..])
}

/// RFC 6666 `100::/64`, RFC 9780 `100:0:0:1::/64`.
fn is_discard(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x0100, 0, 0, 0 | 1, ..])
}

/// RFC 5180: `2001:2::/48`.
fn is_benchmarking_v6(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x2001, 2, 0, ..])
}

/// RFC 4843 `2001:10::/28`, RFC 7343 `2001:20::/28`: names of keys, not places.
fn is_orchid(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x2001, 0x0010..=0x002f, ..])
}

/// RFC 9374: `2001:30::/28`.
fn is_drone_id(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x2001, 0x0030..=0x003f, ..])
}

/// AMT (RFC 7450) and AS112 (RFC 7534, RFC 7535).
fn is_anycast_v6(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x2001, 3, ..] | [0x2001, 4, 0x0112, ..] | [0x2620, 0x004f, 0x8000, ..])
}

/// RFC 2928: what is left of `2001::/23`.
fn is_protocol_assignment_v6(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x2001, 0x0000..=0x01ff, ..])
}

/// RFC 3849 `2001:db8::/32`, RFC 9637 `3fff::/20`.
fn is_documentation_v6(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x2001, 0x0db8, ..] | [0x3fff, 0x0000..=0x0fff, ..])
}

/// RFC 9602: `5f00::/16`.
fn is_segment_routing(address: Ipv6Addr) -> bool {
    address.segments()[0] == 0x5f00
}

/// RFC 3701: `3ffe::/16`, given back.
fn is_six_bone(address: Ipv6Addr) -> bool {
    address.segments()[0] == 0x3ffe
}

/// RFC 4291 §2.4, RFC 3587: only `2000::/3` is given out as global unicast.
fn is_outside_global_unicast(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xe000 != 0x2000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn ranges(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    /// First, last and outer neighbours of the ranges; forms that carry IPv4 with something prohibited inside.
    const CORPUS: &[(&str, Class)] = &[
        ("0.0.0.0", Class::Unspecified),
        ("0.255.255.255", Class::Unspecified),
        ("1.0.0.0", Class::Public),
        ("9.255.255.255", Class::Public),
        ("10.0.0.0", Class::Private),
        ("10.255.255.255", Class::Private),
        ("11.0.0.0", Class::Public),
        ("100.63.255.255", Class::Public),
        ("100.64.0.0", Class::CarrierNat),
        ("100.100.100.200", Class::Metadata),
        ("100.127.255.255", Class::CarrierNat),
        ("100.128.0.0", Class::Public),
        ("126.255.255.255", Class::Public),
        ("127.0.0.1", Class::Loopback),
        ("127.255.255.255", Class::Loopback),
        ("128.0.0.0", Class::Public),
        ("168.63.129.16", Class::Metadata),
        ("168.63.129.17", Class::Public),
        ("169.253.255.255", Class::Public),
        ("169.254.0.0", Class::LinkLocal),
        ("169.254.0.23", Class::Metadata),
        ("169.254.169.253", Class::LinkLocal),
        ("169.254.169.254", Class::Metadata),
        ("169.254.170.2", Class::Metadata),
        ("169.254.170.23", Class::Metadata),
        ("169.254.255.255", Class::LinkLocal),
        ("169.255.0.0", Class::Public),
        ("172.15.255.255", Class::Public),
        ("172.16.0.0", Class::Private),
        ("172.31.255.255", Class::Private),
        ("172.32.0.0", Class::Public),
        ("192.0.0.0", Class::ProtocolAssignment),
        ("192.0.0.170", Class::ProtocolAssignment),
        ("192.0.0.192", Class::Metadata),
        ("192.0.1.0", Class::Public),
        ("192.0.2.1", Class::Documentation),
        ("192.31.196.1", Class::Anycast),
        ("192.52.193.1", Class::Anycast),
        ("192.88.99.1", Class::Anycast),
        ("192.167.255.255", Class::Public),
        ("192.168.0.0", Class::Private),
        ("192.168.255.255", Class::Private),
        ("192.169.0.0", Class::Public),
        ("192.175.48.1", Class::Anycast),
        ("198.17.255.255", Class::Public),
        ("198.18.0.0", Class::Benchmarking),
        ("198.19.255.255", Class::Benchmarking),
        ("198.20.0.0", Class::Public),
        ("198.51.100.7", Class::Documentation),
        ("203.0.113.255", Class::Documentation),
        ("223.255.255.255", Class::Public),
        ("224.0.0.1", Class::Multicast),
        ("239.255.255.255", Class::Multicast),
        ("240.0.0.0", Class::Reserved),
        ("255.255.255.254", Class::Reserved),
        ("255.255.255.255", Class::Broadcast),
        ("::", Class::Unspecified),
        ("::1", Class::Loopback),
        ("::2", Class::Unspecified),
        ("::127.0.0.1", Class::Loopback),
        ("::8.8.8.8", Class::Ipv4Compatible),
        ("::ffff:127.0.0.1", Class::Loopback),
        ("::ffff:7f00:1", Class::Loopback),
        ("::ffff:169.254.169.254", Class::Metadata),
        ("::ffff:0.0.0.0", Class::Unspecified),
        ("::ffff:8.8.8.8", Class::Ipv4Mapped),
        ("::ffff:0:10.0.0.1", Class::Private),
        ("::ffff:0:8.8.8.8", Class::Ipv4Translated),
        ("64:ff9b::10.0.0.1", Class::Private),
        ("64:ff9b::a9fe:a9fe", Class::Metadata),
        ("64:ff9b::8.8.8.8", Class::Nat64),
        ("64:ff9b:0:0:0:1:8.8.8.8", Class::Reserved),
        ("64:ff9b:1::127.0.0.1", Class::Loopback),
        ("64:ff9b:1::8.8.8.8", Class::Nat64Local),
        ("64:ff9b:1:ffff:ffff:ffff:8.8.8.8", Class::Nat64Local),
        ("100::", Class::Discard),
        ("100::ffff:ffff:ffff:ffff", Class::Discard),
        ("100:0:0:1::1", Class::Discard),
        ("100:0:0:2::1", Class::Reserved),
        ("2001::1", Class::Reserved),
        ("2001:0:c000:201::f5ff:fffe", Class::Private),
        ("2001:0:c000:201:0:0:f7f7:f7f7", Class::Teredo),
        ("2001:1::1", Class::ProtocolAssignment),
        ("2001:2::1", Class::Benchmarking),
        ("2001:2:1::1", Class::ProtocolAssignment),
        ("2001:3::1", Class::Anycast),
        ("2001:4:112::1", Class::Anycast),
        ("2001:10::1", Class::Orchid),
        ("2001:2f:ffff::1", Class::Orchid),
        ("2001:30::1", Class::DroneId),
        ("2001:40::1", Class::ProtocolAssignment),
        ("2001:1ff::1", Class::ProtocolAssignment),
        ("2001:200::1", Class::Public),
        ("2001:db7:ffff::1", Class::Public),
        ("2001:db8::1", Class::Documentation),
        ("2001:db9::1", Class::Public),
        ("2001:4860:4860::8888", Class::Public),
        ("2002:7f00:1::", Class::Loopback),
        ("2002:c0a8:101::1", Class::Private),
        ("2002:808:808::1", Class::SixToFour),
        ("2003::1", Class::Public),
        ("2606:4700::1111", Class::Public),
        ("2606:4700::5efe:10.0.0.1", Class::Private),
        ("2606:4700::200:5efe:169.254.169.254", Class::Metadata),
        ("2606:4700::5efe:8.8.8.8", Class::Isatap),
        ("2620:4f:8000::1", Class::Anycast),
        ("3ffd:ffff::1", Class::Public),
        ("3ffe::1", Class::SixBone),
        ("3fff::1", Class::Documentation),
        ("3fff:fff::1", Class::Documentation),
        ("3fff:1000::1", Class::Public),
        ("4000::1", Class::Reserved),
        ("5f00::1", Class::SegmentRouting),
        ("1fff::1", Class::Reserved),
        ("fbff::1", Class::Reserved),
        ("fc00::1", Class::UniqueLocal),
        ("fd00:ec2::254", Class::Metadata),
        ("fd00:ec2::23", Class::Metadata),
        ("fd20:ce::254", Class::Metadata),
        ("fdff::1", Class::UniqueLocal),
        ("fe00::1", Class::Reserved),
        ("fe80::1", Class::LinkLocal),
        ("fe80::5efe:8.8.8.8", Class::LinkLocal),
        ("febf::1", Class::LinkLocal),
        ("fec0::1", Class::SiteLocal),
        ("feff::1", Class::SiteLocal),
        ("ff00::", Class::Multicast),
        ("ff02::1", Class::Multicast),
        ("ffff::1", Class::Multicast),
    ];

    #[test]
    fn every_address_of_the_corpus_is_what_the_registries_say() {
        for (text, expected) in CORPUS {
            assert_eq!(classify(address(text)), *expected, "{text}");
        }
    }

    #[test]
    fn without_a_declaration_only_public_addresses_are_permitted() {
        for (text, class) in CORPUS {
            let expected = if *class == Class::Public { Ok(()) } else { Err(*class) };
            assert_eq!(permitted(address(text), &[]), expected, "{text}");
        }
    }

    #[test]
    fn a_declared_range_permits_what_lies_in_it_and_nothing_else() {
        let allowed = ranges(&["127.0.0.0/8", "10.1.0.0/16", "fd00::/8"]);
        for text in ["127.0.0.1", "10.1.2.3", "fd12::1", "::ffff:127.0.0.1", "::ffff:10.1.0.9"] {
            assert_eq!(permitted(address(text), &allowed), Ok(()), "{text}");
        }
        for text in ["10.2.0.1", "192.168.0.1", "::1", "fc00::1", "::127.0.0.1", "64:ff9b::127.0.0.1"] {
            assert!(permitted(address(text), &allowed).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_as_wide_as_the_internet_opens_neither_metadata_nor_group_addresses() {
        let all = ranges(&["0.0.0.0/0", "::/0"]);
        for (text, class) in CORPUS {
            let never =
                [Class::Metadata, Class::Unspecified, Class::Multicast, Class::Broadcast].contains(class);
            assert_eq!(permitted(address(text), &all).is_err(), never, "{text}");
        }
    }

    #[test]
    fn metadata_is_opened_only_by_its_very_address() {
        let exact = ranges(&["169.254.169.254/32", "fd00:ec2::254/128"]);
        for text in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"] {
            assert_eq!(permitted(address(text), &exact), Ok(()), "{text}");
        }
        assert_eq!(permitted(address("64:ff9b::169.254.169.254"), &exact), Err(Class::Metadata));
        let wider = ranges(&["169.254.169.254/31", "169.254.0.0/16"]);
        assert_eq!(permitted(address("169.254.169.254"), &wider), Err(Class::Metadata));
    }

    #[test]
    fn a_carrier_form_needs_its_own_range_and_a_permitted_address_inside() {
        let dns64 = ranges(&["64:ff9b::/96"]);
        assert_eq!(permitted(address("64:ff9b::8.8.8.8"), &dns64), Ok(()));
        assert_eq!(permitted(address("64:ff9b::10.0.0.1"), &dns64), Err(Class::Private));
        let both = ranges(&["64:ff9b::/96", "10.0.0.0/8"]);
        assert_eq!(permitted(address("64:ff9b::10.0.0.1"), &both), Ok(()));
    }

    #[test]
    fn every_class_is_documented() {
        let page = include_str!("../../../../docs/reference/addresses.md");
        for (_, class) in CORPUS {
            assert!(
                page.contains(&format!("| {} |", class.as_str())),
                "{} is not in addresses.md",
                class.as_str()
            );
        }
    }

    fn prohibited_ipv4() -> impl Strategy<Value = Ipv4Addr> {
        let within = |base: u32, host_bits: u32| (0..1_u32 << host_bits).prop_map(move |host| base | host);
        prop_oneof![
            within(0x7f00_0000, 24),
            within(0x0a00_0000, 24),
            within(0xac10_0000, 20),
            within(0xc0a8_0000, 16),
            within(0xa9fe_0000, 16),
            within(0x6440_0000, 22),
            within(0xe000_0000, 28),
        ]
        .prop_map(Ipv4Addr::from_bits)
    }

    proptest! {
        #[test]
        fn no_form_that_carries_a_prohibited_ipv4_is_public(
            inner in prohibited_ipv4(), random in any::<u64>(), universal in any::<bool>(),
        ) {
            let (bits, random) = (u128::from(inner.to_bits()), u128::from(random));
            let isatap = if universal { 0x0200_5efe } else { 0x5efe };
            for (form, address) in [
                ("compatible", bits),
                ("mapped", 0xffff << 32 | bits),
                ("translated", 0xffff << 48 | bits),
                ("NAT64", 0x0064_ff9b << 96 | bits),
                ("local NAT64", 0x0064_ff9b_0001 << 80 | (random & 0xffff_ffff_ffff) << 32 | bits),
                ("6to4", 0x2002 << 112 | bits << 80 | random),
                ("Teredo", 0x2001 << 112 | random << 32 | u128::from(!inner.to_bits())),
                ("ISATAP", random << 64 | isatap << 32 | bits),
            ] {
                let address = IpAddr::V6(Ipv6Addr::from_bits(address));
                prop_assert_ne!(classify(address), Class::Public, "{} {}", form, address);
                prop_assert!(permitted(address, &[]).is_err());
                let own_form_alone = [IpNet::from(address)];
                prop_assert!(
                    form == "mapped" || form == "ISATAP" || permitted(address, &own_form_alone).is_err(),
                    "{} {}", form, address
                );
            }
        }

        #[test]
        fn a_public_ipv6_address_is_global_unicast_and_carries_nothing(bits in any::<u128>()) {
            let address = Ipv6Addr::from_bits(bits);
            if classify(IpAddr::V6(address)) == Class::Public {
                prop_assert_eq!(address.segments()[0] >> 13, 1);
                prop_assert_eq!(carried_by(IpAddr::V6(address)), None);
            }
        }
    }
}
