//! What a try needs beforehand: the credential's lease, and a connection that is proven to lead to the origin.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::decide::AllowedCall;
use crate::dial::pool::{PoolKey, Proven};
use crate::dial::{DialCode, DialError, Target, Whose};
use crate::error::{Code, Refusal};
use crate::lease::Lease;
use crate::origin::Origin;
use crate::snapshot::{Provider, Snapshot};
use crate::worker::Worker;

pub fn lease(worker: &Worker, allowed: &AllowedCall<'_>, now: u64) -> Result<Option<Arc<Lease>>, Refusal> {
    let provider = allowed.routed.provider;
    let signs = provider.sign.is_some() || provider.hook.is_some();
    if provider.attach.is_empty() && !signs && !provider.tls.client_certificate {
        return Ok(None);
    }
    let unavailable = |detail: &'static str| Refusal::new(Code::CredentialUnavailable, detail);
    let connection = allowed.connection.as_ref().ok_or_else(|| unavailable("The call has no connection."))?;
    let lease = worker.shared.leases.get(&connection.id).ok_or_else(|| {
        if worker.shared.leases.has_ended(&connection.id) {
            return Refusal::new(
                Code::NeedsReconsent,
                format!(
                    "The consent behind connection `{}` at provider `{}` has ended or was withdrawn, or its login is refused: whoever runs Tidegate renews it with `tidegate connect`.",
                    connection.name, provider.name
                ),
            );
        }
        unavailable("The connection's credential is not leased to this engine yet: try again shortly.")
    })?;
    if !lease.is_live(now) {
        return Err(unavailable("The lease of the connection's credential has ended and was not renewed."));
    }
    if lease.version != connection.version {
        return Err(unavailable("The connection's credential is being replaced: try again shortly."));
    }
    Ok(Some(lease))
}

/// The origin of that number, as the connection has it.
pub fn origin<'c>(allowed: &'c AllowedCall<'_>, number: usize) -> Result<&'c Origin, Refusal> {
    let origin = match &allowed.connection {
        Some(connection) => connection.origins.get(number),
        None => allowed.routed.provider.origins.get(number).and_then(Option::as_ref),
    };
    origin.ok_or_else(|| Refusal::new(Code::Internal, "The operation has no origin."))
}

/// Connect to one of the provider's origins, by its number; `timeout` is for all of it.
pub async fn dial(
    worker: &Worker,
    snapshot: &Snapshot,
    allowed: &AllowedCall<'_>,
    lease: Option<&Lease>,
    number: usize,
    timeout: Duration,
) -> Result<Proven, Refusal> {
    let provider = allowed.routed.provider;
    let origin = origin(allowed, number)?;
    let whose = match &allowed.connection {
        Some(connection) => Whose::Connection(Arc::clone(&connection.id), connection.version),
        None => Whose::Client {
            provider: Arc::clone(&provider.name),
            client: Arc::clone(snapshot.client_name(allowed.client)),
        },
    };
    let identity = lease.filter(|_| provider.tls.client_certificate).map(|lease| {
        lease.identity.as_ref().ok_or_else(|| {
            Refusal::new(
                Code::CredentialUnavailable,
                "The connection's credential has no client certificate: connect it again.",
            )
        })
    });
    let target = Target {
        origin,
        whose: &whose,
        allow_private: &provider.allow_private,
        tls: &provider.tls,
        identity: identity.transpose()?,
        timeout,
    };
    let key = PoolKey { whose: whose.clone(), origin: origin.clone(), rules: provider.rules };
    worker.pool.take(key, &target).await.map_err(|error| dial_refusal(&error, provider))
}

fn dial_refusal(error: &DialError, provider: &Provider) -> Refusal {
    let code = match error.code {
        DialCode::DestinationProhibited => Code::DestinationProhibited,
        DialCode::TlsFailed => Code::TlsFailed,
        DialCode::ProviderUnreachable => Code::ProviderUnreachable,
        DialCode::Timeout => Code::ProviderTimeout,
    };
    let detail: Cow<'static, str> = match code {
        Code::DestinationProhibited => format!(
            "Provider `{}` resolves to an address that is not public; `allow_private` on the provider allows a range on purpose.",
            provider.name
        )
        .into(),
        Code::TlsFailed => format!("The certificate or TLS version of provider `{}` was refused; no credential was sent.", provider.name).into(),
        Code::ProviderTimeout => "No connection to the provider came about in time.".into(),
        _ => format!("Provider `{}` could not be reached.", provider.name).into(),
    };
    Refusal::new(code, detail).because(error.detail.clone())
}
