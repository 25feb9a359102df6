//! Certification authorities, providers and name servers for one test each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use ipnet::IpNet;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tidegate_wire::dial::resolve::Settings;
use tidegate_wire::dial::tls::{ClientIdentity, Declared, TlsPolicy};
use tidegate_wire::dial::{DialError, Dialled, Dialler, Target, Whose};
use tidegate_wire::origin::Origin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

/// `resolver.timeout_ms` of a name server's diallers.
pub const TIME_LIMIT_MS: u64 = 500;
pub const HOST: &str = "api.provider.test";

/// A certification authority of the test's own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a server presents.
pub struct Presented {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: KeyPair,
}

pub fn authority_params(name: &str) -> CertificateParams {
    let mut params = named(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Parameters of a certificate with a common name, and alternative names that may be addresses.
pub fn named(common_name: &str, alternative_names: &[&str]) -> CertificateParams {
    let names: Vec<String> = alternative_names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

pub fn key() -> KeyPair {
    KeyPair::generate().expect("key")
}

impl Authority {
    pub fn new(name: &str) -> Self {
        Self { issuer: CertifiedIssuer::self_signed(authority_params(name), key()).expect("authority") }
    }

    pub fn under(&self, name: &str) -> Self {
        let issuer =
            CertifiedIssuer::signed_by(authority_params(name), key(), &self.issuer).expect("authority");
        Self { issuer }
    }

    pub fn issue(&self, params: &CertificateParams) -> Presented {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        Presented { chain: vec![certificate.der().clone()], key }
    }

    pub fn issue_for(&self, name: &str) -> Presented {
        self.issue(&named("a provider", &[name]))
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn pin(&self) -> String {
        pin_of(self.issuer.key())
    }

    /// A policy that trusts this authority and no other.
    pub fn policy(&self) -> TlsPolicy {
        self.policy_with(Declared::default())
    }

    pub fn policy_with(&self, declared: Declared) -> TlsPolicy {
        TlsPolicy::try_from(Declared { ca_pem: Some(self.pem()), ..declared }).expect("policy")
    }

    pub fn pinned(&self, pins: &[String]) -> TlsPolicy {
        self.policy_with(Declared { pins: pins.to_vec(), ..Declared::default() })
    }

    pub fn identity(&self, name: &str) -> ClientIdentity {
        let key = key();
        let certificate = named(name, &[]).signed_by(&key, &self.issuer).expect("certificate");
        ClientIdentity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
            .expect("identity")
    }
}

pub fn pin_of(key: &KeyPair) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.subject_public_key_info());
    format!("sha256/{}", BASE64.encode(digest))
}

impl Presented {
    pub fn through(mut self, intermediate: &Authority) -> Self {
        self.chain.push(intermediate.certificate());
        self
    }

    pub fn config(self) -> ServerConfig {
        self.config_for(rustls::ALL_VERSIONS, None)
    }

    pub fn config_for(
        self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> ServerConfig {
        let crypto = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&crypto))
            .with_protocol_versions(versions)
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate()).expect("root");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto).build();
                builder.with_client_cert_verifier(verifier.expect("verifier"))
            }
        };
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("key");
        builder.with_single_cert(self.chain, key).expect("certificate")
    }
}

/// A provider on loopback that counts what reaches it.
pub struct Provider {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
}

#[derive(Default)]
pub struct Seen {
    /// Bytes of the application: what a credential would be among.
    pub application_bytes: AtomicUsize,
    pub handshakes: Mutex<Vec<Handshake>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Handshake {
    pub resumed: bool,
    pub client: Option<CertificateDer<'static>>,
}

impl Seen {
    pub fn application_bytes(&self) -> usize {
        self.application_bytes.load(Ordering::SeqCst)
    }

    pub fn handshakes(&self) -> Vec<Handshake> {
        self.handshakes.lock().expect("handshakes").clone()
    }
}

impl Provider {
    /// Greets each verified connection with `hello`, then reads to the end.
    pub async fn start(config: ServerConfig) -> Self {
        let listener = listen(Ipv4Addr::LOCALHOST.into(), 0).await;
        let address = listener.local_addr().expect("address");
        let seen = Arc::new(Seen::default());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let session = stream.get_ref().1;
                    seen.handshakes.lock().expect("handshakes").push(Handshake {
                        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
                        client: session.peer_certificates().and_then(<[_]>::first).cloned(),
                    });
                    let mut buffer = [0; 1024];
                    let _ = stream.write_all(b"hello").await;
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        seen.application_bytes.fetch_add(count, Ordering::SeqCst);
                    }
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { address, seen }
    }

    pub fn origin(&self, host: &str) -> Origin {
        origin(&format!("https://{host}:{}", self.address.port()))
    }
}

