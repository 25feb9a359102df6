//! What a provider must prove, and what happens when it cannot.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use tidegate_wire::dial::tls::{Declared, HttpVersions, MinVersion, TlsPolicy};
use tidegate_wire::dial::{DialCode, Stream, Target, Whose};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    Authority, HOST, Presented, Provider, dial, dial_as, key, listen, loopback_dialler, named, origin,
    pin_of, ranges,
};

/// Dial `host` at a provider that presents this; expect the refusal's word, and silence on the wire.
async fn refused(presented: Presented, host: &str, policy: &TlsPolicy) -> &'static str {
    let provider = Provider::start(presented.config()).await;
    let error = dial(&loopback_dialler(), &provider.origin(host), policy).await.expect_err("refusal");
    assert_eq!(error.code, DialCode::TlsFailed, "{error}");
    assert_eq!(provider.seen.application_bytes(), 0);
    error.reason
}

async fn accepted(presented: Presented, host: &str, policy: &TlsPolicy) {
    let provider = Provider::start(presented.config()).await;
    dial(&loopback_dialler(), &provider.origin(host), policy).await.expect("connection");
}

fn with(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = named("a provider", &[HOST]);
    change(&mut params);
    params
}

#[tokio::test]
async fn a_proven_connection_carries_bytes_and_says_how_it_was_proven() {
    let authority = Authority::new("root");
    let mut config = authority.issue_for(HOST).config();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let provider = Provider::start(config).await;
    let mut dialled =
        dial(&loopback_dialler(), &provider.origin(HOST), &authority.policy()).await.expect("connection");
    let facts = dialled.facts;
    assert_eq!(facts.address, provider.address);
    assert_eq!((facts.tls_version, facts.tls_group), (Some("1.3"), Some("X25519MLKEM768")));
    assert!(facts.h2);
    let mut hello = [0; 5];
    dialled.stream.read_exact(&mut hello).await.expect("bytes");
    assert_eq!(&hello, b"hello");
    dialled.stream.write_all(b"question").await.expect("bytes");
    dialled.stream.shutdown().await.expect("end");
    assert_eq!(dialled.stream.read(&mut hello).await.expect("clean end"), 0);
    assert_eq!(provider.seen.application_bytes(), 8);
}

