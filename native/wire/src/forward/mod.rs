//! Send the call to the provider and bring back the head of its answer.
//!
//! Runs after `attach`. `once` is one try; here is whether there is another one, and `way` finds out by
//! which origin. A call goes out again
//!
//! - on a connection that the provider had closed at rest, and with a new token where the provider did not
//!   take the old one, or asks for an answer by Digest: always;
//! - where nothing reached the provider: within the declared tries and the client's budget;
//! - where something may have: only if a second arrival does nothing that the first did not do.
//!
//! Nothing is sent again once the head of an answer has gone to the consumer.

pub mod breaker;
pub mod budget;
pub mod bulkhead;
pub mod deadline;
mod hedge;
pub mod idempotency;
pub mod lateness;
pub mod once;
pub mod outgoing;
pub mod reach;
pub mod remedy;
pub mod rules;
pub mod state;
pub mod telling;
pub mod tries;
pub mod way;

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::sleep;

use crate::body::{Progress, RequestBody};
use crate::dial::pool::Proven;
use crate::dialect::{self, Heard};
use crate::error::{Code, Refusal};
use crate::reserve::Reservation;
use crate::sign::DigestAuth;
use crate::trace::Trace;
use once::Failed;
use outgoing::Outgoing;
use remedy::{Remedy, Tried};
use tries::{Repeat, When, retry_after};
use way::{Elsewhere, Way};

/// A connection at rest that broke is replaced this many times, then by a new one.
const STALE_MAX: u32 = 3;
/// How long a call waits for the token that is to replace one the provider did not take.
const RENEWAL: Duration = Duration::from_secs(10);

/// A call on its way to the provider, by one connection or by another.
pub struct Sending<'c> {
    pub way: Way<'c>,
    pub outgoing: Outgoing<'c>,
    pub proven: Proven,
    pub progress: Rc<Progress>,
    pub repeat: Repeat,
    /// What passes of the body is kept, so that it can go out again.
    pub kept: bool,
    pub tried: Tried,
}

/// What goes out next, before the credential is put on it.
type Again = (Parts, RequestBody);