/// A listener that only counts who comes.
pub struct Sink {
    pub address: SocketAddr,
    hits: Arc<AtomicUsize>,
}

impl Sink {
    pub async fn at(ip: IpAddr, port: u16) -> Self {
        let listener = listen(ip, port).await;
        let address = listener.local_addr().expect("address");
        let hits = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&hits);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, hits }
    }

    pub async fn start() -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), 0).await
    }

    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

pub async fn listen(ip: IpAddr, port: u16) -> TcpListener {
    TcpListener::bind((ip, port)).await.expect("a free port")
}

/// What the name server says to one question.
#[derive(Clone, Debug)]
pub enum Reply {
    Addresses(Vec<IpAddr>, u32),
    /// No answer to AAAA questions.
    V4Alone(Vec<IpAddr>),
    Alias(&'static str, Vec<IpAddr>),
    NoSuchName,
    Silence,
}

/// A DNS server on a loopback UDP port.
pub struct NameServer {
    pub address: SocketAddr,
    pub questions: Arc<AtomicUsize>,
}

impl NameServer {
    /// `reply` is asked with the name (no final dot) for each A question; AAAA questions get those of its
    /// addresses that are IPv6 and do not count.
    pub async fn start(reply: impl Fn(&str, usize) -> Reply + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("socket");
        let address = socket.local_addr().expect("address");
        let questions = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&questions);
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).expect("question");
                let wanted = question.queries()[0].query_type();
                let number = match wanted {
                    RecordType::A => counter.fetch_add(1, Ordering::SeqCst),
                    _ => counter.load(Ordering::SeqCst),
                };
                let name = question.queries()[0].name().to_ascii();
                if let Some(answer) = answer(&question, reply(name.trim_end_matches('.'), number)) {
                    let _ = socket.send_to(&answer.to_vec().expect("answer"), from).await;
                }
            }
        });
        Self { address, questions }
    }

    pub fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    pub fn dialler(&self) -> Dialler {
        let settings =
            Settings { servers: vec![self.address], timeout_ms: TIME_LIMIT_MS, ..Settings::default() };
        Dialler::new(settings, Vec::new())
    }
}

fn answer(question: &Message, reply: Reply) -> Option<Message> {
    let query = question.queries()[0].clone();
    let mut name = query.name().clone();
    let mut message = Message::new();
    message.set_id(question.id()).set_message_type(MessageType::Response).set_recursion_available(true);
    let (addresses, ttl) = match reply {
        Reply::Silence => return None,
        Reply::V4Alone(_) if query.query_type() == RecordType::AAAA => return None,
        Reply::NoSuchName => {
            message.set_response_code(ResponseCode::NXDomain);
            (Vec::new(), 0)
        }
        Reply::Addresses(addresses, ttl) => (addresses, ttl),
        Reply::V4Alone(addresses) => (addresses, 60),
        Reply::Alias(target, addresses) => {
            let target = Name::from_ascii(target).expect("name");
            let alias = RData::CNAME(hickory_resolver::proto::rr::rdata::CNAME(target.clone()));
            message.add_answer(Record::from_rdata(name, 60, alias));
            name = target;
            (addresses, 60)
        }
    };
    for address in addresses {
        let data = RData::from(address);
        if data.record_type() == query.query_type() {
            message.add_answer(Record::from_rdata(name.clone(), ttl, data));
        }
    }
    message.add_query(query);
    Some(message)
}

pub fn origin(text: &str) -> Origin {
    Origin::parse(text).expect(text)
}

pub fn ranges(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect(text)).collect()
}

/// A dialler for which every test name lies where the test says.
pub fn dialler(hosts: &[(&str, &[&str])]) -> Dialler {
    let hosts = hosts
        .iter()
        .map(|(name, addresses)| {
            let addresses = addresses.iter().map(|address| address.parse().expect(address)).collect();
            ((*name).to_owned(), addresses)
        })
        .collect();
    Dialler::new(Settings { hosts, ..Settings::default() }, Vec::new())
}

/// A dialler for which `HOST` is loopback.
pub fn loopback_dialler() -> Dialler {
    dialler(&[(HOST, &["127.0.0.1"])])
}

/// Dial with all of loopback declared.
pub async fn dial(dialler: &Dialler, origin: &Origin, tls: &TlsPolicy) -> Result<Dialled, DialError> {
    dial_as(dialler, origin, tls, &Whose::Once, None).await
}

pub async fn dial_as(
    dialler: &Dialler,
    origin: &Origin,
    tls: &TlsPolicy,
    whose: &Whose,
    identity: Option<&ClientIdentity>,
) -> Result<Dialled, DialError> {
    let allow_private = ranges(&["127.0.0.0/8"]);
    let timeout = Duration::from_secs(5);
    dialler.dial(&Target { origin, whose, allow_private: &allow_private, tls, identity, timeout }).await
}
