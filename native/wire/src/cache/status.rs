//! Say what the cache did: `Cache-Status` (RFC 9211) to the consumer, one word to the record.

use std::fmt::Write as _;

use http::{HeaderValue, StatusCode};

use crate::headers;

/// What the record says of a call's way through the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Answered by what was stored.
    Hit,
    /// Answered by what was stored and is stale.
    Stale,
    /// The provider said that what was stored still holds.
    Revalidated,
    /// The provider was asked; the answer may be stored.
    Miss,
    /// Answered by what another call fetched meanwhile.
    Collapsed,
    /// The provider was asked for this call alone.
    Pass,
    /// No consumer's call: what had become stale was fetched anew.
    Refresh,
}

impl Way {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Pass => "pass",
            Self::Refresh => "refresh",
        }
    }
}

/// Why the provider was asked (RFC 9211 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Request,
    Stale,
    Partial,
}

impl Forward {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// One member of `Cache-Status`.
#[derive(Debug, Clone, Default)]
pub struct Said {
    pub hit: bool,
    pub forward: Option<Forward>,
    pub status: Option<StatusCode>,
    /// Seconds left; below zero where it is stale.
    pub ttl: Option<i64>,
    pub stored: bool,
    pub collapsed: bool,
    /// A token.
    pub detail: Option<&'static str>,
}

impl Said {
    pub fn field(&self) -> HeaderValue {
        if self.hit && self.ttl.is_none() && self.detail.is_none() {
            return HeaderValue::from_static("tidegate; hit");
        }
        let mut text = String::from("tidegate");
        if self.hit {
            text.push_str("; hit");
        }
        if let Some(forward) = self.forward {
            let _ = write!(text, "; fwd={}", forward.as_str());
        }
        if let Some(status) = self.status {
            let _ = write!(text, "; fwd-status={}", status.as_u16());
        }
        if let Some(ttl) = self.ttl {
            let _ = write!(text, "; ttl={ttl}");
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Some(detail) = self.detail {
            let _ = write!(text, "; detail={detail}");
        }
        headers::value(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfv::{List, Parser};

    #[test]
    fn whatever_is_said_is_a_structured_field() {
        let said = Said {
            hit: false,
            forward: Some(Forward::Stale),
            status: Some(StatusCode::NOT_MODIFIED),
            ttl: Some(-12),
            stored: true,
            collapsed: true,
            detail: Some("stale-throttled"),
        };
        let field = said.field();
        let text = field.to_str().expect("text");
        assert_eq!(
            text,
            "tidegate; fwd=stale; fwd-status=304; ttl=-12; stored; collapsed; detail=stale-throttled"
        );
        assert_eq!(Parser::new(text).parse::<List>().expect("a list").len(), 1);
        assert_eq!(Said { hit: true, ..Said::default() }.field(), "tidegate; hit");
    }
}
