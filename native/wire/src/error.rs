//! Every way a call can be refused: one list, from which the public answer is made.
//!
//! The same list stands in `tidegate.problems`; a contract test keeps the two equal. A refusal's
//! `detail` is public and names rules and places, never values; `internal` goes to the record only.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::ratelimit::Throttled;

/// What a problem says of itself: code, status, title, and the RFC 9209 error type beside it.
pub struct Problem {
    pub code: &'static str,
    pub status: u16,
    pub title: &'static str,
    pub proxy_status: &'static str,
}

macro_rules! problems {
    ($($variant:ident = $code:literal, $status:literal, $proxy:literal, $title:literal;)+) => {
        /// A problem's code (RFC 9457 `type` is `urn:tidegate:problem:CODE`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($variant),+ }

        /// All of them, in the order of `Code`.
        pub const PROBLEMS: &[Problem] = &[
            $(Problem { code: $code, status: $status, title: $title, proxy_status: $proxy }),+
        ];
    };
}

problems! {
    MalformedRequest = "malformed_request", 400, "http_request_error", "The request is not well formed";
    TooLarge = "too_large", 413, "http_request_error", "The request body is too large";
    UriTooLong = "uri_too_long", 414, "http_request_error", "The request target is too long";
    HeadTooLarge = "head_too_large", 431, "http_request_error", "The request head is too large";
    Timeout = "timeout", 408, "http_request_error", "The request took too long to arrive";
    MethodNotAllowed = "method_not_allowed", 405, "http_request_denied", "The method is never passed on";
    Unauthenticated = "unauthenticated", 401, "http_request_denied", "No valid access token";
    UnknownProvider = "unknown_provider", 404, "http_request_denied", "No such provider";
    UnknownOperation = "unknown_operation", 404, "http_request_denied", "No such operation at this provider";
    ClientRequired = "client_required", 400, "http_request_denied", "The call does not say for which client it is";
    UnknownClient = "unknown_client", 404, "http_request_denied", "No such client for this consumer";
    UnknownConnection = "unknown_connection", 404, "http_request_denied", "No such connection";
    Denied = "denied", 403, "http_request_denied", "The call is not allowed";
    NoAgreement = "no_agreement", 403, "http_request_denied", "No agreement lets this personal data go";
    NoConsent = "no_consent", 403, "http_request_denied", "Nobody consented to this personal data going out";
    Suppressed = "suppressed", 403, "http_request_denied", "Nothing is sent about this subject any more";
    UndeclaredField = "undeclared_field", 422, "http_request_denied", "A field has no rule that lets it go out";
    Unparseable = "unparseable", 422, "http_request_error", "What is to be protected cannot be read";
    Unprotectable = "unprotectable", 422, "http_request_denied", "A value is not one that its rule can protect";
    ProtectionUnavailable = "protection_unavailable", 503, "proxy_configuration_error", "What protects a value is not there";
    Unprotected = "unprotected", 403, "http_request_denied", "The operation has no policy for what it sends";
    Throttled = "throttled", 429, "http_request_denied", "The call comes sooner than a limit allows";
    SchemaViolation = "schema_violation", 422, "http_request_denied", "The request does not fit the provider's document";
    QuotaExceeded = "quota_exceeded", 429, "http_request_denied", "The provider's quota is used up";
    QueueTimeout = "queue_timeout", 429, "http_request_denied", "The provider's quota has no room in time";
    DestinationProhibited = "destination_prohibited", 502, "destination_ip_prohibited", "The provider's address is prohibited";
    TlsFailed = "tls_failed", 502, "tls_certificate_error", "The provider's TLS could not be verified";
    ProviderUnreachable = "provider_unreachable", 502, "destination_unavailable", "The provider could not be reached";
    CredentialUnavailable = "credential_unavailable", 503, "proxy_configuration_error", "The connection's credential is not available";
    NeedsReconsent = "needs_reconsent", 503, "proxy_configuration_error", "The connection's consent has ended";
    HookFailed = "hook_failed", 500, "proxy_internal_error", "The hook that signs the call failed";
    ProviderTimeout = "provider_timeout", 504, "http_response_timeout", "The provider did not answer in time";
    ResponseRejected = "response_rejected", 502, "http_protocol_error", "The provider's answer was refused";
    RedirectRefused = "redirect_refused", 502, "http_protocol_error", "The provider redirects to a place that is not its own";
    NotCached = "not_cached", 504, "http_request_denied", "No stored answer that may be given";
    Unsupported = "unsupported", 501, "http_request_denied", "Tidegate does not carry this";
    Overloaded = "overloaded", 503, "proxy_internal_response", "Tidegate has no room for the call";
    NotReady = "not_ready", 503, "proxy_configuration_error", "Tidegate has no configuration yet";
    CircuitOpen = "circuit_open", 503, "destination_unavailable", "The provider is failing, and is left alone for a moment";
    Internal = "internal", 500, "proxy_internal_error", "Tidegate failed";
}

impl Code {
    pub fn problem(self) -> &'static Problem {
        &PROBLEMS[self as usize]
    }

    pub fn as_str(self) -> &'static str {
        self.problem().code
    }

    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.problem().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// One call refused: what, by which rule, and what to change.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub code: Code,
    pub detail: Cow<'static, str>,
    pub rule: Option<Arc<str>>,
    /// How long the consumer is asked to wait before it tries again.
    pub retry_after: Option<Duration>,
    /// For the record only.
    pub internal: Option<Cow<'static, str>>,
    /// Which limits stood in the way, where it was limits.
    pub throttled: Option<Box<Throttled>>,
}

impl Refusal {
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), rule: None, retry_after: None, internal: None, throttled: None }
    }

    #[must_use]
    pub fn by(mut self, rule: Arc<str>) -> Self {
        self.rule = Some(rule);
        self
    }

    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    #[must_use]
    pub fn because(mut self, internal: impl Into<Cow<'static, str>>) -> Self {
        self.internal = Some(internal.into());
        self
    }

    #[must_use]
    pub fn throttled(mut self, throttled: Throttled) -> Self {
        self.throttled = Some(Box::new(throttled));
        self
    }

    /// The RFC 9457 body.
    pub fn body(&self, call_id: &str) -> Vec<u8> {
        let problem = self.code.problem();
        let mut value = serde_json::json!({
            "type": format!("urn:tidegate:problem:{}", problem.code),
            "title": problem.title,
            "status": problem.status,
            "detail": self.detail,
            "code": problem.code,
            "call": call_id,
        });
        if let Some(rule) = &self.rule {
            value["rule"] = serde_json::Value::String(rule.to_string());
        }
        if let Some(throttled) = &self.throttled {
            // As in the problem type `quota-exceeded` of draft-ietf-httpapi-ratelimit-headers.
            value["violated-policies"] = throttled.violated.iter().map(|name| &**name).collect();
        }
        value.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_finds_its_own_problem() {
        assert_eq!(Code::MalformedRequest.as_str(), "malformed_request");
        assert_eq!(Code::Internal.as_str(), "internal");
        assert_eq!(Code::Denied.status(), StatusCode::FORBIDDEN);
    }
}
