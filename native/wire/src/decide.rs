//! Choose whether one call may proceed.
//!
//! Runs after `route`. Pure: no clock of its own, no I/O, no secrets. Global denials come first; then a
//! grant must cover the call; anything not proven allowed is denied, with a reason an operator can act on.

use std::sync::Arc;

use crate::error::{Code, Refusal};
use crate::route::Routed;
use crate::snapshot::{ClientIndex, Connection, Consumer, Deadlines, Grant, Mode, Snapshot};

/// Where a call says for which client, and by which connection, it is made.
#[derive(Debug, Default, Clone, Copy)]
pub struct Named<'r> {
    pub client_in_path: Option<&'r str>,
    pub client_in_header: Option<&'r str>,
    pub connection: Option<&'r str>,
}

/// What was decided about a call that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// No grant covers it; a grant in report mode lets it through.
    Report,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Report => "report",
        }
    }
}

/// Proof that the call may proceed, for whom and through which connection.
#[derive(Debug)]
pub struct AllowedCall<'s> {
    pub routed: Routed<'s>,
    pub client: ClientIndex,
    pub verdict: Verdict,
    pub rule: Arc<str>,
    /// The grant that covers the call, or lets it through unless it is covered.
    pub grant: &'s Grant,
    pub connection: Option<Arc<Connection>>,
}

impl AllowedCall<'_> {
    /// The operation's own, or the provider's.
    pub fn deadlines(&self) -> &Deadlines {
        self.routed.operation.deadlines.as_deref().unwrap_or(&self.routed.provider.deadlines)
    }

    /// Whether its operation needs a policy for what it sends.
    pub fn refuses_unprotected(&self) -> bool {
        self.routed.provider.refuses_unprotected || self.grant.refuses_unprotected
    }

    /// The refusal of a call whose operation needs a policy and has none.
    pub fn unprotected(&self) -> Refusal {
        let (provider, operation) = (&self.routed.provider.name, &self.routed.operation.id);
        let detail = format!(
            "No policy under `protection` says what `{provider}:{operation}` may send, and such calls are refused (`unprotected: refuse`). `tidegate protect list {provider}` shows what has one."
        );
        Refusal::new(Code::Unprotected, detail)
    }
}

/// Decide about a call for `client`, as `for_client` found it; `now` is in Unix seconds.
pub fn decide<'s>(
    snapshot: &'s Snapshot,
    routed: Routed<'s>,
    client: ClientIndex,
    named: Named<'_>,
    now: u64,
) -> Result<AllowedCall<'s>, Refusal> {
    // 1. Global denials, before anything can allow.
    refuse_denied(snapshot, &routed, client)?;
    // 2. What the access token is limited to.
    let token = routed.caller.token;
    if !token.providers.is_empty() && !token.providers.contains(&routed.provider_index) {
        return Err(Refusal::new(
            Code::Denied,
            format!("The access token `{}` is not for provider `{}`.", token.id, routed.provider.name),
        )
        .by(Arc::clone(&token.id)));
    }
    // 3. A grant that covers the call.
    let (verdict, grant) = granted(snapshot, &routed, client, now)?;
    // 4. The client's account at the provider.
    let connection = connection(snapshot, &routed, client, named.connection.unwrap_or("default"))?;
    Ok(AllowedCall { routed, client, verdict, rule: Arc::clone(&grant.name), grant, connection })
}

