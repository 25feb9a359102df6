//! Say what would become of a call when its provider fails: for `explain`, and from the same rules.

use http::Method;

use crate::forward::rules::{FieldName, Idempotency, KeyPlace, Resilience, RetryRule};
use crate::forward::tries::{Repeat, is_safe};
use crate::route::Routed;

pub fn told(routed: &Routed<'_>, method: &Method) -> String {
    let total = routed.operation.deadlines.as_deref().unwrap_or(&routed.provider.deadlines).total();
    let mut said = vec![format!("within {} s", total.as_secs_f64())];
    let plain = Resilience::default();
    let rules = routed.provider.resilience.as_deref().unwrap_or(&plain);
    match &rules.retry {
        Some(rule) => said.push(again(rule, rules.idempotency.as_ref(), routed.number, method)),
        None => said.push("sent once".to_owned()),
    }
    if rules.failover.contains(&routed.operation.origin) {
        let others = rules.failover.iter().filter(|number| **number != routed.operation.origin);
        let names: Vec<String> = others
            .filter_map(|number| routed.provider.origins[*number].as_ref())
            .map(ToString::to_string)
            .collect();
        said.push(format!("the next try goes to {}", names.join(", ")));
    }
    if let Some(rule) = rules.breaker {
        said.push(format!("not sent for {} s while its origin fails", rule.open().as_secs_f64()));
    }
    if let Some(rule) = rules.bulkhead {
        said.push(format!("beside at most {} calls of its client", rule.client_calls - 1));
    }
    if rules.hedge.as_ref().is_some_and(|rule| rule.covers(routed.number)) && is_safe(method) {
        said.push("asked a second time when it is late".to_owned());
    }
    said.join("; ")
}

fn again(rule: &RetryRule, convention: Option<&Idempotency>, number: u32, method: &Method) -> String {
    let unsent = format!("sent again up to {} times where nothing reached the provider", rule.tries);
    let statuses: Vec<String> = rule.statuses.iter().map(ToString::to_string).collect();
    let received = format!("after a broken connection or {}", statuses.join(", "));
    match (Repeat::of(method), convention.filter(|convention| convention.takes(number))) {
        (Repeat::Idempotent, _) => format!("{unsent}, and {received}"),
        (_, Some(convention)) => {
            let place = match &convention.place {
                KeyPlace::Header(FieldName(name)) => format!("header `{name}`"),
                KeyPlace::Body(name) => format!("member `{name}` of the body"),
                KeyPlace::Query(name) => format!("parameter `{name}`"),
            };
            let whose = if convention.generate { "made where there is none" } else { "if it has one" };
            format!("{unsent}, and {received} by its key in {place}, {whose}")
        }
        (_, None) => format!("{unsent}, and never otherwise: a second arrival could count twice"),
    }
}
