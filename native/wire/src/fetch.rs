//! Tidegate's own calls out: the same dialler, so the same address checks and TLS rules.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ipnet::IpNet;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::dial::tls::{Declared, TlsPolicy};
use crate::dial::{DialCode, Dialler, Target, Whose};
use crate::engine::unix_now;
use crate::headers;
use crate::lease::Lease;
use crate::origin::Origin;
use crate::sign::{Signer, Unsigned};

/// Fields of a credential, wiped after the call: what it is signed with, and the client's certificate.
pub type SecretFields = HashMap<Box<str>, Zeroizing<Vec<u8>>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchOptions {
    timeout_ms: u64,
    max_bytes: usize,
    allow_private: Vec<IpNet>,
    ca_pem: Option<String>,
    pins: Vec<String>,
    sign: Option<Signer>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            timeout_ms: 20_000,
            max_bytes: 64 << 20,
            allow_private: Vec::new(),
            ca_pem: None,
            pins: Vec::new(),
            sign: None,
        }
    }
}

/// A problem's code and a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct FetchError {
    pub code: &'static str,
    pub detail: String,
}

impl FetchError {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    pub fn options(error: &serde_json::Error) -> Self {
        Self::new("malformed_request", format!("the options of a fetch do not parse: {error}"))
    }
}

pub struct Fetched {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Blocks; each fetch has its own short-lived runtime and connection, since they are rare.
pub fn fetch(
    dialler: &Arc<Dialler>,
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: Vec<u8>,
    secrets: SecretFields,
    options: &FetchOptions,
) -> Result<Fetched, FetchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| FetchError::new("internal", error.to_string()))?;
    runtime.block_on(async {
        let limit = Duration::from_millis(options.timeout_ms);
        match tokio::time::timeout(limit, exchange(dialler, method, url, headers, body, secrets, options))
            .await
        {
            Ok(result) => result,
            Err(_) => Err(FetchError::new(
                "provider_timeout",
                format!("no whole answer within {} ms", options.timeout_ms),
            )),
        }
    })
}

fn code_of(code: DialCode) -> &'static str {
    match code {
        DialCode::DestinationProhibited => "destination_prohibited",
        DialCode::TlsFailed => "tls_failed",
        DialCode::ProviderUnreachable => "provider_unreachable",
        DialCode::Timeout => "provider_timeout",
    }
}

async fn exchange(
    dialler: &Arc<Dialler>,
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: Vec<u8>,
    secrets: SecretFields,
    options: &FetchOptions,
) -> Result<Fetched, FetchError> {
    let malformed = |what: &str| FetchError::new("malformed_request", what.to_owned());
    let url = Url::parse(url).map_err(|_| malformed("not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(malformed("a URL with a user or password is not fetched"));
    }
    let origin: Origin =
        url.origin().ascii_serialization().parse().map_err(|_| malformed("only https URLs are fetched"))?;
    let declared =
        Declared { ca_pem: options.ca_pem.clone(), pins: options.pins.clone(), ..Declared::default() };
    let tls = TlsPolicy::try_from(declared).map_err(|error| malformed(&error.to_string()))?;
    let lease = Lease::new(0, 0, vec![origin.clone()], secrets, u64::MAX)
        .map_err(|error| malformed(&error.to_string()))?;
    let target = Target {
        origin: &origin,
        whose: &Whose::Once,
        allow_private: &options.allow_private,
        tls: &tls,
        identity: lease.identity.as_ref(),
        timeout: Duration::from_millis(options.timeout_ms.min(10_000)),
    };
    let dialled =
        dialler.dial(&target).await.map_err(|error| FetchError::new(code_of(error.code), error.detail))?;
    let mut sent = HeaderMap::new();
    for (name, value) in headers {
        let name =
            header::HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed("not a header name"))?;
        let value = header::HeaderValue::from_str(value).map_err(|_| malformed("not a header value"))?;
        if !headers::is_hop(&name) {
            sent.append(name, value);
        }
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| malformed("not a method"))?;
    let mut query = url.query().map(str::to_owned);
    if let Some(signer) = &options.sign {
        // Last, over what is sent, and only here: the origin has been proven by now.
        let unsigned = Unsigned {
            method: &method,
            scheme: origin.scheme().as_str(),
            authority: origin.authority(),
            path: url.path(),
            query: query.as_deref(),
            body: Some(&body),
            now_ms: unix_now().saturating_mul(1_000),
        };
        let added = signer
            .sign(&lease, &unsigned, &mut sent)
            .map_err(|refusal| FetchError::new("credential_unavailable", refusal.detail.into_owned()))?;
        if let Some(added) = added {
            query = Some(query.map_or_else(|| added.clone(), |query| format!("{query}&{added}")));
        }
    }
    let path = match query {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let uri = if dialled.facts.h2 { format!("{origin}{path}") } else { path };
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| malformed("not a URL"))?;
    *request.headers_mut() = sent;
    let failed = |error: hyper::Error| FetchError::new("provider_unreachable", error.to_string());
    let response = if dialled.facts.h2 {
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(dialled.stream)).await.map_err(failed)?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(failed)?
    } else {
        request.headers_mut().insert(header::HOST, headers::value(origin.authority()));
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(dialled.stream)).await.map_err(failed)?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(failed)?
    };
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, options.max_bytes).collect().await.map_err(|error| {
        FetchError::new(
            "response_rejected",
            format!("the body broke off or is larger than {} bytes: {error}", options.max_bytes),
        )
    })?;
    let headers = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    Ok(Fetched { status: parts.status.as_u16(), headers, body: body.to_bytes().to_vec() })
}
