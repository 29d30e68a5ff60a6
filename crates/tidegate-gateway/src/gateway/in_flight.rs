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

/// What a client has paid for is back this long after it has left; what is left behind is paid for then.
const SOON: Duration = Duration::from_millis(100);

/// A request at the origin.
#[derive(Debug)]
pub(super) struct InFlight {
    exchange: Option<Exchange>,
    permit: Option<Permit>,
    caller: Arc<Caller<Gateway>>,
    kind: u8,
}

impl InFlight {
    pub(super) fn new(caller: &Arc<Caller<Gateway>>, exchange: Exchange, permit: Permit, kind: u8) -> Self {
        Self { exchange: Some(exchange), permit: Some(permit), caller: Arc::clone(caller), kind }
    }

    /// Ready with the answer's head, or with why there is none; then [`ends`](Self::ends) must be said.
    pub(super) fn poll_answered(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply, OriginError>> {
        match &mut self.exchange {
            Some(exchange) => Pin::new(exchange).poll(cx),
            None => Poll::Pending,
        }
    }

    /// The permit that is still out for the answer's body. If there is none for an `error`, it goes back.
    pub(super) fn ends(&mut self, error: Option<&OriginError>) -> Option<Permit> {
        self.exchange = None;
        let permit = self.permit.take()?;
        match error {
            None => Some(permit),
            Some(error) => {
                permit.finish(of_error(error));
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
        OriginErrorKind::ClientBody => Outcome::Ignore,
        _ => Outcome::Overload,
    }
}

#[cfg(test)]
#[path = "in_flight_tests.rs"]
mod tests;
