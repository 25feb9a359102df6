//! Send the call to the provider and wait for the head of its answer, within the deadlines.
//!
//! The body streams; what the consumer sends is what the provider gets. A call is sent again only on a
//! connection that the provider had closed at rest: when not a byte was written, or when it asks for
//! nothing but reading and has no body.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep_until};

use crate::body::{Progress, RequestBody};
use crate::dial::pool::Proven;
use crate::dial::tls::{CERTIFICATE_REFUSED, refused_us};
use crate::error::{Code, Refusal};
use crate::snapshot::Deadlines;

/// How one try ended when it did not end in an answer.
pub enum Failed {
    /// Nothing reached the provider: the request is whole and may go by another connection.
    Unsent(Box<Request<RequestBody>>),
    /// A connection at rest broke under a call that is safe to repeat.
    Stale,
    Refused(Refusal),
}

/// Time limits of one call, counted from its start.
pub struct Limits {
    pub deadline: Instant,
    pub first_byte: Duration,
    pub body_idle: Duration,
}

impl Limits {
    pub fn new(started: Instant, deadlines: &Deadlines, body_idle: Duration) -> Self {
        Self { deadline: started + deadlines.total(), first_byte: deadlines.first_byte(), body_idle }
    }
}

pub async fn forward(
    proven: &mut Proven,
    method: &Method,
    request: Request<RequestBody>,
    progress: &Rc<Progress>,
    limits: &Limits,
    timer: std::pin::Pin<&mut Sleep>,
) -> Result<Response<Incoming>, Failed> {
    let repeatable =
        request.body().is_empty() && matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let sending = proven.send(method, request);
    let outcome = until_late(sending, progress, limits, timer).await.map_err(Failed::Refused)?;
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
        if repeatable && proven.reused {
            return Failed::Stale;
        }
        let refusal = if error.is_parse() {
            Refusal::new(Code::ResponseRejected, "The provider's answer is not well-formed HTTP.")
        } else {
            Refusal::new(Code::ProviderUnreachable, "The provider closed the connection before it answered.")
        };
        Failed::Refused(refusal.because(error.to_string()))
    })
}

/// Wait for the answer's head. A body that still moves holds the first-byte deadline open.
async fn until_late<T>(
    answer: impl Future<Output = T>,
    progress: &Progress,
    limits: &Limits,
    mut timer: std::pin::Pin<&mut Sleep>,
) -> Result<T, Refusal> {
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
            return Err(Refusal::new(Code::ProviderTimeout, "The call took longer than its deadline."));
        }
        let limit = if progress.done.get() { limits.first_byte } else { limits.body_idle };
        let late = progress.touched.get() + limit;
        if now >= late {
            return Err(if progress.done.get() {
                Refusal::new(Code::ProviderTimeout, "The provider did not begin to answer in time.")
            } else {
                Refusal::new(Code::Timeout, "The rest of the request body did not arrive in time.")
            });
        }
        wake = limits.deadline.min(late);
        timer.as_mut().reset(wake.into());
    }
}
