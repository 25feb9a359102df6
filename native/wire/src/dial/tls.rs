//! Prove that the other end is the provider's origin, and hide the bytes from everyone else.
//!
//! TLS 1.2 at least, 1.3 preferred, X25519MLKEM768 offered first. Nothing here turns verification off, and
//! no environment variable is read: roots are Mozilla's or the provider's own, keys are never logged. A
//! provider's own roots replace Mozilla's for that provider alone. Sessions are resumed only within one
//! policy and for the one on whose behalf they began: a ticket would tell the provider that two clients are
//! one caller (RFC 8446 §C.4).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs as aws_lc};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, NamedGroup, OtherError,
    PeerIncompatible, ProtocolVersion, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use serde::Deserialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::KeyUsage;
use x509_parser::prelude::FromDer;
use zeroize::Zeroize;

use super::Whose;

/// A chain is the server's own certificate and what leads to a root; more only burdens path building.
const CHAIN_CERTIFICATES_MAX: usize = 10;
const CONFIGS_MAX: usize = 4_096;
pub const CERTIFICATE_REFUSED: &str = "client_certificate_refused";
/// For one connection's origins, some tickets each.
const SESSIONS_OF_ONE: usize = 64;

static MOZILLA_ROOTS: LazyLock<Arc<RootCertStore>> =
    LazyLock::new(|| Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }));

/// Which HTTP versions a provider is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum HttpVersions {
    #[default]
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "1.1")]
    Http1,
    #[serde(rename = "2")]
    Http2,
}

impl HttpVersions {
    fn alpn(self) -> Vec<Vec<u8>> {
        let offered: &[&[u8]] = match self {
            Self::Auto => &[b"h2", b"http/1.1"],
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
        };
        offered.iter().map(|protocol| protocol.to_vec()).collect()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum MinVersion {
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

impl MinVersion {
    fn offered(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls12 => vec![&rustls::version::TLS13, &rustls::version::TLS12],
            Self::Tls13 => vec![&rustls::version::TLS13],
        }
    }
}

/// A provider's `tls`, as it is written in the snapshot.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Declared {
    pub ca_pem: Option<String>,
    pub pins: Vec<String>,
    pub min_version: MinVersion,
    pub client_certificate: bool,
}

/// What a provider's TLS must prove.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Declared")]
pub struct TlsPolicy {
    pub http: HttpVersions,
    /// Whether a call needs a `ClientIdentity`.
    pub client_certificate: bool,
    min_version: MinVersion,
    roots: Arc<RootCertStore>,
    pins: Arc<[Pin]>,
    /// Of all that is declared here, so that equal policies of two snapshots share their configuration.
    fingerprint: [u8; 32],
}

/// SHA-256 of a `SubjectPublicKeyInfo`.
type Pin = [u8; 32];

/// What is wrong with a declared policy or a client certificate; never holds a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsInputError {
    #[error("`ca_pem` holds no certificate")]
    NoCertificate,
    #[error("certificate {0} of `ca_pem` cannot be read")]
    UnreadableCertificate(usize),
    #[error("pin {0} is not `sha256/` and the base64 of 32 bytes")]
    Pin(usize),
    #[error("the client certificate cannot be read")]
    ClientCertificate,
    #[error("the client certificate's key cannot be read")]
    ClientKey,
    #[error("the client certificate's key is not the certificate's")]
    ClientKeyOfAnother,
}

impl TlsPolicy {
    /// Of all that is declared, so that a connection proven under another policy is told apart.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

impl Default for TlsPolicy {
    fn default() -> Self {
        Self {
            http: HttpVersions::default(),
            client_certificate: false,
            min_version: MinVersion::default(),
            roots: Arc::clone(&MOZILLA_ROOTS),
            pins: Arc::new([]),
            fingerprint: fingerprint_of(&Declared::default()),
        }
    }
}

impl TryFrom<Declared> for TlsPolicy {
    type Error = TlsInputError;

