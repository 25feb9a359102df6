//! One try: send the call to the provider and wait for the head of its answer, within the deadlines.
//!
//! The body streams; what the consumer sends is what the provider gets. Where there is no answer, this says
//! whether the provider can have seen anything of the call.

use std::rc::Rc;
use std::time::Instant;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep_until};

use crate::body::{Progress, RequestBody};
use crate::dial::pool::Proven;
use crate::dial::tls::{CERTIFICATE_REFUSED, refused_us};
use crate::error::{Code, Refusal};
use crate::forward::deadline::Limits;

/// How one try ended when it did not end in an answer.
pub enum Failed {
    /// Nothing reached the provider: the request is whole and may go by another connection.
    Unsent(Box<Request<RequestBody>>),
    /// The connection broke before an answer began, and the provider may have the call. `stale`: it had been
    /// at rest, and the call asks for nothing but reading.
    Broken {
        refusal: Refusal,
        stale: bool,
    },
    /// The provider was silent for as long as is declared.
    Late(Refusal),
    Refused(Refusal),
}

pub async fn once(
    proven: &mut Proven,
    request: Request<RequestBody>,
    progress: &Rc<Progress>,
    limits: &Limits,
    timer: std::pin::Pin<&mut Sleep>,
) -> Result<Response<Incoming>, Failed> {
    progress.touched.set(Instant::now());
    let method = request.method().clone();
    let repeatable =
        request.body().is_empty() && matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
    let sending = proven.send(&method, request);
    let outcome = until_late(sending, progress, limits, timer).await?;
    outcome.map_err(|mut error| {
        if refused_us(error.error()) {
            let refusal = Refusal::new(
                Code::TlsFailed,
                "The provider refused the connection's client certificate, or wants one that is not declared.",
            );
            return Failed::Refused(refusal.because(CERTIFICATE_REFUSED));
        }
        if let Some(request) = error.take_message() {
            return Failed::Unsent(Box::new(request));
        }
        let error = error.into_error();
        if let Some(violation) = proven.violation() {
            let refusal =
                Refusal::new(Code::ResponseRejected, "The provider's answer is not well-formed HTTP.");
            return Failed::Refused(refusal.because(violation));
        }
        if progress.has_ended() {
            return Failed::Refused(Refusal::new(
                Code::NoAgreement,
                "What let the call's personal data go ended while the call was being sent.",
            ));
        }
        if progress.too_large.get() {
            return Failed::Refused(Refusal::new(
                Code::TooLarge,
                "The request body is larger than this provider's bound.",
            ));
        }
        if progress.broken.get() {
            return Failed::Refused(Refusal::new(
                Code::MalformedRequest,
                "The request body is not well formed or was cut short.",
            ));
        }
        let stale = repeatable && proven.reused;
        if error.is_parse() && !stale {
            let refusal =
                Refusal::new(Code::ResponseRejected, "The provider's answer is not well-formed HTTP.");
            return Failed::Refused(refusal.because(error.to_string()));
        }
        let refusal =
            Refusal::new(Code::ProviderUnreachable, "The provider closed the connection before it answered.");
        Failed::Broken { refusal: refusal.because(error.to_string()), stale }
    })
}

/// Wait for the answer's head. A body that still moves holds the first-byte deadline open.
async fn until_late<T>(
    answer: impl Future<Output = T>,
    progress: &Progress,
    limits: &Limits,
    mut timer: std::pin::Pin<&mut Sleep>,
) -> Result<T, Failed> {
    let mut answer = std::pin::pin!(answer);
    let mut wake = limits.deadline.min(progress.touched.get() + limits.first_byte.min(limits.body_idle));
    timer.set(sleep_until(wake.into()));
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return Ok(answer),
            () = timer.as_mut() => {}
        }
        let now = Instant::now();
        if now >= limits.deadline {
            let refusal = Refusal::new(Code::ProviderTimeout, "The call took longer than its deadline.");
            // A consumer that asks for little time says nothing of the provider.
            return Err(if limits.consumers { Failed::Refused(refusal) } else { Failed::Late(refusal) });
        }
        let limit = if progress.done.get() { limits.first_byte } else { limits.body_idle };
        let late = progress.touched.get() + limit;
        if now >= late {
            return Err(if progress.done.get() {
                Failed::Late(Refusal::new(
                    Code::ProviderTimeout,
                    "The provider did not begin to answer in time.",
                ))
            } else {
                Failed::Refused(Refusal::new(
                    Code::Timeout,
                    "The rest of the request body did not arrive in time.",
                ))
            });
        }
        wake = limits.deadline.min(late);
        timer.as_mut().reset(wake.into());
    }
}