#[tokio::test]
async fn bad_certificates_are_refused_before_any_byte_of_the_call() {
    let authority = Authority::new("root");
    let policy = authority.policy();
    let expired = with(|params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let not_yet = with(|params| params.not_before = date_time_ymd(4000, 1, 1));
    let for_clients = with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let of_an_authority = with(|params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    for (params, expected) in [
        (expired, "expired"),
        (not_yet, "not_valid_yet"),
        (for_clients, "wrong_purpose"),
        (of_an_authority, "self_signed"),
        (named("a provider", &["other.provider.test"]), "name_mismatch"),
    ] {
        assert_eq!(refused(authority.issue(&params), HOST, &policy).await, expected);
    }
}

#[tokio::test]
async fn certificates_of_unknown_issuers_are_refused() {
    let policy = Authority::new("root").policy();
    let stranger = Authority::new("stranger");
    assert_eq!(refused(stranger.issue_for(HOST), HOST, &policy).await, "unknown_issuer");
    // A chain that brings its own root along proves nothing.
    assert_eq!(refused(stranger.issue_for(HOST).through(&stranger), HOST, &policy).await, "unknown_issuer");
    // Nor does one that only bears the root's name.
    let namesake = Authority::new("root");
    assert_eq!(refused(namesake.issue_for(HOST), HOST, &policy).await, "bad_signature");
    let key = key();
    let certificate = named("a provider", &[HOST]).self_signed(&key).expect("certificate");
    let self_signed = Presented { chain: vec![certificate.der().clone()], key };
    assert_eq!(refused(self_signed, HOST, &policy).await, "unknown_issuer");
    assert_eq!(refused(stranger.issue_for(HOST), HOST, &TlsPolicy::default()).await, "unknown_issuer");
}

#[tokio::test]
async fn an_authority_vouches_only_for_the_provider_that_declares_it() {
    let (a, b) = (Authority::new("of a"), Authority::new("of b"));
    let at_b = Provider::start(b.issue_for(HOST).config()).await;
    let dialler = loopback_dialler();
    dial(&dialler, &at_b.origin(HOST), &b.policy()).await.expect("connection");
    let error = dial(&dialler, &at_b.origin(HOST), &a.policy()).await.expect_err("refusal");
    assert_eq!(error.reason, "unknown_issuer");
}

#[tokio::test]
async fn names_are_matched_as_rfc_6125_says() {
    let authority = Authority::new("root");
    let policy = authority.policy();
    let host_is_an_address = "127.0.0.1";
    accepted(authority.issue_for("127.0.0.1"), host_is_an_address, &policy).await;
    accepted(authority.issue_for("*.provider.test"), HOST, &policy).await;
    for (certificate, host) in [
        (named("127.0.0.1", &[HOST]), "127.0.0.1"),
        (named("a provider", &["127.0.0.2"]), "127.0.0.1"),
        (named("a provider", &["*.test"]), HOST),
        (named("a provider", &["provider.test"]), HOST),
    ] {
        assert_eq!(refused(authority.issue(&certificate), host, &policy).await, "name_mismatch");
    }
    // A common name is no name, with or without others beside it.
    assert_eq!(refused(authority.issue(&named(HOST, &[])), HOST, &policy).await, "name_mismatch");
    assert_eq!(refused(authority.issue(&named(HOST, &["x.test"])), HOST, &policy).await, "name_mismatch");
}

#[tokio::test]
async fn internationalised_names_are_matched_in_ascii() {
    let authority = Authority::new("root");
    let idn = "xn--bcher-kva.provider.test";
    let provider = Provider::start(authority.issue_for(idn).config()).await;
    let dialler = crate::support::dialler(&[(idn, &["127.0.0.1"])]);
    dial(&dialler, &provider.origin(idn), &authority.policy()).await.expect("connection");
}

#[tokio::test]
async fn a_pin_must_lie_on_the_verified_path() {
    let root = Authority::new("root");
    let intermediate = root.under("intermediate");
    let unrelated = Authority::new("unrelated");
    let presented = intermediate.issue_for(HOST).through(&intermediate).through(&unrelated);
    let leaf_pin = pin_of(&presented.key);
    let provider = Provider::start(presented.config()).await;
    let dialler = loopback_dialler();
    let other = pin_of(&key());
    for pins in [
        vec![leaf_pin.clone()],
        vec![intermediate.pin()],
        vec![root.pin()],
        vec![other.clone(), leaf_pin.clone()],
    ] {
        dial(&dialler, &provider.origin(HOST), &root.pinned(&pins)).await.expect("connection");
    }
    // The last is presented, and yet signs nothing of what is proven.
    for pins in [vec![other], vec![unrelated.pin()]] {
        let error = dial(&dialler, &provider.origin(HOST), &root.pinned(&pins)).await.expect_err("refusal");
        assert_eq!((error.code, error.reason), (DialCode::TlsFailed, "pin_mismatch"));
    }
    // A pin never stands in for an authority.
    let error =
        dial(&dialler, &provider.origin(HOST), &unrelated.pinned(&[leaf_pin])).await.expect_err("refusal");
    assert_eq!(error.reason, "unknown_issuer");
}

#[tokio::test]
async fn a_chain_beyond_ten_certificates_is_refused_unread() {
    let authority = Authority::new("root");
    let chain_of = |count: usize| {
        let filler = Authority::new("root");
        (1..count).fold(authority.issue_for(HOST), |presented, _| presented.through(&filler))
    };
    accepted(chain_of(10), HOST, &authority.policy()).await;
    assert_eq!(refused(chain_of(11), HOST, &authority.policy()).await, "chain_too_long");
}

#[tokio::test]
async fn the_least_version_is_kept() {
    let authority = Authority::new("root");
    let provider = Provider::start(authority.issue_for(HOST).config_for(&[&TLS12], None)).await;
    let dialler = loopback_dialler();
    let dialled = dial(&dialler, &provider.origin(HOST), &authority.policy()).await.expect("connection");
    assert_eq!(dialled.facts.tls_version, Some("1.2"));
    let only_1_3 = authority.policy_with(Declared { min_version: MinVersion::Tls13, ..Declared::default() });
    let error = dial(&dialler, &provider.origin(HOST), &only_1_3).await.expect_err("refusal");
    assert_eq!((error.code, error.reason), (DialCode::TlsFailed, "protocol_version"));
}

/// A server hello without extensions, as servers of old send it.
fn server_hello(version: [u8; 2], cipher_suite: [u8; 2]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(cipher_suite);
    body.push(0);
    let mut record =
        vec![22, version[0], version[1], 0, u8::try_from(body.len() + 4).expect("short"), 2, 0, 0];
    record.push(u8::try_from(body.len()).expect("short"));
    record.extend(body);
    record
}

#[tokio::test]
async fn old_versions_and_broken_ciphers_are_refused() {
    const ECDHE_AES: [u8; 2] = [0xc0, 0x2f];
    let alert = |description| vec![21, 3, 3, 0, 2, 2, description];
    for (what, answer, expected) in [
        ("SSL 3.0", server_hello([3, 0], ECDHE_AES), "protocol_version"),
        ("TLS 1.0", server_hello([3, 1], ECDHE_AES), "protocol_version"),
        ("TLS 1.1", server_hello([3, 2], ECDHE_AES), "protocol_version"),
        ("null cipher", server_hello([3, 3], [0x00, 0x02]), "handshake_failure"),
        ("RC4", server_hello([3, 3], [0x00, 0x05]), "handshake_failure"),
        ("3DES", server_hello([3, 3], [0x00, 0x0a]), "handshake_failure"),
        ("static RSA", server_hello([3, 3], [0x00, 0x9c]), "handshake_failure"),
        ("finite-field DH", server_hello([3, 3], [0x00, 0x9e]), "handshake_failure"),
        ("alert: protocol version", alert(70), "protocol_version"),
        ("alert: handshake failure", alert(40), "handshake_failure"),
        ("alert: unknown name", alert(112), "unrecognised_name"),
        ("no TLS at all", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "not_tls"),
        ("nothing", Vec::new(), "connection_closed"),
    ] {
        let listener = listen(Ipv4Addr::LOCALHOST.into(), 0).await;
        let port = listener.local_addr().expect("address").port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("connection");
            let mut hello = vec![0; 4096];
            let _ = stream.read(&mut hello).await.expect("hello");
            stream.write_all(&answer).await.expect("answer");
            stream.shutdown().await.expect("end");
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            rest
        });
        let origin = origin(&format!("https://{HOST}:{port}"));
        let error = dial(&loopback_dialler(), &origin, &TlsPolicy::default()).await.expect_err(what);
        assert_eq!((error.code, error.reason), (DialCode::TlsFailed, expected), "{what}");
        let after_hello = server.await.expect("server");
        assert!(after_hello.is_empty() || after_hello[0] == 21, "{what}: more than an alert followed");
    }
}