    fn try_from(declared: Declared) -> Result<Self, Self::Error> {
        let roots = match &declared.ca_pem {
            Some(pem) => Arc::new(roots_of(pem)?),
            None => Arc::clone(&MOZILLA_ROOTS),
        };
        let pins = declared
            .pins
            .iter()
            .enumerate()
            .map(|(place, text)| parse_pin(text).ok_or(TlsInputError::Pin(place)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            http: HttpVersions::default(),
            client_certificate: declared.client_certificate,
            min_version: declared.min_version,
            roots,
            pins,
            fingerprint: fingerprint_of(&declared),
        })
    }
}

fn roots_of(pem: &str) -> Result<RootCertStore, TlsInputError> {
    let mut roots = RootCertStore::empty();
    for (place, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
        let certificate = certificate.map_err(|_| TlsInputError::UnreadableCertificate(place))?;
        roots.add(certificate).map_err(|_| TlsInputError::UnreadableCertificate(place))?;
    }
    if roots.is_empty() { Err(TlsInputError::NoCertificate) } else { Ok(roots) }
}

fn parse_pin(text: &str) -> Option<Pin> {
    BASE64.decode(text.strip_prefix("sha256/")?).ok()?.try_into().ok()
}

fn fingerprint_of(declared: &Declared) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&bytes.len().to_be_bytes());
        context.update(bytes);
    };
    // What the presence of roots means differs from what they are: no roots are Mozilla's.
    part(&[declared.min_version as u8, u8::from(declared.ca_pem.is_some())]);
    part(declared.ca_pem.as_deref().unwrap_or_default().as_bytes());
    for pin in &declared.pins {
        part(pin.as_bytes());
    }
    sha256_of(context)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(bytes);
    sha256_of(context)
}

fn sha256_of(context: digest::Context) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// A connection's client certificate, from its lease.
#[derive(Clone)]
pub struct ClientIdentity {
    certified_key: Arc<CertifiedKey>,
    fingerprint: [u8; 32],
}

impl ClientIdentity {
    pub fn from_pem(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsInputError> {
        let chain = CertificateDer::pem_slice_iter(certificate_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| TlsInputError::ClientCertificate)?;
        let leaf = chain.first().ok_or(TlsInputError::ClientCertificate)?;
        let fingerprint = sha256(leaf);
        let mut key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| TlsInputError::ClientKey)?;
        let signing_key = aws_lc::sign::any_supported_type(&key);
        key.zeroize();
        let certified_key = CertifiedKey::new(chain, signing_key.map_err(|_| TlsInputError::ClientKey)?);
        certified_key.keys_match().map_err(|_| TlsInputError::ClientKeyOfAnother)?;
        Ok(Self { certified_key: Arc::new(certified_key), fingerprint })
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity")
    }
}

/// The configurations in use, each with the sessions it may resume.
pub struct ClientConfigs {
    crypto: Arc<CryptoProvider>,
    made: Mutex<HashMap<ConfigKey, Arc<ClientConfig>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct ConfigKey {
    policy: [u8; 32],
    http: HttpVersions,
    whose: Whose,
    /// The certificate's fingerprint.
    identity: Option<[u8; 32]>,
}

impl ClientConfigs {
    pub fn new() -> Self {
        Self { crypto: Arc::new(crypto()), made: Mutex::default() }
    }

    pub fn get(
        &self,
        policy: &TlsPolicy,
        whose: &Whose,
        identity: Option<&ClientIdentity>,
    ) -> Result<Arc<ClientConfig>, rustls::Error> {
        let key = ConfigKey {
            policy: policy.fingerprint,
            http: policy.http,
            whose: whose.clone(),
            identity: identity.map(|identity| identity.fingerprint),
        };
        let mut made = self.lock();
        if let Some(config) = made.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(policy, whose, identity)?);
        // Nothing is lost but sessions, so a full map just starts anew.
        if made.len() >= CONFIGS_MAX {
            made.clear();
        }
        made.insert(key, Arc::clone(&config));
        Ok(config)
    }

    /// Drop the sessions and the key of a connection whose lease was replaced or taken back.
    pub fn forget(&self, connection: &str) {
        self.lock().retain(|key, _| !matches!(&key.whose, Whose::Connection(id, _) if **id == *connection));
    }

    fn make(
        &self,
        policy: &TlsPolicy,
        whose: &Whose,
        identity: Option<&ClientIdentity>,
    ) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.crypto))
            .with_protocol_versions(&policy.min_version.offered())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier(policy)?));
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                Arc::clone(&identity.certified_key),
            ))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = policy.http.alpn();
        config.resumption = match whose {
            Whose::Once => Resumption::disabled(),
            _ => Resumption::in_memory_sessions(SESSIONS_OF_ONE),
        };
        Ok(config)
    }

    fn verifier(&self, policy: &TlsPolicy) -> Result<PinningVerifier, rustls::Error> {
        let webpki =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&policy.roots), Arc::clone(&self.crypto))
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(PinningVerifier {
            webpki,
            algorithms: self.crypto.signature_verification_algorithms,
            roots: Arc::clone(&policy.roots),
            pins: Arc::clone(&policy.pins),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConfigKey, Arc<ClientConfig>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ClientConfigs {
    fn default() -> Self {
        Self::new()
    }
}

fn crypto() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![
            aws_lc::kx_group::X25519MLKEM768,
            aws_lc::kx_group::X25519,
            aws_lc::kx_group::SECP256R1,
            aws_lc::kx_group::SECP384R1,
        ],
        ..aws_lc::default_provider()
    }
}

