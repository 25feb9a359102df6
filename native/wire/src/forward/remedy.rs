//! What could turn a refusal of the provider's round: a token, a session, an answer to what it asked.

use http::Response;
use http::StatusCode;
use hyper::body::Incoming;

use crate::forward::Sending;
use crate::sign::{Signer, dpop};

/// What a call that a provider refused may be sent again with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    None,
    /// Another access token or session, or an answer to what the provider asked.
    Credential,
    /// The nonce that the provider wants in the proof.
    Nonce,
}

/// What was tried already: each is once, so that no provider keeps a call going.
#[derive(Debug, Default)]
pub struct Tried {
    credential: bool,
    nonce: bool,
}

impl Tried {
    pub fn first_try_of(&mut self, remedy: Remedy) -> bool {
        match remedy {
            Remedy::None => false,
            Remedy::Credential => !std::mem::replace(&mut self.credential, true),
            Remedy::Nonce => !std::mem::replace(&mut self.nonce, true),
        }
    }
}

impl Sending<'_> {
    pub(super) fn remedy(&self, answer: &Response<Incoming>) -> Remedy {
        let provider = self.outgoing.provider;
        if let (Some(Signer::Dpop(_)), Some(lease)) = (&provider.sign, &self.way.lease) {
            // Any answer may give the nonce for the next call.
            let given = lease.nonces().learn(self.proven.origin(), answer.headers());
            if answer.status() == StatusCode::UNAUTHORIZED && dpop::wants_nonce(answer.headers()) {
                return if given { Remedy::Nonce } else { Remedy::None };
            }
        }
        let over = provider.over.contains(&answer.status().as_u16());
        if over { Remedy::Credential } else { Remedy::None }
    }
}
