//! Names: slow, absent, lying and changing.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use tidegate_wire::dial::tls::TlsPolicy;
use tidegate_wire::dial::{DialCode, Target, Whose};

use crate::support::{HOST, NameServer, Reply, Sink, TIME_LIMIT_MS, dial, origin, ranges};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OTHER_LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[tokio::test]
async fn a_rebinding_name_never_reaches_the_prohibited_address() {
    let allowed = Sink::start().await;
    let prohibited = Sink::at(OTHER_LOOPBACK, allowed.address.port()).await;
    let names = NameServer::start(|_, number| {
        Reply::Addresses(vec![if number % 2 == 0 { LOOPBACK } else { OTHER_LOOPBACK }], 0)
    })
    .await;
    let dialler = names.dialler();
    let origin = origin(&format!("http://{HOST}:{}", allowed.address.port()));
    let (tls, allow_private) = (TlsPolicy::default(), ranges(&["127.0.0.1/32"]));
    let timeout = Duration::from_secs(2);
    let target = Target {
        origin: &origin,
        whose: &Whose::Once,
        allow_private: &allow_private,
        tls: &tls,
        identity: None,
        timeout,
    };
    let mut refused = 0;
    for _ in 0..1_000 {
        match dialler.dial(&target).await {
            Ok(dialled) => assert_eq!(dialled.facts.address, allowed.address),
            Err(error) => {
                assert_eq!((error.code, error.reason), (DialCode::DestinationProhibited, "loopback"));
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 500);
    assert_eq!(prohibited.hits(), 0);
}

#[tokio::test]
async fn answers_are_judged_together_whatever_their_kind() {
    let sink = Sink::start().await;
    let origin = origin(&format!("http://{HOST}:{}", sink.address.port()));
    let inward: IpAddr = "10.0.0.1".parse().expect("address");
    let mapped_metadata: IpAddr = "::ffff:169.254.169.254".parse().expect("address");
    for (reply, expected) in [
        (Reply::Addresses(vec![LOOPBACK, inward], 60), "private"),
        (Reply::Addresses(vec![LOOPBACK, mapped_metadata], 60), "cloud metadata"),
        (Reply::Alias("inward.provider.test.", vec![LOOPBACK, inward]), "private"),
    ] {
        let names = NameServer::start(move |_, _| reply.clone()).await;
        let error = dial(&names.dialler(), &origin, &TlsPolicy::default()).await.expect_err("refusal");
        assert_eq!((error.code, error.reason), (DialCode::DestinationProhibited, expected));
    }
    assert_eq!(sink.hits(), 0);
}

#[tokio::test]
async fn a_silent_name_server_costs_its_time_limit_and_holds_up_nobody_else() {
    let sink = Sink::start().await;
    let names = NameServer::start(|name, _| match name {
        HOST => Reply::Addresses(vec![LOOPBACK], 60),
        _ => Reply::Silence,
    })
    .await;
    let dialler = names.dialler();
    let silent = origin("https://silent.provider.test");
    let answered = origin(&format!("http://{HOST}:{}", sink.address.port()));
    let tls = TlsPolicy::default();
    let started = Instant::now();
    let (slow, quick) = tokio::join!(dial(&dialler, &silent, &tls), async {
        dial(&dialler, &answered, &tls).await.expect("connection");
        started.elapsed()
    });
    let error = slow.expect_err("no answer");
    assert_eq!((error.code, error.reason), (DialCode::ProviderUnreachable, "dns_timeout"));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(quick < Duration::from_millis(TIME_LIMIT_MS), "{quick:?}");
}

#[tokio::test]
async fn a_name_server_that_drops_aaaa_questions_delays_and_does_not_void_the_answer() {
    let sink = Sink::start().await;
    let names = NameServer::start(|_, _| Reply::V4Alone(vec![LOOPBACK])).await;
    let origin = origin(&format!("http://{HOST}:{}", sink.address.port()));
    let dialled = dial(&names.dialler(), &origin, &TlsPolicy::default()).await.expect("connection");
    assert_eq!(dialled.facts.address, sink.address);
}

#[tokio::test]
async fn a_name_without_addresses_is_unreachable() {
    for reply in [Reply::NoSuchName, Reply::Addresses(Vec::new(), 60)] {
        let names = NameServer::start(move |_, _| reply.clone()).await;
        let error = dial(&names.dialler(), &origin("https://nowhere.test"), &TlsPolicy::default()).await;
        let error = error.expect_err("no address");
        assert_eq!((error.code, error.reason), (DialCode::ProviderUnreachable, "dns_no_address"));
    }
}

#[tokio::test]
async fn answers_are_kept_as_long_as_they_say() {
    let sink = Sink::start().await;
    let origin = origin(&format!("http://{HOST}:{}", sink.address.port()));
    for (ttl, questions) in [(60, 1), (0, 3)] {
        let names = NameServer::start(move |_, _| Reply::Addresses(vec![LOOPBACK], ttl)).await;
        let dialler = names.dialler();
        for _ in 0..3 {
            dial(&dialler, &origin, &TlsPolicy::default()).await.expect("connection");
        }
        assert_eq!(names.questions(), questions, "with a TTL of {ttl}");
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_looked_up_anew() {
    let sink = Sink::at(OTHER_LOOPBACK, 0).await;
    let origin = origin(&format!("http://{HOST}:{}", sink.address.port()));
    let names = NameServer::start(|_, number| {
        Reply::Addresses(vec![if number == 0 { LOOPBACK } else { OTHER_LOOPBACK }], 60)
    })
    .await;
    let dialler = names.dialler();
    dial(&dialler, &origin, &TlsPolicy::default()).await.expect_err("nobody listens there");
    dial(&dialler, &origin, &TlsPolicy::default()).await.expect("the host has moved");
}

#[tokio::test]
async fn names_are_absolute_and_search_domains_do_not_apply() {
    let names = NameServer::start(|name, _| match name {
        "provider" => Reply::NoSuchName,
        other => panic!("`{other}` was asked for"),
    })
    .await;
    dial(&names.dialler(), &origin("https://provider"), &TlsPolicy::default()).await.expect_err("no address");
    assert_eq!(names.questions(), 1);
}