/// `WebPkiServerVerifier`, with more checks before and after it. Can only refuse more than it.
#[derive(Debug)]
struct PinningVerifier {
    webpki: Arc<WebPkiServerVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
    roots: Arc<RootCertStore>,
    pins: Arc<[Pin]>,
}

impl ServerCertVerifier for PinningVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // 1. A long chain costs time before anything of it is known to be true.
        if intermediates.len() >= CHAIN_CERTIFICATES_MAX {
            return Err(Refused::ChainTooLong.into());
        }
        // 2. What a key may be used for, which webpki does not read. An issuer that must not sign
        //    certificates leads nowhere; another way to a root may still be there.
        if !key_may(end_entity, KeyUsage::digital_signature) {
            return Err(Refused::KeyUsage.into());
        }
        let issuers: Vec<_> =
            intermediates.iter().filter(|issuer| key_may(issuer, KeyUsage::key_cert_sign)).cloned().collect();
        // 3. Chain, time, purpose and name.
        let verified =
            self.webpki.verify_server_cert(end_entity, &issuers, server_name, ocsp_response, now)?;
        // 4. Pins come last: they narrow what is trusted and never widen it.
        if !self.pins.is_empty() {
            self.require_pinned_path(end_entity, &issuers, now)?;
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

impl PinningVerifier {
    /// Find a path to a root on which a pinned key lies: the server's own, an intermediate's or the root's.
    /// A certificate that is merely presented, and signs nothing on the path, satisfies no pin.
    fn require_pinned_path(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let pinned = |path: &webpki::VerifiedPath<'_>| {
            let on_path = self.is_pinned(&path.end_entity().subject_public_key_info())
                || path
                    .intermediate_certificates()
                    .any(|cert| self.is_pinned(&cert.subject_public_key_info()))
                || self.is_pinned(&webpki::spki_for_anchor(path.anchor()));
            if on_path { Ok(()) } else { Err(webpki::Error::UnknownIssuer) }
        };
        let end_entity = webpki::EndEntityCert::try_from(end_entity).map_err(|_| Refused::NotPinned)?;
        end_entity
            .verify_for_usage(
                self.algorithms.all,
                &self.roots.roots,
                intermediates,
                now,
                webpki::KeyUsage::server_auth(),
                None,
                Some(&pinned),
            )
            .map_err(|_| Refused::NotPinned)?;
        Ok(())
    }

    fn is_pinned(&self, subject_public_key_info: &[u8]) -> bool {
        let found = sha256(subject_public_key_info);
        self.pins.contains(&found)
    }
}

/// Whether a certificate lets its key be used so (RFC 5280 §4.2.1.3): one that does not say lets it.
fn key_may(certificate: &CertificateDer<'_>, used_so: impl Fn(&KeyUsage) -> bool) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| {
        parsed.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| used_so(usage.value)))
    })
}

/// What our own checks refuse, carried through rustls as an error of the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("more than {CHAIN_CERTIFICATES_MAX} certificates")]
    ChainTooLong,
    #[error("the key may not sign")]
    KeyUsage,
    #[error("no pinned key on the path")]
    NotPinned,
}

impl Refused {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ChainTooLong => "chain_too_long",
            Self::KeyUsage => "bad_usage",
            Self::NotPinned => "pin_mismatch",
        }
    }
}

impl From<Refused> for rustls::Error {
    fn from(refused: Refused) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

/// Whether the other end refused Tidegate's certificate, or that there was none. In TLS 1.3 it says so after
/// the handshake (RFC 8446 §4.4.2.4), so that the alert comes in place of an answer.
pub fn refused_us(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| cause.downcast_ref());
        matches!(tls, Some(rustls::Error::AlertReceived(alert)) if alert_reason(*alert) == CERTIFICATE_REFUSED)
    })
}

/// A word for why a handshake failed, fit for the record: it tells nothing of keys or bytes.
pub fn reason(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => reason_of(error),
        None => "connection_closed",
    }
}

