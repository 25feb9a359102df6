//! Have a call signed by a Python hook, where no template can say how: last, on the bytes that go out.
//!
//! Part of `attach`. Only calls of providers that name a hook come here. Each hook has a queue of its own,
//! bounded, from which its threads take; whoever is not answered in time goes on without an answer, refused.
//! A hook adds header fields and parameters that are declared for it, and nothing else.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::error::{Code, Refusal};
use crate::headers;
use crate::lease::Lease;
use crate::sign::Unsigned;

/// Calls that wait for one hook; more are refused.
const QUEUE_MAX: usize = 64;
/// What a hook may add: fields and parameters, and bytes of all of them.
const ADDED_MAX: usize = 32;
const ADDED_BYTES_MAX: usize = 16 << 10;
const DETAIL_BYTES_MAX: usize = 512;
/// RFC 3986 §2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A provider's `hook`, as it is written in the snapshot.
#[derive(Debug, Clone, Deserialize)]
pub struct HookSigner {
    /// `package.module:function`.
    pub hook: Box<str>,
    /// The credential's fields that it is given.
    pub fields: Arc<[Box<str>]>,
    #[serde(default, deserialize_with = "addable")]
    pub headers: Vec<HeaderName>,
    #[serde(default)]
    pub query: Vec<String>,
    #[serde(default)]
    pub body: bool,
    pub timeout_ms: u64,
}

/// Nothing that frames or routes a request is a hook's.
fn addable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HeaderName>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let read = names.iter().map(|name| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        let name = name.filter(|name| {
            !headers::is_hop(name) && !headers::frames_or_routes(name) && *name != header::HOST
        });
        name.ok_or_else(|| serde::de::Error::custom("no header that a hook may set"))
    });
    read.collect()
}

/// One call that waits for its hook. No `Debug`: it is in clear what the hook is to sign with.
pub struct Asked {
    pub id: u64,
    pub method: String,
    pub url: Zeroizing<String>,
    pub headers: Vec<(String, Zeroizing<Vec<u8>>)>,
    pub body: Bytes,
    pub fields: Vec<(String, Zeroizing<Vec<u8>>)>,
    deadline: Instant,
}

/// What a hook gave, or what it failed with.
pub enum Answered {
    Signed { headers: Vec<(String, Zeroizing<Vec<u8>>)>, query: Vec<(String, Zeroizing<String>)> },
    Failed(String),
}

/// The calls that wait for hooks, of all workers.
#[derive(Default)]
pub struct Hooks {
    waiting: Mutex<Waiting>,
    any: Condvar,
}

#[derive(Default)]
struct Waiting {
    queues: HashMap<Box<str>, VecDeque<Asked>>,
    answers: HashMap<u64, oneshot::Sender<Answered>>,
    last: u64,
}

impl Hooks {
    /// Wait for a call to be signed by this hook.
    pub fn take(&self, hook: &str, patience: Duration) -> Option<Asked> {
        let none = |waiting: &mut Waiting| waiting.queues.get(hook).is_none_or(VecDeque::is_empty);
        let waiting = self.any.wait_timeout_while(self.waiting(), patience, none);
        let (mut waiting, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        let queue = waiting.queues.get_mut(hook)?;
        while let Some(asked) = queue.pop_front() {
            if Instant::now() < asked.deadline {
                return Some(asked);
            }
        }
        None
    }

    /// An answer that nobody waits for any more is forgotten.
    pub fn answer(&self, id: u64, answered: Answered) {
        if let Some(sender) = self.waiting().answers.remove(&id) {
            let _ = sender.send(answered);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, hook: &HookSigner, mut asked: Asked) -> Result<Answered, Refusal> {
        let deadline = asked.deadline;
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut waiting = self.waiting();
            let queued = waiting.queues.get(&hook.hook).map_or(0, VecDeque::len);
            if queued >= QUEUE_MAX {
                return Err(Refusal::new(
                    Code::Overloaded,
                    "Too many calls wait for the hook that signs them.",
                ));
            }
            waiting.last += 1;
            let id = waiting.last;
            asked.id = id;
            waiting.answers.insert(id, sender);
            waiting.queues.entry(hook.hook.clone()).or_default().push_back(asked);
            id
        };
        self.any.notify_all();
        // Whoever goes away, or is late, leaves nothing behind.
        let _leaving = Leaving { hooks: self, hook: &hook.hook, id };
        match tokio::time::timeout_at(deadline.into(), receiver).await {
            Ok(Ok(answered)) => Ok(answered),
            _ => Err(Refusal::new(
                Code::HookFailed,
                "The hook that signs this provider's calls did not answer in time.",
            )
            .because(format!("{}: no answer within {} ms", hook.hook, hook.timeout_ms))),
        }
    }
}

struct Leaving<'h> {
    hooks: &'h Hooks,
    hook: &'h str,
    id: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut waiting = self.hooks.waiting();
        waiting.answers.remove(&self.id);
        if let Some(queue) = waiting.queues.get_mut(self.hook) {
            queue.retain(|asked| asked.id != self.id);
            if queue.is_empty() {
                waiting.queues.remove(self.hook);
            }
        }
    }
}

