//! The step as a whole, without a network: what is stored for one principal reaches no other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, response};

use crate::cache::asked::{Asked, Principal};
use crate::cache::status::Way;
use crate::cache::store::Bounds;
use crate::cache::storing::Settled;
use crate::cache::{Cache, Found};
use crate::origin::Origin;
use crate::snapshot::{Provider, Snapshot};

const CLIENTS: usize = 50;

pub(crate) fn snapshot(rules: &str) -> Snapshot {
    let document = format!(
        "{{\"format\":1,\"revision\":1,\"clients\":[],\"providers\":[{{\"name\":\"p\",\"origins\":[\"https://p.test\"],\
         \"headers\":[[\"version\",\"1\"]],\"operations\":[[\"get\",\"GET\",\"/{{x}}\",0],[\"post\",\"POST\",\"/{{x}}\",0]],\
         \"cache\":{{\"rules\":[{rules}],\"of\":[0,0]}}}}]}}"
    );
    Snapshot::parse(document.as_bytes()).expect("snapshot")
}

/// One thread's generator of the same numbers every time (Marsaglia's xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or_default() % end
    }
}

pub(crate) fn whose(client: usize, connection: usize, credential: usize) -> Principal {
    let mut print = [0; 32];
    print[..8].copy_from_slice(&credential.to_be_bytes());
    Principal {
        client: format!("client-{client}").into(),
        provider: "p".into(),
        provider_rules: 1,
        connection: Some((format!("con-{client}-{connection}").into(), 1)),
        credential: Some(print),
    }
}

pub(crate) fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("value"));
    }
    headers
}

