//! HTTP Digest (RFC 7616): the password is proven, never sent.
//!
//! A provider asks first, by 401; what it asked is remembered with the lease, for the origin that asked,
//! so that later calls are answered for before they are asked. Only the provider's own origin is answered,
//! once a call. The body is held, because the call may have to go out a second time.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::challenge::{Challenge, challenges, quoted};
use super::digest::hex;
use super::{Unsigned, escaped, field, nonce, text_field, unusable};
use crate::error::Refusal;
use crate::lease::Lease;
use crate::origin::Origin;

/// What the provider's server says of itself is bounded: it comes back to it on every call.
const SAID_BYTES_MAX: usize = 1024;

#[derive(Debug, Clone, Default, Deserialize)]
pub struct DigestAuth {
    /// Answer also where the provider offers nothing better than MD5.
    #[serde(default)]
    pub md5: bool,
}

/// In the order in which they are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
    Sha512Of256,
}

impl Algorithm {
    /// By its name in §3.3, and whether it is one of those with a key of the session's own (`-sess`).
    fn named(name: &str) -> Option<(Self, bool)> {
        let name = name.to_ascii_uppercase();
        let (plain, session) = match name.strip_suffix("-SESS") {
            Some(plain) => (plain, true),
            None => (name.as_str(), false),
        };
        let algorithm = match plain {
            "MD5" => Self::Md5,
            "SHA-256" => Self::Sha256,
            "SHA-512-256" => Self::Sha512Of256,
            _ => return None,
        };
        Some((algorithm, session))
    }

    fn name(self, session: bool) -> &'static str {
        match (self, session) {
            (Self::Md5, false) => "MD5",
            (Self::Md5, true) => "MD5-sess",
            (Self::Sha256, false) => "SHA-256",
            (Self::Sha256, true) => "SHA-256-sess",
            (Self::Sha512Of256, false) => "SHA-512-256",
            (Self::Sha512Of256, true) => "SHA-512-256-sess",
        }
    }

    /// The hash of the parts with `:` between them, in hexadecimal.
    fn of(self, parts: &[&[u8]]) -> Zeroizing<String> {
        let text = Zeroizing::new(parts.join(&b':'));
        Zeroizing::new(match self {
            Self::Md5 => hex(&md5::compute(&*text).0),
            Self::Sha256 => hex(digest::digest(&digest::SHA256, &text).as_ref()),
            Self::Sha512Of256 => hex(digest::digest(&digest::SHA512_256, &text).as_ref()),
        })
    }
}

/// What one origin asked, and how often it was answered.
struct Asked {
    scheme: Box<str>,
    authority: Box<str>,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    session: bool,
    /// `auth-int`: the body is covered.
    integrity: bool,
    userhash: bool,
    cnonce: String,
    answers: AtomicU32,
    /// An answer to it was taken.
    taken: AtomicBool,
}

/// What the origins of one lease asked last.
#[derive(Default)]
pub struct AskedBefore(Mutex<Vec<Arc<Asked>>>);

impl AskedBefore {
    fn by(&self, scheme: &str, authority: &str) -> Option<Arc<Asked>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|one| *one.scheme == *scheme && *one.authority == *authority).cloned()
    }

    fn keep(&self, asked: Asked) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|one| one.scheme != asked.scheme || one.authority != asked.authority);
        known.push(Arc::new(asked));
    }
}

