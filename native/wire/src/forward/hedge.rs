//! Send a call, and where its answer is late and reading is all it does, ask a second time.
//!
//! The second goes out when 95 of 100 answers of this operation would have come, by a connection of its
//! own, for at most one call in fifty; whichever answers first counts, and the other is broken off.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::sleep;

use crate::body::RequestBody;
use crate::dial::pool::Proven;
use crate::error::Refusal;
use crate::forward::Sending;
use crate::forward::once::{Failed, once};
use crate::forward::reach;
use crate::reserve::Reservation;
use crate::trace::Trace;

impl Sending<'_> {
    /// One try, or two at once.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
        spare: Option<&Parts>,
        trace: &mut Trace,
    ) -> Result<Response<Incoming>, Failed> {
        // It may have waited in a queue, or for its turn to be tried again.
        self.way.allowed.agreed.require(Instant::now()).map_err(Failed::Refused)?;
        let memory = self.way.memory.as_ref().filter(|_| self.way.hedges(request.method()));
        let (Some(memory), Some(spare)) = (memory, spare.filter(|_| request.body().is_empty())) else {
            let mut timer = std::pin::pin!(sleep(Duration::ZERO));
            let (progress, limits) = (&self.progress, &self.way.limits);
            return once(&mut self.proven, request, progress, limits, timer.as_mut()).await;
        };
        let routed = &self.way.allowed.routed;
        let lateness = memory.lateness(&routed.operation.id);
        let budget = memory.hedges(self.way.snapshot.client_name(self.way.allowed.client));
        budget.earn();
        let began = Instant::now();
        let late = lateness.p95();
        let outcome = self.race(request, spare, late, || budget.spend(Instant::now()), trace).await;
        if outcome.is_ok() {
            lateness.took(began.elapsed());
        }
        outcome
    }

    async fn race(
        &mut self,
        request: Request<RequestBody>,
        spare: &Parts,
        late: Option<Duration>,
        may: impl Fn() -> bool,
        trace: &mut Trace,
    ) -> Result<Response<Incoming>, Failed> {
        let (answer, proven): (Response<Incoming>, Proven) = {
            let (way, outgoing, progress) = (&self.way, &self.outgoing, &self.progress);
            let mut timer = std::pin::pin!(sleep(Duration::ZERO));
            let first = once(&mut self.proven, request, progress, &way.limits, timer.as_mut());
            let mut first = std::pin::pin!(first);
            let Some(late) = late else { return first.await };
            tokio::select! {
                biased;
                outcome = &mut first => return outcome,
                () = sleep(late) => {}
            }
            let mut enough = || trace.reservation.as_mut().is_none_or(Reservation::draws_again);
            if !may() || !enough() {
                return first.await;
            }
            let second = async {
                let timeout = way.limits.connect.min(way.limits.left(Instant::now()));
                let (lease, origin) = (way.lease.as_deref(), way.origin);
                let mut proven =
                    reach::dial(way.worker, way.snapshot, way.allowed, lease, origin, timeout).await?;
                let mut parts = spare.clone();
                outgoing.attach(&mut parts, lease, &proven).await?;
                way.allowed.agreed.require(Instant::now())?;
                let request = Request::from_parts(parts, RequestBody::empty(Rc::clone(progress)));
                let mut timer = std::pin::pin!(sleep(Duration::ZERO));
                match once(&mut proven, request, progress, &way.limits, timer.as_mut()).await {
                    Ok(answer) => Ok::<_, Refusal>(Some((answer, proven))),
                    Err(_) => Ok(None),
                }
            };
            let mut second = std::pin::pin!(second);
            tokio::select! {
                biased;
                outcome = &mut first => match outcome {
                    Ok(answer) => {
                        trace.event.hedge = Some("lost");
                        return Ok(answer);
                    }
                    Err(failed) => match second.await {
                        Ok(Some(won)) => won,
                        _ => return Err(failed),
                    },
                },
                outcome = &mut second => match outcome {
                    Ok(Some(won)) => won,
                    // The second is no worse than none.
                    _ => return first.await,
                },
            }
        };
        trace.event.hedge = Some("won");
        trace.dialled(&proven);
        self.proven = proven;
        Ok(answer)
    }
}
