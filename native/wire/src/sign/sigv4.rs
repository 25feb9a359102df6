//! AWS Signature Version 4, in header fields.
//!
//! Source: AWS, "Create a signed AWS API request"; the canonical request, the string to sign and the key are
//! made as that page says.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::digest::{Hash, basic_time, hex, sha256_hex};
use super::{Unsigned, escaped, field, joined, parameters, set, text_field};
use crate::error::{Code, Refusal};
use crate::lease::Lease;

pub const OWN: [&str; 3] = ["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");

#[derive(Debug, Clone, Deserialize)]
pub struct SigV4 {
    pub service: String,
    /// Empty: the host says it.
    #[serde(default)]
    pub region: String,
    /// Hash the body; otherwise it streams, and TLS alone protects it.
    #[serde(default)]
    pub payload: Payload,
    /// The credential has a field `session_token`.
    #[serde(default)]
    pub session_token: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    #[default]
    Hashed,
    Unsigned,
}

impl SigV4 {
    pub fn covers_body(&self) -> bool {
        self.payload == Payload::Hashed
    }

    pub fn sign(
        &self,
        lease: &Lease,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        let time = basic_time(request.now_s());
        headers.insert(DATE, crate::headers::value(&time));
        if self.session_token {
            set(headers, TOKEN, text_field(lease, "session_token")?)?;
        }
        let payload = match self.payload {
            Payload::Unsigned => UNSIGNED.to_owned(),
            Payload::Hashed => sha256_hex(request.body.ok_or_else(|| {
                Refusal::new(Code::Internal, "The body was not gathered before it was to be signed.")
            })?),
        };
        if self.is_s3() || self.payload == Payload::Unsigned {
            headers.insert(CONTENT, crate::headers::value(&payload));
        }
        let signed = |name: &HeaderName| *name == header::CONTENT_TYPE || name.as_str().starts_with("x-amz-");
        let (names, canonical) = self.canonical(request, headers, signed, &payload)?;
        let (day, region) = (&time[..8], self.region_of(request.authority));
        let scope = format!("{day}/{region}/{}/aws4_request", self.service);
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
        let secret = field(lease, "secret_access_key")?;
        let signature = hex(&Hash::Sha256.keyed(&self.key(secret, day, region), to_sign.as_bytes()));
        let id = text_field(lease, "access_key_id")?;
        set(
            headers,
            header::AUTHORIZATION,
            &format!(
                "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
            ),
        )
    }

    /// `SERVICE.REGION.amazonaws.com`; an endpoint without a region is of `us-east-1`.
    fn region_of<'r>(&'r self, authority: &'r str) -> &'r str {
        if !self.region.is_empty() {
            return &self.region;
        }
        let before = authority.split(".amazonaws.").next().unwrap_or_default();
        match before.rsplit_once('.') {
            Some((_, region)) if before.len() < authority.len() => region,
            _ => "us-east-1",
        }
    }

    fn is_s3(&self) -> bool {
        self.service == "s3"
    }

    /// The names of the signed header fields, and the canonical request.
    fn canonical(
        &self,
        request: &Unsigned<'_>,
        headers: &HeaderMap,
        signed: impl Fn(&HeaderName) -> bool,
        payload: &str,
    ) -> Result<(String, String), Refusal> {
        let mut fields: Vec<(&str, String)> = vec![("host", request.authority.to_owned())];
        for name in headers.keys().filter(|name| signed(name)) {
            let values: Result<Vec<String>, Refusal> = headers.get_all(name).iter().map(trimmed).collect();
            fields.push((name.as_str(), values?.join(",")));
        }
        fields.sort_unstable();
        let names = fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let mut canonical = format!("{}\n{}\n", request.method, self.path(request.path));
        let mut query: Vec<(String, String)> = parameters(request.query.unwrap_or_default())
            .map(|(name, value)| (escaped(&name), escaped(&value)))
            .collect();
        query.sort_unstable();
        let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        canonical.push_str(&query.join("&"));
        canonical.push('\n');
        for (name, value) in &fields {
            // Writing to a String cannot fail.
            let _ = writeln!(canonical, "{name}:{value}");
        }
        let _ = write!(canonical, "\n{names}\n{payload}");
        Ok((names, canonical))
    }

    /// Each segment is escaped; for every service but S3, what is sent is escaped once more.
    fn path(&self, sent: &str) -> String {
        let segments = sent.split('/').map(|segment| {
            let once = escaped(&percent_encoding::percent_decode_str(segment).collect::<Vec<u8>>());
            if self.is_s3() { once } else { escaped(once.as_bytes()) }
        });
        segments.collect::<Vec<_>>().join("/")
    }

    fn key(&self, secret: &[u8], day: &str, region: &str) -> Zeroizing<Vec<u8>> {
        let mut key = joined(&[b"AWS4", secret]);
        for part in [day, region, &self.service, "aws4_request"] {
            key = Zeroizing::new(Hash::Sha256.keyed(&key, part.as_bytes()));
        }
        key
    }
}

/// Without space around it, and with one space where there were several.
fn trimmed(value: &HeaderValue) -> Result<String, Refusal> {
    let text = value
        .to_str()
        .map_err(|_| Refusal::new(Code::MalformedRequest, "A header field that is signed is not ASCII."))?;
    Ok(text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
}