impl DigestAuth {
    /// Answer what the origin asked before; a call to one that has not asked yet goes as it is.
    pub fn sign(
        &self,
        lease: &Lease,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        headers.remove(AUTHORIZATION);
        match lease.asked_before().by(request.scheme, request.authority) {
            Some(asked) => {
                let count = asked.answers.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
                let answer = asked.answer(lease, request, count)?;
                // Bytes, because a realm may have any letters, and is said again as it was.
                let mut value = HeaderValue::from_bytes(answer.as_bytes())
                    .map_err(|_| unusable("The provider's Digest cannot be answered.".to_owned()))?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A call was not refused: the password is right.
    pub fn taken(lease: &Lease, origin: &Origin) {
        if let Some(asked) = lease.asked_before().by(origin.scheme().as_str(), origin.authority()) {
            asked.taken.store(true, Ordering::Relaxed);
        }
    }

    /// The origin refused a call by 401: learn what it asks, and say whether to answer it.
    ///
    /// `shown` is what the call carried. A password that was never taken is not shown a second time.
    pub fn asked(
        &self,
        lease: &Lease,
        origin: &Origin,
        answer: &HeaderMap,
        shown: Option<&HeaderValue>,
    ) -> Result<bool, Refusal> {
        let known = lease.asked_before().by(origin.scheme().as_str(), origin.authority());
        let Some((asked, stale)) = self.best(origin, answer)? else { return Ok(false) };
        let again = match (&known, shown) {
            // Another call has learnt it meanwhile.
            (Some(known), shown) if !shown.is_some_and(|shown| known.is_in(shown)) => return Ok(true),
            (Some(known), _) => stale || known.taken.load(Ordering::Relaxed) && known.nonce != asked.nonce,
            (None, _) => true,
        };
        lease.asked_before().keep(asked);
        Ok(again)
    }

    /// The strongest challenge that can be answered, and whether it says that only the nonce was too old.
    /// None where Digest is not asked for.
    fn best(&self, origin: &Origin, answer: &HeaderMap) -> Result<Option<(Asked, bool)>, Refusal> {
        let mut why = None;
        let mut found: Option<(Asked, bool)> = None;
        for field in answer.get_all(WWW_AUTHENTICATE) {
            let read = std::str::from_utf8(field.as_bytes()).ok().and_then(challenges);
            for challenge in read.into_iter().flatten() {
                if !challenge.scheme.eq_ignore_ascii_case("Digest") {
                    continue;
                }
                match self.usable(origin, &challenge)? {
                    Ok(asked) => {
                        if found.as_ref().is_none_or(|(before, _)| before.algorithm < asked.algorithm) {
                            let stale = challenge.parameter("stale");
                            found = Some((asked, stale.is_some_and(|s| s.eq_ignore_ascii_case("true"))));
                        }
                    }
                    Err(reason) => why = Some(reason),
                }
            }
        }
        match (found, why) {
            (None, Some(reason)) => Err(unusable(reason.to_owned())),
            (found, _) => Ok(found),
        }
    }

    fn usable(
        &self,
        origin: &Origin,
        challenge: &Challenge<'_>,
    ) -> Result<Result<Asked, &'static str>, Refusal> {
        let said = |name: &str| challenge.parameter(name).filter(|value| value.len() <= SAID_BYTES_MAX);
        let Some((algorithm, session)) = Algorithm::named(said("algorithm").unwrap_or("MD5")) else {
            return Ok(Err("The provider asks for Digest with an algorithm that is not known."));
        };
        if algorithm == Algorithm::Md5 && !self.md5 {
            return Ok(Err(
                "The provider offers Digest with MD5 alone; `digest: {md5: true}` in its `auth` allows that.",
            ));
        }
        let Some((realm, nonce_said)) = said("realm").zip(said("nonce")) else {
            return Ok(Err("The provider asks for Digest without a realm or a nonce."));
        };
        let mut offers = said("qop").unwrap_or_default().split(',').map(str::trim);
        let offers_auth = offers.clone().any(|offer| offer.eq_ignore_ascii_case("auth"));
        if !offers_auth && !offers.any(|offer| offer.eq_ignore_ascii_case("auth-int")) {
            return Ok(Err(
                "The provider asks for Digest of the old kind, without `qop`, which is not answered.",
            ));
        }
        Ok(Ok(Asked {
            scheme: origin.scheme().as_str().into(),
            authority: origin.authority().into(),
            realm: realm.to_owned(),
            nonce: nonce_said.to_owned(),
            opaque: challenge.parameter("opaque").map(str::to_owned),
            algorithm,
            session,
            integrity: !offers_auth,
            userhash: said("userhash").is_some_and(|value| value.eq_ignore_ascii_case("true")),
            cnonce: nonce()?,
            answers: AtomicU32::new(0),
            taken: AtomicBool::new(false),
        }))
    }
}

impl Asked {
    fn is_in(&self, shown: &HeaderValue) -> bool {
        let nonce = format!(", nonce={}, ", quoted(&self.nonce));
        std::str::from_utf8(shown.as_bytes()).is_ok_and(|shown| shown.contains(&nonce))
    }

    /// §3.4. The same cnonce serves a nonce throughout, as `-sess` wants it; the count tells answers apart.
    fn answer(
        &self,
        lease: &Lease,
        request: &Unsigned<'_>,
        count: u32,
    ) -> Result<Zeroizing<String>, Refusal> {
        let user = text_field(lease, "username")?;
        let h = |parts: &[&[u8]]| self.algorithm.of(parts);
        let (nonce, cnonce) = (self.nonce.as_bytes(), self.cnonce.as_bytes());
        let mut key = h(&[user.as_bytes(), self.realm.as_bytes(), field(lease, "password")?]);
        if self.session {
            key = h(&[key.as_bytes(), nonce, cnonce]);
        }
        let uri = match request.query {
            Some(query) => Zeroizing::new(format!("{}?{query}", request.path)),
            None => Zeroizing::new(request.path.to_owned()),
        };
        let method = request.method.as_str().as_bytes();
        let (qop, what) = if self.integrity {
            let body = h(&[request.body.unwrap_or_default()]);
            ("auth-int", h(&[method, uri.as_bytes(), body.as_bytes()]))
        } else {
            ("auth", h(&[method, uri.as_bytes()]))
        };
        let count = format!("{count:08x}");
        let response = h(&[key.as_bytes(), nonce, count.as_bytes(), cnonce, qop.as_bytes(), what.as_bytes()]);
        let mut text = Zeroizing::new("Digest ".to_owned());
        // Writing to a String cannot fail.
        let _ = if self.userhash {
            let hashed = h(&[user.as_bytes(), self.realm.as_bytes()]);
            write!(*text, "username=\"{}\", userhash=true", *hashed)
        } else if user.is_ascii() {
            write!(*text, "username={}", quoted(user))
        } else {
            // §3.4: as RFC 8187 has it.
            write!(*text, "username*=UTF-8''{}", escaped(user.as_bytes()))
        };
        let _ = write!(
            *text,
            ", realm={}, nonce={}, uri={}, algorithm={}, qop={qop}, nc={count}, cnonce={}, response=\"{}\"",
            quoted(&self.realm),
            quoted(&self.nonce),
            quoted(&uri),
            self.algorithm.name(self.session),
            quoted(&self.cnonce),
            *response,
        );
        if let Some(opaque) = &self.opaque {
            let _ = write!(*text, ", opaque={}", quoted(opaque));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn lease(username: &str, password: &str) -> Lease {
        let field = |name: &str, value: &str| (name.into(), Zeroizing::new(value.as_bytes().to_vec()));
        let fields = [field("username", username), field("password", password)].into_iter().collect();
        Lease::new(1, 0, Vec::new(), fields, u64::MAX).expect("lease")
    }

    fn get<'r>(authority: &'r str, path: &'r str) -> Unsigned<'r> {
        Unsigned {
            method: &Method::GET,
            scheme: "https",
            authority,
            path,
            query: None,
            body: None,
            now_ms: 0,
        }
    }

    fn asking(fields: &[&str]) -> HeaderMap {
        let values = fields.iter().map(|field| HeaderValue::from_str(field).expect("field"));
        values.map(|value| (WWW_AUTHENTICATE, value)).collect()
    }

    fn origin(text: &str) -> Origin {
        text.parse().expect("origin")
    }

    const BOTH: [&str; 2] = [
        r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#,
        r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#,
    ];

    fn answered(md5: bool, fields: &[&str], cnonce: &str, lease: &Lease, request: &Unsigned<'_>) -> String {
        let digest = DigestAuth { md5 };
        let origin = origin(&format!("https://{}", request.authority));
        let (mut asked, _) = digest.best(&origin, &asking(fields)).expect("usable").expect("asked");
        asked.cnonce = cnonce.to_owned();
        asked.answer(lease, request, 1).expect("answer").to_string()
    }

    /// RFC 7616 §3.9.1.
    #[test]
    fn the_answers_are_those_of_the_rfc() {
        let lease = lease("Mufasa", "Circle of Life");
        let request = get("www.example.org", "/dir/index.html");
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let strong = answered(true, &BOTH, cnonce, &lease, &request);
        assert!(
            strong.contains(r#"response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1""#)
        );
        assert!(strong.contains("algorithm=SHA-256, qop=auth, nc=00000001"));
        let weak = answered(true, &BOTH[1..], cnonce, &lease, &request);
        assert!(weak.contains(r#"response="8ca523f5e9506fed4657c9700eebdbec""#));
    }

    /// RFC 7616 §3.9.2, with the values of its erratum 4897: those that were printed came of another hash.
    #[test]
    fn a_user_may_be_hashed_and_have_any_letters() {
        let lease = lease("J\u{e4}s\u{f8}n Doe", "Secret, or not?");
        let request = get("api.example.org", "/doe.json");
        let asking = r#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, userhash=true"#;
        let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";
        let text = answered(false, &[asking], cnonce, &lease, &request);
        assert!(text.contains(
            r#"username="793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b", userhash=true"#
        ));
        assert!(
            text.contains(r#"response="3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5""#)
        );
        let plain = answered(false, &[&asking.replace(", userhash=true", "")], cnonce, &lease, &request);
        assert!(plain.contains("username*=UTF-8''J%C3%A4s%C3%B8n%20Doe"));
    }

    #[test]
    fn what_is_weaker_than_declared_is_not_answered() {
        let lease = lease("u", "p");
        let at = origin("https://api.test");
        for (field, says) in [
            (r#"Digest realm="r", nonce="n", qop="auth""#, "MD5 alone"),
            (r#"Digest realm="r", nonce="n", algorithm=SHA-256"#, "without `qop`"),
            (r#"Digest realm="r", algorithm=SHA-256, qop="auth""#, "without a realm or a nonce"),
            (r#"Digest realm="r", nonce="n", algorithm=SHA3, qop="auth""#, "not known"),
        ] {
            let refusal =
                DigestAuth { md5: false }.asked(&lease, &at, &asking(&[field]), None).expect_err("refused");
            assert!(refusal.detail.contains(says), "{}", refusal.detail);
        }
        for field in ["Basic realm=\"r\"", "Digest realm=\"open", "Bearer"] {
            let again = DigestAuth { md5: true }.asked(&lease, &at, &asking(&[field]), None);
            assert!(!again.expect("no refusal"), "{field}");
        }
    }

    fn challenge(nonce: &str, more: &str) -> HeaderMap {
        asking(&[&format!(r#"Digest realm="r", nonce="{nonce}", qop="auth", algorithm=SHA-256{more}"#)])
    }

    fn shown(digest: &DigestAuth, lease: &Lease, authority: &str) -> Option<HeaderValue> {
        let mut headers = HeaderMap::new();
        digest.sign(lease, &get(authority, "/"), &mut headers).expect("signed");
        headers.remove(AUTHORIZATION)
    }

    #[test]
    fn later_calls_answer_before_they_are_asked_and_count() {
        let (digest, lease, at) = (DigestAuth::default(), lease("u", "p"), origin("https://api.test"));
        assert!(shown(&digest, &lease, "api.test").is_none());
        assert!(digest.asked(&lease, &at, &challenge("n1", ""), None).expect("asked"));
        for count in 1..4 {
            let shown = shown(&digest, &lease, "api.test").expect("answer");
            assert!(
                shown.to_str().expect("text").contains(&format!(
                    "nonce=\"n1\", uri=\"/\", algorithm=SHA-256, qop=auth, nc={count:08x}"
                ))
            );
        }
        // Nobody else is told.
        assert!(shown(&digest, &lease, "files.test").is_none());
        assert!(shown(&digest, &lease, "api.test:8443").is_none());
    }

    #[test]
    fn a_password_that_was_never_taken_is_not_shown_twice() {
        let (digest, lease, at) = (DigestAuth::default(), lease("u", "p"), origin("https://api.test"));
        assert!(digest.asked(&lease, &at, &challenge("n1", ""), None).expect("asked"));
        let first = shown(&digest, &lease, "api.test");
        // Wrong: the nonce is new, and it is not stale.
        assert!(!digest.asked(&lease, &at, &challenge("n2", ""), first.as_ref()).expect("asked"));
        // Only the nonce was too old.
        let second = shown(&digest, &lease, "api.test");
        assert!(digest.asked(&lease, &at, &challenge("n3", ", stale=TRUE"), second.as_ref()).expect("asked"));
        DigestAuth::taken(&lease, &at);
        // A server that forgot its nonces and does not say so.
        let third = shown(&digest, &lease, "api.test");
        assert!(digest.asked(&lease, &at, &challenge("n4", ""), third.as_ref()).expect("asked"));
        let fourth = shown(&digest, &lease, "api.test");
        assert!(!digest.asked(&lease, &at, &challenge("n5", ""), fourth.as_ref()).expect("asked"));
    }
}
