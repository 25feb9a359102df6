//! Whether an answer may be stored (RFC 9111 §3), and why not.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::cache::directives::Directives;
use crate::cache::entry::says_its_lifetime;
use crate::cache::rules::{Rules, Sharing};
use crate::cache::vary;

/// Statuses whose meaning this cache knows, for `must-understand` (RFC 9111 §5.2.2.3).
const UNDERSTOOD: [u16; 17] =
    [200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 404, 405, 410, 414, 500, 501, 503];
/// Statuses that say something of this one call, its credential or its moment: never stored.
const OF_THE_MOMENT: [u16; 9] = [206, 304, 401, 407, 408, 416, 421, 425, 429];

/// What was seen of an answer before it was cleaned.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    /// It set a cookie: it is one session's.
    pub cookie: bool,
    /// Nothing says where it ends, so that nothing says whether it is whole.
    pub endless: bool,
    /// The request carried a credential.
    pub authorised: bool,
}

/// The fields by which the answer varies, where it may be stored; else the reason, as a token.
pub fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    seen: Seen,
    rules: &Rules,
) -> Result<Box<[HeaderName]>, &'static str> {
    let (directives, targeted) = Directives::of_answer(headers, &rules.targeted);
    let understood = UNDERSTOOD.contains(&status.as_u16());
    if status.is_informational() || OF_THE_MOMENT.contains(&status.as_u16()) {
        return Err("status");
    }
    if directives.must_understand && !understood {
        return Err("must-understand");
    }
    // `must-understand` takes the place of the `no-store` beside it.
    if directives.no_store && !directives.must_understand {
        return Err("no-store");
    }
    if directives.private && (rules.is_shared() || !rules.private) {
        return Err("private");
    }
    let says = says_its_lifetime(&directives, headers, targeted, rules.is_shared());
    if status.as_u16() >= 400 && !(rules.errors && (says || rules.heuristic)) {
        return Err("error");
    }
    // RFC 9111 §3.5. One principal's own cache is no shared one.
    let meant_for_all = directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
    if rules.mode == Sharing::Public && seen.authorised && !meant_for_all {
        return Err("authorised");
    }
    if seen.cookie {
        return Err("set-cookie");
    }
    if seen.endless {
        return Err("no-length");
    }
    if is_stream(headers.get(CONTENT_TYPE)) {
        return Err("stream");
    }
    vary::names(headers).ok_or("vary")
}

/// Kinds of answers that go on for as long as somebody listens.
fn is_stream(content_type: Option<&HeaderValue>) -> bool {
    let essence = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "text/event-stream" | "multipart/x-mixed-replace")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(
        status: u16,
        lines: &[(&'static str, &str)],
        seen: Seen,
        rules: &Rules,
    ) -> Result<(), &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().expect("value"));
        }
        judge(StatusCode::from_u16(status).expect("status"), &headers, seen, rules).map(drop)
    }

    #[test]
    fn an_answer_to_an_authorised_call_is_for_all_only_where_the_provider_says_so() {
        let public = Rules { mode: Sharing::Public, ..Rules::default() };
        let seen = Seen { authorised: true, ..Seen::default() };
        let judged = |line: &str| judged(200, &[("cache-control", line)], seen, &public);
        assert_eq!(judged("max-age=60"), Err("authorised"));
        for line in ["max-age=60, public", "s-maxage=60", "max-age=60, must-revalidate"] {
            assert_eq!(judged(line), Ok(()), "{line}");
        }
        assert_eq!(judged("public, private"), Err("private"));
    }

    #[test]
    fn what_is_one_sessions_one_moments_or_without_end_is_not_stored() {
        let rules = Rules { mode: Sharing::Principal, ..Rules::default() };
        let fresh = ("cache-control", "max-age=60");
        let plain = Seen::default();
        assert_eq!(judged(200, &[fresh], plain, &rules), Ok(()));
        assert_eq!(judged(200, &[fresh], Seen { cookie: true, ..plain }, &rules), Err("set-cookie"));
        assert_eq!(judged(200, &[fresh], Seen { endless: true, ..plain }, &rules), Err("no-length"));
        assert_eq!(
            judged(200, &[fresh, ("content-type", "Text/Event-Stream; x")], plain, &rules),
            Err("stream")
        );
        assert_eq!(judged(200, &[fresh, ("vary", "a, *")], plain, &rules), Err("vary"));
        assert_eq!(judged(200, &[("cache-control", "private, max-age=60")], plain, &rules), Err("private"));
        for status in [206, 401, 429] {
            assert_eq!(judged(status, &[fresh], plain, &rules), Err("status"));
        }
        for status in [403, 404, 500, 503] {
            assert_eq!(judged(status, &[fresh], plain, &rules), Err("error"));
        }
        let errors = Rules { errors: true, ..rules };
        assert_eq!(judged(404, &[fresh], plain, &errors), Ok(()));
        assert_eq!(judged(404, &[], plain, &errors), Err("error"));
        assert_eq!(
            judged(599, &[("cache-control", "max-age=1, no-store, must-understand")], plain, &errors),
            Err("must-understand")
        );
        assert_eq!(
            judged(200, &[("cache-control", "max-age=1, no-store, must-understand")], plain, &errors),
            Ok(())
        );
    }
}
