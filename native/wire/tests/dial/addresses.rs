//! Where a call may go, and where it never arrives.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tidegate_wire::dial::resolve::Settings;
use tidegate_wire::dial::tls::TlsPolicy;
use tidegate_wire::dial::{DialCode, DialError, Dialled, Dialler, Stream, Target, Whose};
use tidegate_wire::origin::Origin;

use crate::support::{HOST, Sink, dial, dialler, listen, loopback_dialler, origin, ranges};

async fn dial_within(
    dialler: &Dialler,
    origin: &Origin,
    allow_private: &[IpNet],
) -> Result<Dialled, DialError> {
    let (tls, timeout) = (TlsPolicy::default(), Duration::from_secs(2));
    dialler
        .dial(&Target { origin, whose: &Whose::Once, allow_private, tls: &tls, identity: None, timeout })
        .await
}

async fn prohibited(dialler: &Dialler, origin: &Origin, allow_private: &[IpNet]) -> &'static str {
    let error = dial_within(dialler, origin, allow_private).await.expect_err("refusal");
    assert_eq!(error.code, DialCode::DestinationProhibited, "{error}");
    error.reason
}

/// Ways of writing loopback, metadata and other inward addresses, gathered from attacks on URL fetchers.
const INWARD: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "127.127.127.127",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "0x7f.1",
    "0177.0.0.1",
    "0177.1",
    "00000177.0.0.1",
    "127.0.0.1.",
    "127.000.000.001",
    "%31%32%37.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "\u{2460}27.0.0.1",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:c000:201::80ff:fffe]",
    "[2606:4700::5efe:127.0.0.1]",
    "[fe80::1]",
    "[fe80::1%lo]",
    "[fe80::1%25lo]",
    "[::1%lo]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "100.100.100.200",
    "168.63.129.16",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "localhost",
    "a@127.0.0.1",
    "api.example@127.0.0.1",
    "127.0.0.1#api.example",
    "127.0.0.1\\@api.example",
    "api.example%00.127.0.0.1",
];

#[tokio::test]
async fn no_way_of_writing_an_inward_address_reaches_it() {
    let v4 = Sink::start().await;
    let v6 = Sink::at(Ipv6Addr::LOCALHOST.into(), v4.address.port()).await;
    let dialler = dialler(&[("localhost", &["127.0.0.1"])]);
    for spelling in INWARD {
        for scheme in ["http", "https"] {
            let Ok(origin) = Origin::parse(&format!("{scheme}://{spelling}:{}", v4.address.port())) else {
                continue;
            };
            let error = dial_within(&dialler, &origin, &[]).await.expect_err(spelling);
            assert_eq!(error.code, DialCode::DestinationProhibited, "{spelling}: {error}");
        }
    }
    assert_eq!((v4.hits(), v6.hits()), (0, 0));
}

#[tokio::test]
async fn one_prohibited_address_condemns_the_host() {
    let sink = Sink::start().await;
    let origin = origin(&format!("http://{HOST}:{}", sink.address.port()));
    let loopback = ranges(&["127.0.0.0/8"]);
    for (addresses, expected) in [
        (&["127.0.0.1", "10.0.0.1"], "private"),
        (&["10.0.0.1", "127.0.0.1"], "private"),
        (&["127.0.0.1", "::1"], "loopback"),
        (&["127.0.0.1", "169.254.169.254"], "cloud metadata"),
        (&["127.0.0.1", "64:ff9b::7f00:1"], "loopback"),
        (&["127.0.0.1", "8.8.8.8"], "plaintext"),
    ] {
        let dialler = dialler(&[(HOST, addresses)]);
        assert_eq!(prohibited(&dialler, &origin, &loopback).await, expected);
    }
    assert_eq!(sink.hits(), 0);
}

#[tokio::test]
async fn plaintext_goes_only_where_a_declaration_says() {
    let sink = Sink::start().await;
    let at = |host: &str| origin(&format!("http://{host}:{}", sink.address.port()));
    let public = dialler(&[(HOST, &["8.8.8.8"])]);
    assert_eq!(prohibited(&public, &at(HOST), &[]).await, "plaintext");
    assert_eq!(prohibited(&public, &at("8.8.8.8"), &[]).await, "plaintext");
    assert_eq!(prohibited(&loopback_dialler(), &at(HOST), &[]).await, "loopback");
    let dialled =
        dial_within(&loopback_dialler(), &at(HOST), &ranges(&["127.0.0.1/32"])).await.expect("connection");
    assert!(matches!(dialled.stream, Stream::Plain(_)));
    assert_eq!((dialled.facts.tls_version, dialled.facts.h2), (None, false));
    assert_eq!(dialled.facts.address, sink.address);
}

#[tokio::test]
async fn metadata_is_refused_although_its_range_is_declared() {
    let wide = ranges(&["0.0.0.0/0", "::/0"]);
    for host in ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "[::ffff:169.254.169.254]"] {
        let origin = origin(&format!("http://{host}"));
        assert_eq!(prohibited(&loopback_dialler(), &origin, &wide).await, "cloud metadata");
    }
}

#[tokio::test]
async fn no_call_comes_back_to_our_own_listener() {
    let own = Sink::start().await;
    let port = own.address.port();
    let everywhere = ranges(&["127.0.0.0/8", "::1/128"]);
    let hosts = [(HOST.to_owned(), vec![Ipv4Addr::LOCALHOST.into()])];
    let settings = Settings { hosts: hosts.into(), ..Settings::default() };
    let at_loopback = Dialler::new(settings.clone(), vec![own.address]);
    for host in [HOST, "127.0.0.1", "[::ffff:127.0.0.1]"] {
        let origin = origin(&format!("http://{host}:{port}"));
        assert_eq!(prohibited(&at_loopback, &origin, &everywhere).await, "own_listener");
    }
    for any in
        [SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))]
    {
        let at_all_addresses = Dialler::new(settings.clone(), vec![any]);
        for host in [HOST, "127.0.0.1", "127.0.0.2", "[::1]"] {
            let origin = origin(&format!("http://{host}:{port}"));
            assert_eq!(prohibited(&at_all_addresses, &origin, &everywhere).await, "own_listener");
        }
    }
    assert_eq!(own.hits(), 0);
    let elsewhere = Sink::start().await;
    let origin = origin(&format!("http://{HOST}:{}", elsewhere.address.port()));
    dial_within(&at_loopback, &origin, &everywhere).await.expect("another port is another server");
}

#[tokio::test]
async fn an_address_that_refuses_gives_way_to_the_next() {
    let sink = Sink::at(Ipv4Addr::new(127, 0, 0, 3).into(), 0).await;
    let dialler = dialler(&[(HOST, &["127.0.0.1", "127.0.0.2", "127.0.0.3"])]);
    let origin = origin(&format!("http://{HOST}:{}", sink.address.port()));
    let dialled = dial(&dialler, &origin, &TlsPolicy::default()).await.expect("connection");
    assert_eq!(dialled.facts.address, sink.address);
}

#[tokio::test]
async fn a_refused_connection_is_told_from_a_prohibited_one() {
    let port = listen(Ipv4Addr::LOCALHOST.into(), 0).await.local_addr().expect("address").port();
    let origin = origin(&format!("http://{HOST}:{port}"));
    let error = dial(&loopback_dialler(), &origin, &TlsPolicy::default()).await.expect_err("nobody listens");
    assert_eq!((error.code, error.reason), (DialCode::ProviderUnreachable, "connection_refused"));
    assert_eq!(error.detail, format!("connection_refused: `{HOST}` port {port} at 127.0.0.1"));
}