/// For which client the call is: it must be one of the consumer's.
pub fn for_client(
    snapshot: &Snapshot,
    routed: &Routed<'_>,
    named: Named<'_>,
) -> Result<ClientIndex, Refusal> {
    let Consumer { name: consumer, clients, .. } = routed.caller.consumer;
    // One answer for a client that is not there and for one that is another's: nobody learns names here.
    let unknown = || {
        Refusal::new(
            Code::UnknownClient,
            format!("Consumer `{consumer}` has no client of the name that the call gives."),
        )
    };
    let mut chosen = routed.caller.token.client;
    for name in [named.client_in_path, named.client_in_header].into_iter().flatten() {
        let index = snapshot.client(name).ok_or_else(unknown)?;
        if chosen.is_some_and(|already| already != index) {
            return Err(unknown());
        }
        chosen = Some(index);
    }
    let ((Some(chosen), _) | (None, &[chosen])) = (chosen, clients.as_slice()) else {
        return Err(Refusal::new(
            Code::ClientRequired,
            format!(
                "Consumer `{consumer}` acts for {} clients: name one by `/~CLIENT/…`, `Tidegate-Client` or a token bound to it.",
                clients.len()
            ),
        ));
    };
    if clients.contains(&chosen) { Ok(chosen) } else { Err(unknown()) }
}

fn refuse_denied(snapshot: &Snapshot, routed: &Routed<'_>, client: ClientIndex) -> Result<(), Refusal> {
    let consumer = routed.caller.token.consumer;
    let denial = snapshot.denials(routed.provider_index).iter().find(|denial| {
        snapshot.operation_sets[denial.operations].contains(routed.number)
            && (denial.consumers.is_empty() || denial.consumers.contains(&consumer))
            && (denial.clients.is_empty() || denial.clients.contains(&client))
    });
    match denial {
        Some(denial) => Err(Refusal::new(
            Code::Denied,
            format!(
                "`{}:{}` is denied for all by `{}`: {}",
                routed.provider.name, routed.operation.id, denial.name, denial.reason
            ),
        )
        .by(Arc::clone(&denial.name))),
        None => Ok(()),
    }
}

fn granted<'s>(
    snapshot: &'s Snapshot,
    routed: &Routed<'_>,
    client: ClientIndex,
    now: u64,
) -> Result<(Verdict, &'s Grant), Refusal> {
    let grants = snapshot.grants(routed.caller.token.consumer, routed.provider_index);
    let for_client = |grant: &Grant| grant.clients.is_empty() || grant.clients.contains(&client);
    let covering =
        grants.and_then(|grants| grants.covering(&snapshot.operation_sets, routed.number, for_client));
    if let Some(grant) = covering {
        return Ok((Verdict::Allow, grant));
    }
    let reports = |grant: &Grant| match grant.mode {
        Mode::Enforce => false,
        Mode::Report { enforce_from } => enforce_from.is_none_or(|from| now < from),
    };
    let reporting = grants.and_then(|grants| grants.iter().find(|grant| for_client(grant) && reports(grant)));
    if let Some(grant) = reporting {
        return Ok((Verdict::Report, grant));
    }
    let (consumer, provider, operation) =
        (&routed.caller.consumer.name, &routed.provider.name, &routed.operation.id);
    Err(Refusal::new(
        Code::Denied,
        format!(
            "Consumer `{consumer}` has no grant for `{provider}:{operation}` for client `{}`. Add one under `grants` in tidegate.yaml; `tidegate explain {consumer} METHOD URL` shows why.",
            snapshot.client_name(client)
        ),
    )
    .by(Arc::from("no grant")))
}

fn connection(
    snapshot: &Snapshot,
    routed: &Routed<'_>,
    client: ClientIndex,
    name: &str,
) -> Result<Option<Arc<Connection>>, Refusal> {
    let provider = routed.provider;
    match snapshot.connection(client, routed.provider_index, name) {
        Some(connection) => Ok(Some(Arc::clone(connection))),
        // A provider without a credential needs no connection, unless its origin is for one to fill.
        None if provider.attach.is_empty()
            && !provider.tls.client_certificate
            && name == "default"
            && provider.origins.iter().all(Option::is_some) =>
        {
            Ok(None)
        }
        None => Err(Refusal::new(
            Code::UnknownConnection,
            format!(
                "Client `{}` has no connection of that name at `{1}`. `tidegate connect {1} --client {0}` makes one.",
                snapshot.client_name(client),
                provider.name
            ),
        )),
    }
}