#[tokio::test]
async fn an_end_without_close_notify_is_an_error() {
    let authority = Authority::new("root");
    let config = std::sync::Arc::new(authority.issue_for(HOST).config());
    let listener = listen(Ipv4Addr::LOCALHOST.into(), 0).await;
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("connection");
        let mut stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.expect("handshake");
        stream.write_all(b"half of it").await.expect("bytes");
        stream.flush().await.expect("bytes");
        stream.get_mut().0.shutdown().await.expect("cut");
    });
    let origin = origin(&format!("https://{HOST}:{port}"));
    let mut dialled = dial(&loopback_dialler(), &origin, &authority.policy()).await.expect("connection");
    let mut body = Vec::new();
    let error = dialled.stream.read_to_end(&mut body).await.expect_err("a cut is no end");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(body, b"half of it");
}

#[tokio::test]
async fn http_versions_are_agreed_and_never_assumed() {
    let authority = Authority::new("root");
    let policy = |http| {
        let mut policy = authority.policy();
        policy.http = http;
        policy
    };
    let speaking = |protocols: &[&[u8]]| {
        let mut config = authority.issue_for(HOST).config();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config
    };
    for (offered, http, expected) in [
        (&[b"h2".as_slice(), b"http/1.1"] as &[&[u8]], HttpVersions::Auto, Ok(true)),
        (&[b"h2", b"http/1.1"], HttpVersions::Http1, Ok(false)),
        (&[b"http/1.1"], HttpVersions::Auto, Ok(false)),
        (&[], HttpVersions::Auto, Ok(false)),
        (&[b"h2"], HttpVersions::Http2, Ok(true)),
        (&[b"http/1.1"], HttpVersions::Http2, Err("no_application_protocol")),
        (&[], HttpVersions::Http2, Err("no_application_protocol")),
    ] {
        let provider = Provider::start(speaking(offered)).await;
        let dialled = dial(&loopback_dialler(), &provider.origin(HOST), &policy(http)).await;
        assert_eq!(dialled.map(|dialled| dialled.facts.h2).map_err(|error| error.reason), expected);
    }
}

