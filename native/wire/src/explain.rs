//! Say what each step would decide about a request, by the very code that decides it, without any call.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, Uri};
use serde::Serialize;

use crate::admit::limits_of;
use crate::agreement::{Clock, Moment};
use crate::authenticate::Authenticated;
use crate::cache::asked::{Asked, one_spelling};
use crate::decide::{Named, decide, for_client};
use crate::engine::{EngineError, Question, unix_now};
use crate::error::{Code, Refusal};
use crate::forward::telling::told as told_of_faults;
use crate::route::{address, route};
use crate::snapshot::{AccessToken, Provider, Snapshot};

/// One step's part: its verdict, the rule and a sentence.
#[derive(Debug, Serialize)]
struct StepVerdict {
    step: &'static str,
    verdict: &'static str,
    rule: Option<String>,
    detail: String,
}

#[derive(Debug, Serialize)]
struct Explanation {
    outcome: &'static str,
    status: Option<u16>,
    provider: Option<String>,
    operation: Option<String>,
    client: Option<String>,
    connection: Option<String>,
    origin: Option<String>,
    steps: Vec<StepVerdict>,
}

/// The question and the answer are JSON; Err says that the question itself makes no sense.
pub fn explain(snapshot: &[u8], question: &str) -> Result<String, EngineError> {
    let snapshot = Snapshot::parse(snapshot)?;
    let question: Question = serde_json::from_str(question)?;
    let mut told = Explanation {
        outcome: "allow",
        status: None,
        provider: None,
        operation: None,
        client: None,
        connection: None,
        origin: None,
        steps: Vec::new(),
    };
    if let Err((step, refusal)) = walk(&snapshot, &question, &mut told) {
        told.outcome = refusal.code.as_str();
        told.status = Some(refusal.code.problem().status);
        told.steps.push(StepVerdict {
            step,
            verdict: "refuse",
            rule: refusal.rule.as_deref().map(str::to_owned),
            detail: refusal.detail.into_owned(),
        });
    }
    Ok(serde_json::to_string(&told)?)
}

fn walk(
    snapshot: &Snapshot,
    question: &Question,
    told: &mut Explanation,
) -> Result<(), (&'static str, Refusal)> {
    let malformed = |detail: &'static str| ("listen", Refusal::new(Code::MalformedRequest, detail));
    let method: Method =
        question.method.parse().map_err(|_| malformed("The method is not a word of HTTP."))?;
    let uri: Uri = question.target.parse().map_err(|_| malformed("The target is not a URI."))?;
    told.pass("listen", None, format!("{method} {}", uri.path()));

    let consumer = snapshot.consumer_named(&question.consumer).ok_or_else(|| {
        (
            "authenticate",
            Refusal::new(Code::Unauthenticated, format!("No consumer is called `{}`.", question.consumer)),
        )
    })?;
    let token = AccessToken {
        id: Arc::from("an access token"),
        consumer,
        client: None,
        providers: Vec::new(),
        expires: u64::MAX,
    };
    let caller = Authenticated { token: &token, consumer: snapshot.consumer(consumer) };
    told.pass(
        "authenticate",
        None,
        format!("consumer `{}`, with any valid access token of its own", question.consumer),
    );

    let address = address(snapshot, &question.host, uri.path());
    told.provider = address.provider.map(|(_, p)| p.name.to_string());
    let routed = route(caller, &address, &method).map_err(|refusal| ("route", refusal))?;
    let (provider, operation, routed_number) = (routed.provider, routed.operation, routed.number);
    told.operation = Some(operation.id.to_string());
    told.pass("route", None, format!("{}:{} at {}", provider.name, operation.id, address.path));

    let named = Named {
        client_in_path: address.client,
        client_in_header: question.client.as_deref(),
        connection: question.connection.as_deref(),
    };
    let refused = |refusal| ("decide", refusal);
    let client = for_client(snapshot, &routed, named).map_err(refused)?;
    told.client = Some(snapshot.client_name(client).to_string());
    let clock = Clock::default();
    let now = Moment { unix_ms: unix_now() * 1000, at: Instant::now(), clock: &clock };
    let allowed = decide(snapshot, routed, client, named, now).map_err(refused)?;
    told.connection = allowed.connection.as_ref().map(|c| c.id.to_string());
    let client = told.client.clone().unwrap_or_default();
    told.pass("decide", Some(&allowed.rule), format!("{} for client `{client}`", allowed.verdict.as_str()));

    if let (Some(gate), Some(by)) = (&allowed.routed.operation.gate, allowed.agreed.by()) {
        told.pass("decide", Some(by), format!("agreed with `{}`: {}", provider.name, gate.told()));
    }

    for limit in limits_of(snapshot, &allowed) {
        told.pass("admit", Some(limit.name()), limit.to_string());
    }

    for (rule, line) in operation.checks.iter().flat_map(|checks| checks.explained()) {
        told.pass("check", Some(&rule), line);
    }
    let refused = |refusal| ("protect", refusal);
    match &operation.policy {
        Some(policy) => told.pass("protect", Some(&policy.name), policy.describe(unix_now())),
        None if allowed.refuses_unprotected() => return Err(refused(allowed.unprotected())),
        None => told.pass("protect", None, "no policy: all that the call carries goes out".to_owned()),
    }

    let origin = match &allowed.connection {
        Some(connection) => connection.origins.get(operation.origin).cloned(),
        None => provider.origins.get(operation.origin).cloned().flatten(),
    };
    told.origin = origin.as_ref().map(ToString::to_string);
    if let (Some(rules), Some(origin)) = (&operation.cache, &origin) {
        let query = crate::forward::outgoing::outgoing_query(uri.query(), provider, None);
        let query = query.as_deref().map(|query| one_spelling(query).into_owned());
        let asked = Asked {
            rules,
            method: &method,
            origin,
            path: &one_spelling(address.path),
            query: query.as_deref(),
            headers: &provider.headers.iter().cloned().collect(),
            body: None,
            has_body: false,
            whose: crate::call::whose(snapshot, &allowed, None),
            provider,
            operation: &operation.id,
        };
        told.pass("cache", None, asked.explained());
    }
    for (quota, drawn) in drawn(provider, routed_number) {
        told.pass("reserve", Some(quota), drawn);
    }
    told.pass(
        "dial",
        None,
        format!(
            "{}; its addresses and certificate are checked at the call",
            told.origin.clone().unwrap_or_default()
        ),
    );
    let attached = if provider.attach.is_empty() {
        "no credential"
    } else {
        "the connection's credential, bound to that origin"
    };
    told.pass("attach", None, attached.to_owned());
    told.pass("forward", None, told_of_faults(&allowed.routed, &method));
    Ok(())
}

/// Which quotas a call would draw on, and how much.
fn drawn(provider: &Provider, operation: u32) -> impl Iterator<Item = (&str, String)> {
    let draws = provider.quotas.iter().flat_map(move |plan| {
        plan.draws(operation).iter().map(|draw| (draw.cost, &*plan.quotas[draw.quota]))
    });
    draws.map(|(cost, quota)| {
        let waits = match quota.queue {
            Some(queue) => format!("waits up to {} ms", queue.wait_ms),
            None => "does not wait".into(),
        };
        let (describe, model) = (quota.describe(), quota.kind.name());
        (&*quota.name, format!("costs {cost} of quota `{}`: {describe}, by `{model}`; {waits}", quota.name))
    })
}

impl Explanation {
    fn pass(&mut self, step: &'static str, rule: Option<&str>, detail: String) {
        self.steps.push(StepVerdict { step, verdict: "pass", rule: rule.map(str::to_owned), detail });
    }
}
