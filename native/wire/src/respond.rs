//! Make the provider's answer fit to be passed on: bounded, cleaned, its redirects kept inside.
//!
//! Runs after `forward`. A redirect is never followed; one that stays with the provider's origins is
//! rewritten to come back through Tidegate, any other is refused.

use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, LINK, LOCATION};
use http::response::Parts;
use url::Url;

use crate::error::{Code, Refusal};
use crate::headers;
use crate::origin::Origin;

/// Where the call went and how the consumer reached us, for references that must be turned round.
pub struct Route<'a> {
    /// What was asked for at the provider, without the credential.
    pub path: &'a str,
    pub query: Option<&'a str>,
    /// The connection's origins: what belongs to the provider.
    pub origins: &'a [Origin],
    pub origin: &'a Origin,
    /// What stands before the provider's paths at Tidegate.
    pub prefix: &'a str,
    /// `scheme://host` as the consumer wrote it, for links that clients follow as they stand.
    pub gateway: Option<&'a str>,
}

/// Hold an answer to its bound and take out what must not pass.
pub fn clean(parts: &mut Parts, bound: u64) -> Result<(), Refusal> {
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > bound) {
        return Err(Refusal::new(Code::ResponseRejected, "The provider's answer is larger than its bound."));
    }
    headers::clean_response(&mut parts.headers);
    Ok(())
}

/// Turn the references of a cleaned answer round, to come back through Tidegate.
pub fn turn_round(parts: &mut Parts, route: &Route<'_>) -> Result<(), Refusal> {
    if let Some(location) = parts.headers.get(LOCATION) {
        let rewritten = location.to_str().ok().and_then(|text| route.turn_round(text, false));
        match rewritten {
            Some(text) => {
                parts.headers.insert(LOCATION, headers::value(&text));
            }
            // 201 and 202 name what was made; only a 3xx would be followed.
            None if parts.status.is_redirection() => {
                return Err(Refusal::new(
                    Code::RedirectRefused,
                    "The provider redirects to an origin that is not declared as its own; declare it under `origins` if it is.",
                ));
            }
            None => {
                parts.headers.remove(LOCATION);
            }
        }
    }
    if let Some(location) = parts.headers.remove(CONTENT_LOCATION)
        && let Some(text) = location.to_str().ok().and_then(|text| route.turn_round(text, false))
    {
        parts.headers.insert(CONTENT_LOCATION, headers::value(&text));
    }
    if parts.headers.contains_key(LINK) {
        let links: Vec<HeaderValue> = parts
            .headers
            .get_all(LINK)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .map(|v| headers::value(&route.turn_links(v)))
            .collect();
        parts.headers.remove(LINK);
        for link in links {
            parts.headers.append(LINK, link);
        }
    }
    Ok(())
}

impl Route<'_> {
    /// A reference as the consumer must use it, or None when it leads away from the provider.
    fn turn_round(&self, reference: &str, absolute: bool) -> Option<String> {
        let mut base = Url::parse(&format!("{}{}", self.origin, self.path)).ok()?;
        base.set_query(self.query);
        let url = base.join(reference).ok()?;
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let origin: Origin = url.origin().ascii_serialization().parse().ok()?;
        // Which of its origins the path then belongs to, its operation says.
        if origin != *self.origin && !self.origins.contains(&origin) {
            return None;
        }
        let gateway = if absolute { self.gateway.unwrap_or_default() } else { "" };
        let query = url.query().map(|q| format!("?{q}")).unwrap_or_default();
        let fragment = url.fragment().map(|f| format!("#{f}")).unwrap_or_default();
        Some(format!("{gateway}{}{}{query}{fragment}", self.prefix, url.path()))
    }

    /// Each `<reference>` of a `Link` field (RFC 8288) that is the provider's own; others stand as they are.
    fn turn_links(&self, links: &str) -> String {
        let mut turned = String::with_capacity(links.len() + 32);
        let mut rest = links;
        while let Some((before, after)) = rest.split_once('<') {
            let Some((reference, tail)) = after.split_once('>') else { break };
            turned.push_str(before);
            turned.push('<');
            turned.push_str(&self.turn_round(reference, true).unwrap_or_else(|| reference.to_owned()));
            turned.push('>');
            rest = tail;
        }
        turned.push_str(rest);
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(reference: &str) -> Option<String> {
        let origins =
            ["https://api.test".parse().expect("origin"), "https://files.test".parse().expect("origin")];
        let route = Route {
            path: "/v1/items",
            query: Some("page=1"),
            origins: &origins,
            origin: &origins[0],
            prefix: "/~acme/shop",
            gateway: Some("http://gate.test"),
        };
        route.turn_round(reference, false)
    }

    #[test]
    fn a_redirect_within_the_provider_comes_back_through_the_gateway() {
        assert_eq!(turned("/v2/items").as_deref(), Some("/~acme/shop/v2/items"));
        assert_eq!(turned("items/3?x=1").as_deref(), Some("/~acme/shop/v1/items/3?x=1"));
        assert_eq!(turned("https://api.test:443/v2").as_deref(), Some("/~acme/shop/v2"));
    }

    #[test]
    fn a_redirect_away_is_refused() {
        for reference in [
            "https://evil.test/",
            "http://api.test/",
            "https://api.test@evil.test/",
            "//evil.test/x",
            "https://u:p@api.test/",
            "https://api.test:8443/",
        ] {
            assert_eq!(turned(reference), None, "{reference}");
        }
    }
}
