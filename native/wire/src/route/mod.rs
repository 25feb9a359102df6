//! Which provider, and which of its operations.
//!
//! Runs in two parts because an access token may sit where the provider's own key would: `address` reads
//! only who is called (before `authenticate`), `route` finds the operation (after it). Whether the caller
//! may is `decide`'s to say.

pub mod path;
pub mod table;

use std::sync::Arc;

use http::Method;

use crate::authenticate::Authenticated;
use crate::error::{Code, Refusal};
use crate::route::table::Found;
use crate::snapshot::{Operation, Provider, ProviderIndex, Snapshot};

/// Who is called, by the path's prefix or by the host. Nothing is decided yet.
#[derive(Debug)]
pub struct Address<'s, 'r> {
    pub provider: Option<(ProviderIndex, &'s Provider)>,
    /// The client named in the path as `/~client/`.
    pub client: Option<&'r str>,
    /// What goes to the provider: the rest of the path, as it came.
    pub path: &'r str,
    /// What stood before it, to be put before the paths of redirects.
    pub prefix: &'r str,
}

pub fn address<'s, 'r>(snapshot: &'s Snapshot, host: &str, path: &'r str) -> Address<'s, 'r> {
    let (client, after_client) =
        match path.strip_prefix("/~").map(|rest| rest.split_once('/').unwrap_or((rest, ""))) {
            Some((client, _)) => (Some(client), &path[2 + client.len()..]),
            None => (None, path),
        };
    let by_host = snapshot.provider_at_host(host_name(host));
    let (provider, rest) = if by_host.is_some() {
        (by_host, after_client)
    } else {
        let name = after_client.strip_prefix('/').unwrap_or_default();
        let name = name.split('/').next().unwrap_or_default();
        (snapshot.provider_named(name), after_client.get(1 + name.len()..).unwrap_or_default())
    };
    Address {
        provider: provider.map(|index| (index, snapshot.provider(index))),
        client,
        path: if rest.is_empty() { "/" } else { rest },
        prefix: &path[..path.len() - rest.len()],
    }
}

/// A host without its port, and without a trailing dot.
fn host_name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Proof that the call names an operation of a provider, made for an authenticated caller.
#[derive(Debug)]
pub struct Routed<'s> {
    pub caller: Authenticated<'s>,
    pub provider_index: ProviderIndex,
    pub provider: &'s Provider,
    pub number: u32,
    pub operation: &'s Operation,
}

pub fn route<'s>(
    caller: Authenticated<'s>,
    address: &Address<'s, '_>,
    method: &Method,
) -> Result<Routed<'s>, Refusal> {
    let Some((provider_index, provider)) = address.provider else {
        return Err(Refusal::new(
            Code::UnknownProvider,
            "The path starts with no provider that is declared: use `/PROVIDER/…` or `/~CLIENT/PROVIDER/…`.",
        ));
    };
    let segments = path::segments(address.path, provider.encoded_slash)
        .map_err(|fault| Refusal::new(Code::MalformedRequest, fault.sentence).by(Arc::from(fault.rule)))?;
    let unknown = |detail: String| Err(Refusal::new(Code::UnknownOperation, detail));
    match provider.table.find(method, segments.as_slice()) {
        Found::Operation(number) => Ok(Routed {
            caller,
            provider_index,
            provider,
            number,
            operation: &provider.operations[number as usize],
        }),
        Found::OtherMethods(methods) => {
            let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
            unknown(format!(
                "Provider `{}` has this path with {}, not with {method}. `tidegate operations {}` lists what it has.",
                provider.name,
                methods.join(", "),
                provider.name
            ))
        }
        Found::Nothing => unknown(format!(
            "Provider `{0}` has no operation at this path. `tidegate operations {0}` lists what it has.",
            provider.name
        )),
    }
}
