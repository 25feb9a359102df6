//! Credentials on loan: held apart from the snapshot, bound to origins, with an end, wiped when replaced.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use zeroize::Zeroizing;

use crate::dial::tls::{ClientIdentity, TlsInputError};
use crate::echo::Needles;
use crate::origin::Origin;

/// A credential's stay in the engine. No `Debug`: it is the one place where secrets are in clear.
pub struct Lease {
    pub version: u32,
    pub origins: Vec<Origin>,
    fields: HashMap<Box<str>, Zeroizing<Vec<u8>>>,
    /// For mutual TLS, from the fields `tls_certificate` and `tls_key`.
    pub identity: Option<ClientIdentity>,
    needles: Option<Needles>,
    until: u64,
}

impl Lease {
    pub fn new(
        version: u32,
        origins: Vec<Origin>,
        fields: HashMap<Box<str>, Zeroizing<Vec<u8>>>,
        until: u64,
    ) -> Result<Self, TlsInputError> {
        let identity = match (fields.get("tls_certificate"), fields.get("tls_key")) {
            (Some(certificate), Some(key)) => Some(ClientIdentity::from_pem(certificate, key)?),
            _ => None,
        };
        let needles = Needles::new(fields.iter().map(|(name, value)| (&**name, value.as_slice())));
        Ok(Self { version, origins, fields, identity, needles, until })
    }

    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.get(name).map(|value| value.as_slice())
    }

    /// By what its fields are found in an answer.
    pub fn needles(&self) -> Option<&Needles> {
        self.needles.as_ref()
    }

    pub fn is_live(&self, now: u64) -> bool {
        now < self.until
    }
}

/// All leases, by connection id.
#[derive(Default)]
pub struct Leases(RwLock<HashMap<Box<str>, Arc<Lease>>>);

impl Leases {
    pub fn put(&self, connection: &str, lease: Lease) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(connection.into(), Arc::new(lease));
    }

    pub fn take(&self, connection: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(connection);
    }

    pub fn get(&self, connection: &str) -> Option<Arc<Lease>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(connection).cloned()
    }

    /// Wipe what has ended, so that a secret does not outlive its lease in memory.
    pub fn sweep(&self, now: u64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, lease| lease.is_live(now));
    }
}