/// Dial once and read the greeting, so that the session's ticket has arrived.
async fn greet(
    dialler: &tidegate_wire::dial::Dialler,
    provider: &Provider,
    policy: &TlsPolicy,
    whose: &Whose,
    identity: Option<&tidegate_wire::dial::tls::ClientIdentity>,
) {
    let mut dialled =
        dial_as(dialler, &provider.origin(HOST), policy, whose, identity).await.expect("connection");
    let mut hello = [0; 5];
    dialled.stream.read_exact(&mut hello).await.expect("bytes");
    assert!(matches!(dialled.stream, Stream::Tls(_)));
}

fn of(connection: &str) -> Whose {
    Whose::Connection(connection.into(), 1)
}

#[tokio::test]
async fn sessions_go_on_for_whom_they_began_and_for_nobody_else() {
    let client =
        |provider: &str, client: &str| Whose::Client { provider: provider.into(), client: client.into() };
    let callers = [
        of("con_acme"),
        of("con_globex"),
        Whose::Connection("con_acme".into(), 2),
        client("shop", "acme"),
        client("shop", "globex"),
        client("bank", "acme"),
        Whose::Once,
    ];
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new("root");
        let provider = Provider::start(authority.issue_for(HOST).config_for(&[version], None)).await;
        let dialler = loopback_dialler();
        for whose in callers.iter().chain(&callers) {
            greet(&dialler, &provider, &authority.policy(), whose, None).await;
        }
        let resumed: Vec<_> = provider.seen.handshakes().iter().map(|handshake| handshake.resumed).collect();
        assert_eq!(resumed[..callers.len()], [false; 7]);
        assert_eq!(resumed[callers.len()..], [true, true, true, true, true, true, false]);
    }
}

#[tokio::test]
async fn sessions_are_resumed_within_a_policy_and_never_across() {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new("root");
        let presented = authority.issue_for(HOST);
        let pinned = authority.pinned(&[pin_of(&presented.key)]);
        let provider = Provider::start(presented.config_for(&[version], None)).await;
        let dialler = loopback_dialler();
        for policy in [&authority.policy(), &authority.policy(), &pinned, &pinned] {
            greet(&dialler, &provider, policy, &of("con_acme"), None).await;
        }
        let resumed: Vec<_> = provider.seen.handshakes().iter().map(|handshake| handshake.resumed).collect();
        assert_eq!(resumed, [false, true, false, true]);
    }
}