impl Sending<'_> {
    /// Send the request, with the credential on it, and wait for the head of the answer.
    pub async fn answer(
        &mut self,
        parts: Parts,
        body: RequestBody,
        trace: &mut Trace,
    ) -> Result<Response<Incoming>, Refusal> {
        let may_go_twice = self.proven.reused || self.way.any_tries() || self.way.hedges(&parts.method);
        let spare = (self.kept || body.is_empty() && may_go_twice).then(|| parts.clone());
        let mut request = Request::from_parts(parts, body);
        let mut at_rest = STALE_MAX;
        loop {
            if let Some(reservation) = &mut trace.reservation {
                reservation.sent();
            }
            let outcome = self.send(request, spare.as_ref(), trace).await;
            if let (Err(Failed::Unsent(_)), Some(reservation)) = (&outcome, &mut trace.reservation) {
                reservation.unsent();
            }
            let again = match outcome {
                Ok(answer) => match self.instead_of(&answer, spare.as_ref(), trace).await? {
                    None => return Ok(answer),
                    Some(again) => again,
                },
                Err(Failed::Unsent(unsent)) if at_rest > 0 => {
                    at_rest -= 1;
                    self.by_another_connection(trace).await?;
                    unsent.into_parts()
                }
                Err(Failed::Unsent(unsent)) => {
                    let closes = Refusal::new(
                        Code::ProviderUnreachable,
                        "The provider closes connections before it answers.",
                    );
                    self.way.failed(trace);
                    self.once_more(When::Later, Elsewhere::Free, trace).await?.ok_or(closes)?;
                    unsent.into_parts()
                }
                Err(Failed::Broken { stale: true, refusal }) if at_rest > 0 && spare.is_some() => {
                    at_rest -= 1;
                    if !trace.reservation.as_mut().is_none_or(Reservation::sent_again) {
                        return Err(refusal);
                    }
                    self.by_another_connection(trace).await?;
                    let parts = spare.clone().ok_or_else(lost)?;
                    (parts, RequestBody::empty(Rc::clone(&self.progress)))
                }
                Err(Failed::Broken { refusal, .. }) => {
                    self.way.failed(trace);
                    dropped(trace);
                    let Some(again) = self.the_same(spare.as_ref()) else { return Err(refusal) };
                    let elsewhere = self.way.elsewhere(self.repeat);
                    self.once_more(When::Later, elsewhere, trace).await?.ok_or(refusal)?;
                    again
                }
                Err(Failed::Late(refusal)) => {
                    self.way.failed(trace);
                    dropped(trace);
                    return Err(refusal);
                }
                Err(Failed::Refused(refusal)) => return Err(refusal),
            };
            let (mut parts, body) = again;
            self.outgoing.attach(&mut parts, self.way.lease.as_deref(), &self.proven).await?;
            request = Request::from_parts(parts, body);
        }
    }

    /// What to send once more because of an answer; None where the answer is the consumer's.
    async fn instead_of(
        &mut self,
        answer: &Response<Incoming>,
        spare: Option<&Parts>,
        trace: &mut Trace,
    ) -> Result<Option<Again>, Refusal> {
        let (status, headers) = (answer.status(), answer.headers());
        self.way.answered(status, trace);
        let remedy = self.remedy(answer);
        if remedy != Remedy::None && self.way.can_renew() {
            let again = spare.cloned().zip(self.outgoing.again(&self.progress));
            let again = if self.tried.first_try_of(remedy) { again } else { None };
            let shown = again.as_ref().and_then(|(parts, _)| parts.headers.get(AUTHORIZATION));
            let helps = remedy == Remedy::Nonce || again.is_some() && self.renewed(headers, shown).await?;
            if !helps || again.is_none() {
                return Ok(None);
            }
            self.heeded(answer, trace);
            if !draws_again(trace) {
                return Ok(None);
            }
            self.by_another_connection(trace).await?;
            return Ok(again);
        }
        if status != StatusCode::UNAUTHORIZED
            && self.way.digest().is_some()
            && let Some(lease) = self.way.lease.as_deref()
        {
            DigestAuth::taken(lease, self.proven.origin());
        }
        if !self.way.wants_instead(status, headers) {
            return Ok(None);
        }
        let Some(again) = self.the_same(spare) else { return Ok(None) };
        self.heeded(answer, trace);
        let when = retry_after(headers, SystemTime::now()).map_or(When::Later, When::After);
        let elsewhere = self.way.elsewhere(self.repeat);
        Ok(self.once_more(when, elsewhere, trace).await?.map(|()| again))
    }

    /// Whether there is another token, or an answer to what the provider asks by Digest.
    async fn renewed(&mut self, answer: &HeaderMap, shown: Option<&HeaderValue>) -> Result<bool, Refusal> {
        let Some(digest) = self.way.digest() else { return self.way.renew_lease(RENEWAL).await };
        let Some(lease) = self.way.lease.as_deref() else { return Ok(false) };
        digest.asked(lease, self.proven.origin(), answer, shown)
    }

    /// The same request, for a provider that may have it already.
    fn the_same(&self, spare: Option<&Parts>) -> Option<Again> {
        let parts = spare.filter(|_| self.repeat != Repeat::Never)?;
        Some((parts.clone(), self.outgoing.again(&self.progress)?))
    }

    /// Take one of the call's tries, wait for its time, and dial; None where there is none.
    async fn once_more(
        &mut self,
        when: When,
        elsewhere: Elsewhere,
        trace: &mut Trace,
    ) -> Result<Option<()>, Refusal> {
        let Some(pause) = self.way.another(when, elsewhere, trace) else { return Ok(None) };
        sleep(pause).await;
        if !draws_again(trace) {
            return Ok(None);
        }
        self.proven = self.way.dial(trace).await?;
        Ok(Some(()))
    }

    /// What an answer says of limits that the consumer will not see. Nobody reads its body, so that it takes
    /// back nothing of what the head says.
    fn heeded(&self, answer: &Response<Incoming>, trace: &mut Trace) {
        let Some(reservation) = &mut trace.reservation else { return };
        let (status, headers) = (answer.status(), answer.headers());
        let heard = Heard { status, headers, body: Some(&[]), now: SystemTime::now() };
        let signals = dialect::hear(self.outgoing.provider.dialect.as_deref(), heard);
        reservation.answered(status, headers, &signals, None);
    }

    async fn by_another_connection(&mut self, trace: &mut Trace) -> Result<(), Refusal> {
        trace.event.retries += 1;
        self.proven = self.way.dial(trace).await?;
        Ok(())
    }
}

/// Whether the provider's quotas have enough for another try.
fn draws_again(trace: &mut Trace) -> bool {
    trace.reservation.as_mut().is_none_or(Reservation::draws_again)
}

/// The provider did not bear the call.
fn dropped(trace: &mut Trace) {
    if let Some(reservation) = &mut trace.reservation {
        reservation.dropped();
    }
}

fn lost() -> Refusal {
    Refusal::new(Code::Internal, "A request was lost.")
}
