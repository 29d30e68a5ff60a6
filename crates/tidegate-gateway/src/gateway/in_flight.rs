//! A request at the origin, whose client may leave.
//!
//! The origin's work is real although nobody waits for it. So when the client leaves, the origin is told, and the
//! permit stays out until the origin answers or closes, at most for the p99 of this kind of work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use tidegate::Permit;
use tidegate_control::sample::Outcome;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::listen::Caller;
use crate::memory::Account;
use crate::origin::{Exchange, OriginError, OriginErrorKind, Reply};

use super::Gateway;
use super::becomes_stream::BecomesStream;

/// What a client has paid for is back this long after it has left; what is left behind is paid for then.
const SOON: Duration = Duration::from_millis(100);

/// A request at the origin.
#[derive(Debug)]
pub(super) struct InFlight {
    exchange: Option<Exchange>,
    permit: Option<Permit>,
    caller: Arc<Caller<Gateway>>,
    kind: u8,
    /// Its client may pause in its body.
    open: bool,
    /// And it still sent, when it was last looked at.
    sends: bool,
    /// Fires when a call whose client still sends turns out to be a stream.
    becomes_stream: BecomesStream,
    /// Held in the permit's place since then.
    stream: Option<Permit>,
}

impl InFlight {
    pub(super) fn new(caller: &Arc<Caller<Gateway>>, exchange: Exchange, permit: Permit, kind: u8) -> Self {
        Self {
            exchange: Some(exchange),
            permit: Some(permit),
            caller: Arc::clone(caller),
            kind,
            open: false,
            sends: false,
            becomes_stream: BecomesStream::default(),
            stream: None,
        }
    }

    /// Its client may send for as long as it likes, and pause: if it still does after a while, it is a stream. Or as many as
    /// the limit has places would close it to all others.
    pub(super) fn is_open(&mut self) {
        if self.exchange.as_ref().is_some_and(Exchange::still_sending) {
            self.open = true;
            self.becomes_stream = BecomesStream::new(&self.caller.service.streams);
        }
    }

    /// Ready with the answer's head, or with why there is none; then [`ends`](Self::ends) must be said.
    pub(super) fn poll_answered(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply, OriginError>> {
        let Some(exchange) = &mut self.exchange else { return Poll::Pending };
        // Before it is polled: what has failed sends no more.
        self.sends = self.open && exchange.still_sending();
        let polled = Pin::new(exchange).poll(cx);
        if polled.is_pending() && self.sends {
            if let Some(stream) = self.becomes_stream.poll(cx) {
                self.stream = Some(stream);
                self.permit.take().into_iter().for_each(Permit::ignore);
            }
        }
        polled
    }

    /// The place among the streams, if it has one.
    pub(super) fn take_stream(&mut self) -> Option<Permit> {
        self.stream.take()
    }

    /// The permit that is still out for the answer's body. If there is none for an `error`, it goes back.
    pub(super) fn ends(&mut self, error: Option<&OriginError>) -> Option<Permit> {
        self.exchange = None;
        let permit = self.permit.take()?;
        match error {
            None => Some(permit),
            Some(error) => {
                // While both may be silent, nobody knows for whom the other waited.
                let nobodys = self.sends && error.kind() == OriginErrorKind::HeadTimeout;
                permit.finish(if nobodys { Outcome::Ignore } else { of_error(error) });
                None
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let (Some(exchange), Some(mut permit)) = (self.exchange.take(), self.permit.take()) else { return };
        permit.late();
        if let (true, Ok(runtime)) = (exchange.leave(), Handle::try_current()) {
            // As many of these as there are permits.
            let Caller { service, client, .. } = &*self.caller;
            runtime.spawn(linger(Arc::clone(service), client.account.clone(), exchange, permit, self.kind));
        }
    }
}

async fn linger(
    gateway: Arc<Gateway>,
    account: Option<Arc<Account>>,
    exchange: Exchange,
    permit: Permit,
    kind: u8,
) {
    let _lingering = Lingering::new(&gateway);
    let learned = gateway.limiter.service_time(kind).p99;
    let mut charge = None;
    if let Some(account) = account {
        charge = account.request(0, SOON).await;
        if charge.is_none() {
            // The work goes on all the same, for as long as it usually does.
            drop(exchange);
            sleep(learned.unwrap_or(gateway.settings.client_timeout)).await;
            return;
        }
    }
    // Before a p99 is known, the exchange ends by its own timeout.
    let result = match learned {
        Some(longest) => timeout(longest, exchange).await,
        None => Ok(exchange.await),
    };
    permit.finish(match result {
        Ok(Ok(reply)) => of_status(reply.head.status),
        // It gave the work up, as it was asked to.
        Ok(Err(_)) => Outcome::Ignore,
        Err(_) => Outcome::Canceled,
    });
    drop(charge);
}

struct Lingering<'g>(&'g Gateway);

impl<'g> Lingering<'g> {
    fn new(gateway: &'g Gateway) -> Self {
        gateway.metrics.lingering(1);
        Self(gateway)
    }
}

impl Drop for Lingering<'_> {
    fn drop(&mut self) {
        self.0.metrics.lingering(-1);
    }
}

/// What an answer's status says about the origin's load.
pub(super) fn of_status(status: StatusCode) -> Outcome {
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Outcome::Overload
        }
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY => Outcome::Ignore,
        _ => Outcome::Success,
    }
}

fn of_error(error: &OriginError) -> Outcome {
    match error.kind() {
        OriginErrorKind::ClientBody | OriginErrorKind::OpenFiles => Outcome::Ignore,
        _ => Outcome::Overload,
    }
}

#[cfg(test)]
#[path = "in_flight_tests.rs"]
mod tests;