#[tokio::test]
async fn sessions_never_cross_client_identities() {
    let authority = Authority::new("root");
    let clients = Authority::new("clients");
    for version in [&TLS12, &TLS13] {
        let config = authority.issue_for(HOST).config_for(&[version], Some(&clients));
        let provider = Provider::start(config).await;
        let (acme, globex) = (clients.identity("acme"), clients.identity("globex"));
        let dialler = loopback_dialler();
        let policy = authority.policy();
        for (name, identity) in [("acme", &acme), ("globex", &globex), ("acme", &acme), ("globex", &globex)] {
            greet(&dialler, &provider, &policy, &of(name), Some(identity)).await;
        }
        let seen = provider.seen.handshakes();
        let resumed: Vec<_> = seen.iter().map(|handshake| handshake.resumed).collect();
        assert_eq!(resumed, [false, false, true, true]);
        assert_ne!(seen[0].client, seen[1].client);
        assert_eq!((&seen[0].client, &seen[1].client), (&seen[2].client, &seen[3].client));

        // Taken back, an identity leaves no session behind.
        dialler.forget("acme");
        greet(&dialler, &provider, &policy, &of("acme"), Some(&acme)).await;
        assert!(!provider.seen.handshakes()[4].resumed);
    }
}

#[tokio::test]
async fn a_silent_handshake_ends_at_the_deadline() {
    let listener = listen(Ipv4Addr::LOCALHOST.into(), 0).await;
    let origin = origin(&format!("https://127.0.0.1:{}", listener.local_addr().expect("address").port()));
    let allow_private = ranges(&["127.0.0.0/8"]);
    let tls = TlsPolicy::default();
    let timeout = Duration::from_millis(100);
    let target = Target {
        origin: &origin,
        whose: &Whose::Once,
        allow_private: &allow_private,
        tls: &tls,
        identity: None,
        timeout,
    };
    let started = std::time::Instant::now();
    let error = loopback_dialler().dial(&target).await.expect_err("timeout");
    assert_eq!((error.code, error.reason), (DialCode::Timeout, "tls_timeout"));
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn the_environment_has_no_effect() {
    let scratch = std::env::temp_dir().join(format!("tidegate-dial-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("folder");
    let status = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "tls::under_a_hostile_environment", "--ignored", "--quiet"])
        .env("TIDEGATE_DIAL_SCRATCH", &scratch)
        .env("SSL_CERT_FILE", scratch.join("ca.pem"))
        .env("SSL_CERT_DIR", &scratch)
        .env("SSLKEYLOGFILE", scratch.join("keys.log"))
        .envs(
            ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"]
                .map(|name| (name, "http://127.0.0.1:9")),
        )
        .status();
    let keys_logged = scratch.join("keys.log").exists();
    std::fs::remove_dir_all(&scratch).expect("folder");
    assert!(status.expect("run").success());
    assert!(!keys_logged);
}

#[tokio::test]
#[ignore = "run by the_environment_has_no_effect, in a process whose environment is set against it"]
async fn under_a_hostile_environment() {
    let scratch =
        std::path::PathBuf::from(std::env::var_os("TIDEGATE_DIAL_SCRATCH").expect("set by the parent"));
    let authority = Authority::new("root");
    std::fs::write(scratch.join("ca.pem"), authority.pem()).expect("file");
    let provider = Provider::start(authority.issue_for(HOST).config()).await;
    let dialler = loopback_dialler();
    dial(&dialler, &provider.origin(HOST), &authority.policy()).await.expect("connection, past no proxy");
    let error = dial(&dialler, &provider.origin(HOST), &TlsPolicy::default()).await.expect_err("refusal");
    assert_eq!(error.reason, "unknown_issuer");
}
