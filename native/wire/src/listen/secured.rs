//! The TLS of a listener: what it shows, whom it lets in, and how both are renewed while it serves.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::engine::{EngineError, ListenerTls};

/// What is renewed serves the connections that come after. Those that showed a certificate end with the call
/// under way when what it was judged by has been replaced.
pub struct Secured {
    config: ArcSwap<ServerConfig>,
    renewed: watch::Sender<Judges>,
}

/// What consumers' certificates are judged by: the authorities, and their lists of revoked ones.
#[derive(Clone, PartialEq, Eq)]
struct Judges(Option<String>, Option<String>);

impl Judges {
    fn of(tls: &ListenerTls) -> Self {
        Self(tls.client_ca_pem.clone(), tls.client_crl_pem.clone())
    }
}

/// Tells a connection when what it was judged by is replaced.
pub struct Renewed(watch::Receiver<Judges>);

impl Renewed {
    pub async fn wait(mut self) {
        // An error means that the engine is gone, and the connection with it.
        let _ = self.0.changed().await;
    }
}

impl Secured {
    pub fn new(name: &str, tls: &ListenerTls) -> Result<Self, EngineError> {
        Ok(Self {
            config: ArcSwap::new(server_config(name, tls)?),
            renewed: watch::Sender::new(Judges::of(tls)),
        })
    }

    /// On an error what there was stays.
    pub fn renew(&self, name: &str, tls: &ListenerTls) -> Result<(), EngineError> {
        self.config.store(server_config(name, tls)?);
        let judges = Judges::of(tls);
        self.renewed.send_if_modified(|before| {
            let others = *before != judges;
            *before = judges;
            others
        });
        Ok(())
    }

    /// For one connection: how it is secured, and what tells that this was replaced.
    pub fn begin(&self) -> (TlsAcceptor, Renewed) {
        // In this order, or a connection between the two would outlive what it was judged by.
        let renewed = Renewed(self.renewed.subscribe());
        (TlsAcceptor::from(self.config.load_full()), renewed)
    }
}

fn server_config(name: &str, tls: &ListenerTls) -> Result<Arc<ServerConfig>, EngineError> {
    let wrong = |what: &str| EngineError::Refused(format!("listener `{name}`: {what}"));
    let chain = CertificateDer::pem_slice_iter(tls.certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| wrong("the certificate is not PEM"))?;
    let key =
        PrivateKeyDer::from_pem_slice(tls.key_pem.as_bytes()).map_err(|_| wrong("the key is not PEM"))?;
    let builder =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| wrong("no TLS version is usable"))?;
    let builder = match &tls.client_ca_pem {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let root = root.map_err(|_| wrong("the client CA is not PEM"))?;
                roots.add(root).map_err(|_| wrong("the client CA is not a certificate"))?;
            }
            let mut verifier = WebPkiClientVerifier::builder(Arc::new(roots));
            if let Some(pem) = &tls.client_crl_pem {
                let lists = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|_| wrong("the list of revoked certificates is not PEM"))?;
                if lists.is_empty() {
                    return Err(wrong("the list of revoked certificates is empty"));
                }
                // A list that is past its time says nothing of what was revoked since (RFC 5280 §5.1.2.5).
                verifier = verifier.with_crls(lists).enforce_revocation_expiration();
            }
            let verifier = verifier
                .build()
                .map_err(|_| wrong("the client CA or its list of revoked certificates cannot be used"))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|_| wrong("the key does not fit the certificate"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