impl HookSigner {
    /// Header fields that are the hook's: a consumer's own are dropped.
    pub fn owns(&self, name: &HeaderName) -> bool {
        self.headers.contains(name)
    }

    pub fn owns_parameter(&self, name: &str) -> bool {
        self.query.iter().any(|own| own == name)
    }

    /// Set the header fields that the hook gives, and return what it adds to the query.
    pub async fn sign(
        &self,
        hooks: &Hooks,
        lease: &Lease,
        request: &Unsigned<'_>,
        fields: &mut HeaderMap,
        call_ends: Instant,
    ) -> Result<Option<Zeroizing<String>>, Refusal> {
        let given = self.fields.iter().map(|name| {
            let value = lease.field(name).ok_or_else(|| {
                Refusal::new(
                    Code::CredentialUnavailable,
                    format!("The connection's credential has no field `{name}`: connect it again."),
                )
            })?;
            Ok((name.to_string(), Zeroizing::new(value.to_vec())))
        });
        let given = given.collect::<Result<Vec<_>, Refusal>>()?;
        let query = request.query.map(|query| format!("?{query}")).unwrap_or_default();
        let asked = Asked {
            id: 0,
            method: request.method.as_str().to_owned(),
            url: Zeroizing::new(format!("{}://{}{}{query}", request.scheme, request.authority, request.path)),
            headers: fields
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), Zeroizing::new(value.as_bytes().to_vec())))
                .collect(),
            body: request.body.map(Bytes::copy_from_slice).unwrap_or_default(),
            fields: given,
            deadline: call_ends.min(Instant::now() + Duration::from_millis(self.timeout_ms)),
        };
        match hooks.ask(self, asked).await? {
            Answered::Signed { headers, query } => self.take(&headers, &query, fields),
            Answered::Failed(detail) => Err(Refusal::new(
                Code::HookFailed,
                "The hook that signs this provider's calls failed; the call's record says how.",
            )
            .because(format!("{}: {}", self.hook, self.struck(lease, &detail)))),
        }
    }

    fn take(
        &self,
        added: &[(String, Zeroizing<Vec<u8>>)],
        query: &[(String, Zeroizing<String>)],
        fields: &mut HeaderMap,
    ) -> Result<Option<Zeroizing<String>>, Refusal> {
        let lies = |what: &'static str| {
            Refusal::new(
                Code::HookFailed,
                "The hook that signs this provider's calls gave something that it may not add.",
            )
            .because(format!("{}: {what}", self.hook))
        };
        let bytes = added.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + query.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if added.len() + query.len() > ADDED_MAX || bytes > ADDED_BYTES_MAX {
            return Err(lies("more than a hook may add"));
        }
        let mut ready = Vec::with_capacity(added.len());
        for (name, value) in added {
            let name = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| self.owns(name));
            let name = name.ok_or_else(|| lies("a header that is not among its `headers`"))?;
            let mut value =
                HeaderValue::from_bytes(value).map_err(|_| lies("a value that no header field can have"))?;
            value.set_sensitive(true);
            ready.push((name, value));
        }
        let mut pairs = Zeroizing::new(String::new());
        for (name, value) in query {
            if !self.owns_parameter(name) {
                return Err(lies("a parameter that is not among its `query`"));
            }
            if !pairs.is_empty() {
                pairs.push('&');
            }
            pairs.extend(utf8_percent_encode(name, UNRESERVED));
            pairs.push('=');
            pairs.extend(utf8_percent_encode(value, UNRESERVED));
        }
        for (name, value) in ready {
            fields.insert(name, value);
        }
        Ok((!pairs.is_empty()).then_some(pairs))
    }

    /// What it failed with, for the record: bounded, on one line, and without the credential.
    fn struck(&self, lease: &Lease, detail: &str) -> String {
        let mut bytes = detail.as_bytes().to_vec();
        if let Some(needles) = lease.needles() {
            let mut found = needles.find(&bytes, 0, &self.fields);
            while let Some(place) = found {
                bytes[place.start..place.end].fill(b'*');
                found = needles.find(&bytes, place.end, &self.fields);
            }
        }
        bytes.truncate(DETAIL_BYTES_MAX);
        let text = String::from_utf8_lossy(&bytes);
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    const SECRET: &str = "a secret of 8 and more";

    fn signer(json: &str) -> Result<HookSigner, serde_json::Error> {
        serde_json::from_str(json)
    }

    fn one(timeout_ms: u64) -> HookSigner {
        signer(&format!(
            r#"{{"hook": "m:f", "fields": ["key"], "headers": ["X-Sig"], "query": ["sig"], "timeout_ms": {timeout_ms}}}"#
        ))
        .expect("signer")
    }

    fn lease() -> Lease {
        let key = ("key".into(), Zeroizing::new(SECRET.as_bytes().to_vec()));
        Lease::new(1, 0, Vec::new(), [key].into_iter().collect(), u64::MAX).expect("lease")
    }

    async fn signed(
        hooks: &Hooks,
        signer: &HookSigner,
        fields: &mut HeaderMap,
    ) -> Result<Option<Zeroizing<String>>, Refusal> {
        let (method, lease) = (Method::GET, lease());
        let request = Unsigned {
            method: &method,
            scheme: "https",
            authority: "api.test",
            path: "/v1",
            query: Some("a=1"),
            body: None,
            now_ms: 0,
        };
        signer.sign(hooks, &lease, &request, fields, Instant::now() + Duration::from_secs(60)).await
    }

    /// Sign once, with this answer from the hook's thread.
    async fn with(
        answer: impl FnOnce(&Asked) -> Answered + Send + 'static,
    ) -> (HeaderMap, Result<Option<Zeroizing<String>>, Refusal>) {
        let hooks = Arc::new(Hooks::default());
        let theirs = Arc::clone(&hooks);
        let thread = std::thread::spawn(move || {
            let asked = theirs.take("m:f", Duration::from_secs(10)).expect("asked");
            theirs.answer(asked.id, answer(&asked));
        });
        let mut fields = HeaderMap::new();
        let outcome = signed(&hooks, &one(10_000), &mut fields).await;
        thread.join().expect("joined");
        assert!(hooks.waiting().answers.is_empty() && hooks.waiting().queues.is_empty());
        (fields, outcome)
    }

    fn value(text: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn what_is_declared_for_it_is_added() {
        let (fields, outcome) = with(|asked| {
            assert_eq!((asked.method.as_str(), asked.url.as_str()), ("GET", "https://api.test/v1?a=1"));
            assert_eq!(asked.fields[0].1.as_slice(), SECRET.as_bytes());
            Answered::Signed {
                headers: vec![("x-sig".into(), value("s"))],
                query: vec![("sig".into(), Zeroizing::new("a&b".into()))],
            }
        })
        .await;
        assert_eq!(outcome.expect("signed").as_deref().map(String::as_str), Some("sig=a%26b"));
        assert!(fields["x-sig"].is_sensitive());
    }

    #[tokio::test]
    async fn whatever_else_it_gives_refuses_the_call_and_changes_nothing() {
        for (name, text) in [("Host", "evil.test"), ("X-Other", "x"), ("x-sig", "a\r\nb"), ("x y", "z")] {
            let (fields, outcome) = with(move |_| Answered::Signed {
                headers: vec![("x-sig".into(), value("s")), (name.into(), value(text))],
                query: Vec::new(),
            })
            .await;
            assert_eq!(outcome.expect_err("refused").code, Code::HookFailed, "{name}");
            assert!(fields.is_empty());
        }
        let (_, outcome) = with(|_| Answered::Signed {
            headers: vec![("x-sig".into(), value(&"x".repeat(ADDED_BYTES_MAX)))],
            query: Vec::new(),
        })
        .await;
        assert_eq!(outcome.expect_err("refused").code, Code::HookFailed);
    }

    #[tokio::test]
    async fn what_it_fails_with_is_recorded_without_the_credential() {
        let (_, outcome) = with(|_| Answered::Failed(format!("ValueError: no {SECRET}\n or so"))).await;
        let refusal = outcome.expect_err("refused");
        assert!(!refusal.detail.contains("ValueError"));
        let told = refusal.internal.expect("told");
        assert!(
            told.starts_with("m:f: ValueError: no ***") && !told.contains(SECRET) && !told.contains('\n')
        );
    }

    #[tokio::test]
    async fn a_hook_that_is_late_holds_nobody() {
        let hooks = Hooks::default();
        let refusal = signed(&hooks, &one(10), &mut HeaderMap::new()).await.expect_err("refused");
        assert_eq!(refusal.code, Code::HookFailed);
        // What nobody waits for is not signed, and an answer to it is forgotten.
        assert!(hooks.take("m:f", Duration::ZERO).is_none());
        hooks.answer(1, Answered::Failed(String::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_of_a_hook_has_an_end() {
        let hooks = Hooks::default();
        let signer = one(10_000);
        let mut fields: Vec<_> = (0..=QUEUE_MAX).map(|_| HeaderMap::new()).collect();
        let calls = fields.iter_mut().map(|fields| signed(&hooks, &signer, fields));
        let mut codes = Vec::new();
        let mut calls: Vec<_> = calls.map(Box::pin).collect();
        let waker = std::task::Waker::noop();
        for call in &mut calls {
            if let std::task::Poll::Ready(outcome) =
                call.as_mut().poll(&mut std::task::Context::from_waker(waker))
            {
                codes.push(outcome.expect_err("refused").code);
            }
        }
        assert_eq!(codes, [Code::Overloaded]);
        drop(calls);
        assert!(hooks.waiting().answers.is_empty() && hooks.waiting().queues.is_empty());
    }

    #[test]
    fn what_frames_or_routes_is_no_hooks() {
        for name in ["Host", "Content-Length", "Transfer-Encoding", "Connection", "a b"] {
            let json = format!(r#"{{"hook": "m:f", "fields": [], "headers": ["{name}"], "timeout_ms": 1}}"#);
            assert!(signer(&json).is_err(), "{name}");
        }
    }
}