fn answer(status: StatusCode, lines: &[(&'static str, &str)]) -> response::Parts {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    parts.headers = headers(lines);
    parts.headers.insert("content-length", HeaderValue::from_static("1"));
    parts
}

pub(crate) struct Caller<'c> {
    pub cache: &'c Arc<Cache>,
    pub provider: &'c Provider,
    pub origin: &'c Origin,
}

impl Caller<'_> {
    /// Make a call; the provider answers with `said` and the body. What the consumer gets, and how.
    pub async fn call(
        &self,
        whose: Principal,
        method: &Method,
        (path, query): (&str, Option<&str>),
        fields: &HeaderMap,
        said: &[(&'static str, &str)],
        body: String,
    ) -> (Bytes, Way) {
        let operation = &self.provider.operations[usize::from(*method == Method::POST)];
        let asked = Asked {
            rules: operation.cache.as_ref().expect("rules"),
            method,
            origin: self.origin,
            path,
            query,
            headers: fields,
            body: None,
            has_body: false,
            whose,
            provider: self.provider,
            operation: &operation.id,
        };
        let found =
            self.cache.look(&asked, Instant::now() + Duration::from_secs(5)).await.expect("no refusal");
        let mut storing = match found {
            Found::Answer(answer) => return (answer.served.body, answer.way),
            Found::Onward(storing) => storing,
        };
        storing.ask(&mut fields.clone());
        let mut parts = answer(StatusCode::OK, said);
        storing.see(&parts);
        let body = Bytes::from(body);
        match storing.settle(self.cache, self.provider, &mut parts) {
            Settled::Keep(keeping, way) => {
                keeping.commit(body.clone());
                (body, way)
            }
            Settled::Pass(way) => (body, way),
            Settled::Answer(answer) => (answer.served.body, answer.way),
        }
    }
}

#[tokio::test]
async fn of_a_million_random_calls_none_is_answered_with_what_is_anothers() {
    let snapshot =
        snapshot("{\"mode\":\"principal\",\"actors\":[\"account\"],\"sort\":true,\"ignore\":[\"utm\"]}");
    let cache = Arc::new(Cache::new(Bounds {
        bytes: 64 << 20,
        client_bytes: 1 << 20,
        answer_bytes: 64 << 10,
        disk: None,
    }));
    let origin = "https://p.test".parse().expect("origin");
    let caller = Caller { cache: &cache, provider: snapshot.provider(0), origin: &origin };
    let mut chance = Chance(0x7461_6465_6761_7465);
    let (mut hits, mut changes) = (0, 0);
    for _ in 0..1_000_000 {
        let (client, connection) = (chance.below(CLIENTS), chance.below(2));
        let account = ["", "a", "a, b", "b"][chance.below(4)];
        let language = ["de", "en", "en,de"][chance.below(3)];
        let path = format!("/{}", chance.below(6));
        let query = [None, Some("a=1&b=2"), Some("b=2&a=1&utm=9"), Some("a=1%26b=2"), Some("a=1&b=2&b=1")];
        let query = query[chance.below(5)];
        let mut fields = headers(&[("accept-language", language), ("version", ["1", "2"][chance.below(2)])]);
        if !account.is_empty() {
            fields.insert("account", HeaderValue::from_str(account).expect("value"));
        }
        let own =
            format!("{client}/{connection}/{account}/{path}/{}", fields["version"].to_str().expect("text"));
        if chance.below(500) == 0 {
            let post = Method::POST;
            caller
                .call(whose(client, connection, 0), &post, (&path, query), &fields, &[], String::new())
                .await;
            changes += 1;
            continue;
        }
        let said: &[_] = if chance.below(2) == 0 {
            &[("cache-control", "max-age=600"), ("vary", "accept-language")]
        } else {
            &[("cache-control", "max-age=600")]
        };
        // The credential is the same for all: it is not what keeps them apart.
        let (body, way) = caller
            .call(whose(client, connection, 0), &Method::GET, (&path, query), &fields, said, own.clone())
            .await;
        assert_eq!(body, own.as_bytes());
        hits += u32::from(way == Way::Hit);
    }
    assert!(hits > 500_000 && changes > 1_000, "{hits} hits, {changes} changes");
}

#[tokio::test]
async fn sharing_by_credential_joins_equal_credentials_and_no_others() {
    let snapshot = snapshot("{\"mode\":\"credential\"}");
    let cache = Arc::new(Cache::new(Bounds::default()));
    let origin = "https://p.test".parse().expect("origin");
    let caller = Caller { cache: &cache, provider: snapshot.provider(0), origin: &origin };
    let call = async |client, credential, fields: &[(&'static str, &str)]| {
        let said: &[_] = &[("cache-control", "max-age=600")];
        let own = format!("{credential}");
        let fields = headers(fields);
        caller.call(whose(client, 0, credential), &Method::GET, ("/x", None), &fields, said, own).await
    };
    assert_eq!(call(1, 7, &[]).await.1, Way::Miss);
    assert_eq!(call(2, 7, &[]).await, (Bytes::from("7"), Way::Hit));
    assert_eq!(call(2, 8, &[]).await, (Bytes::from("8"), Way::Miss));
    // A field that the provider might heed and does not name keeps its sender's answers apart.
    assert_eq!(call(3, 7, &[("x-tenant", "evil")]).await.1, Way::Miss);
    assert_eq!(call(1, 7, &[]).await.1, Way::Hit);
}

#[tokio::test]
async fn one_clients_answers_push_out_its_own_alone() {
    let snapshot = snapshot("{\"mode\":\"principal\"}");
    let bounds = Bounds { bytes: 32 << 20, client_bytes: 1 << 20, answer_bytes: 64 << 10, disk: None };
    let cache = Arc::new(Cache::new(bounds));
    let origin = "https://p.test".parse().expect("origin");
    let caller = Caller { cache: &cache, provider: snapshot.provider(0), origin: &origin };
    let call = async |client, path: String, size| {
        let said: &[_] = &[("cache-control", "max-age=600")];
        let body = "x".repeat(size);
        caller.call(whose(client, 0, 0), &Method::GET, (&path, None), &HeaderMap::new(), said, body).await.1
    };
    assert_eq!(call(1, "/mine".into(), 100).await, Way::Miss);
    for number in 0..500 {
        call(2, format!("/{number}"), 20_000).await;
    }
    assert_eq!(call(1, "/mine".into(), 100).await, Way::Hit);
    let held = cache.store.held();
    assert!(held.iter().all(|held| held.bytes <= 1 << 20), "{held:?}");
    assert_eq!(call(2, "/499".into(), 20_000).await, Way::Hit);
    assert_eq!(call(2, "/0".into(), 20_000).await, Way::Miss);
}