fn reason_of(error: &rustls::Error) -> &'static str {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(error) => certificate_reason(error),
        E::AlertReceived(alert) => alert_reason(*alert),
        E::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => "protocol_version",
        E::NoApplicationProtocol => "no_application_protocol",
        E::InvalidMessage(_) => "not_tls",
        E::NoCertificatesPresented => "no_certificate",
        _ => "handshake_failure",
    }
}

fn certificate_reason(error: &CertificateError) -> &'static str {
    use CertificateError as C;
    match error {
        C::Expired | C::ExpiredContext { .. } => "expired",
        C::NotValidYet | C::NotValidYetContext { .. } => "not_valid_yet",
        C::Revoked => "revoked",
        C::UnknownIssuer => "unknown_issuer",
        C::NotValidForName | C::NotValidForNameContext { .. } => "name_mismatch",
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => "wrong_purpose",
        C::BadSignature => "bad_signature",
        C::Other(OtherError(inner)) => {
            if let Some(refused) = inner.downcast_ref::<Refused>() {
                return refused.as_str();
            }
            match inner.downcast_ref::<webpki::Error>() {
                // Self-signed in the way of a root, or a root served as the server's own certificate.
                Some(webpki::Error::CaUsedAsEndEntity) => "self_signed",
                _ => "bad_certificate",
            }
        }
        _ => "bad_certificate",
    }
}

fn alert_reason(alert: AlertDescription) -> &'static str {
    use AlertDescription as A;
    match alert {
        A::ProtocolVersion => "protocol_version",
        A::UnrecognisedName => "unrecognised_name",
        A::NoApplicationProtocol => "no_application_protocol",
        A::CertificateRequired
        | A::NoCertificate
        | A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied => CERTIFICATE_REFUSED,
        _ => "handshake_failure",
    }
}

/// The version's name, as the record has it.
pub fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => "1.3",
        ProtocolVersion::TLSv1_2 => "1.2",
        _ => "other",
    }
}

/// The key exchange group's name, as the record has it.
pub fn group_name(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::X25519 => "X25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        _ => "other",
    }
}

/// The name that the certificate must carry: the origin's host, be it a name or an address.
pub fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(json: &str) -> Result<TlsPolicy, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_policy_reads_as_the_snapshot_writes_it() {
        let read =
            policy(r#"{"ca_pem": null, "pins": [], "min_version": "1.2", "client_certificate": false}"#)
                .expect("policy");
        assert_eq!(read.fingerprint, TlsPolicy::default().fingerprint);
        assert!(policy(r#"{"min_version": "1.1"}"#).is_err());
        assert!(
            policy(r#"{"min_version": "1.3", "client_certificate": true}"#)
                .expect("policy")
                .client_certificate
        );
        assert_eq!(serde_json::from_str::<HttpVersions>("\"1.1\"").expect("http"), HttpVersions::Http1);
    }

    #[test]
    fn a_pin_is_the_hash_of_32_bytes_or_an_error() {
        let good = format!("sha256/{}", BASE64.encode([7; 32]));
        assert_eq!(parse_pin(&good), Some([7; 32]));
        for bad in [
            "",
            "sha256/",
            &good[7..],
            &good.replace("sha256", "sha1"),
            &format!("sha256/{}", BASE64.encode([7; 31])),
        ] {
            assert_eq!(parse_pin(bad), None, "{bad}");
        }
    }

    #[test]
    fn roots_that_cannot_be_read_are_an_error_and_never_the_default() {
        assert_eq!(roots_of("").expect_err("error"), TlsInputError::NoCertificate);
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(roots_of(bad).expect_err("error"), TlsInputError::UnreadableCertificate(0));
    }

    #[test]
    fn policies_share_a_configuration_only_when_all_that_is_declared_is_equal() {
        let configs = ClientConfigs::new();
        let get = |policy: &TlsPolicy| configs.get(policy, &Whose::Once, None).expect("config");
        let plain = TlsPolicy::default();
        let pinned =
            policy(&format!(r#"{{"pins": ["sha256/{}"]}}"#, BASE64.encode([1; 32]))).expect("policy");
        let http1 = TlsPolicy { http: HttpVersions::Http1, ..TlsPolicy::default() };
        assert!(Arc::ptr_eq(&get(&plain), &get(&TlsPolicy::default())));
        assert!(!Arc::ptr_eq(&get(&plain), &get(&pinned)));
        assert!(!Arc::ptr_eq(&get(&plain), &get(&http1)));
    }

    #[test]
    fn the_post_quantum_group_is_offered_first() {
        let names: Vec<_> = crypto().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(names[0], NamedGroup::X25519MLKEM768);
    }
}
