//! One request of an HTTP/1 connection: paid for, answered, and the connection busy until its answer is written.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::body::{BoxError, ClientBody, Free, PaceSettings};
use crate::memory::{HEAD, head_cost};
use crate::socket::{UNWRITTEN, Watch};

use super::screen::is_other_protocol;
use super::screened::{Desk, FAULT_PATH};
use super::{Caller, Client, Fault, Serve};

/// Answers the requests of one connection.
pub(super) struct Requests<S> {
    pub(super) caller: Arc<Caller<S>>,
    pub(super) busy: Busyness,
    pub(super) pace: PaceSettings,
    pub(super) memory_wait: Duration,
}

/// Who hears of an answer's begin and end, and of its bytes.
#[derive(Clone)]
pub(super) struct Busyness {
    pub(super) desk: Arc<Desk>,
    pub(super) watch: Watch,
}

/// Boxed, because hyper would keep its room for as long as the connection is idle.
type Answer<B> = Pin<Box<dyn Future<Output = Result<Response<Busy<B>>, Infallible>> + Send>>;

impl<S: Serve> Requests<S> {
    /// Answers a request.
    pub(super) fn answer(&self, request: Request<Incoming>) -> Answer<S::Body> {
        let (desk, client) = (&self.busy.desk, &self.caller.client);
        desk.busy.store(true, Ordering::Relaxed);
        if let Some(fault) = desk.fault.get().filter(|_| request.uri().path() == FAULT_PATH) {
            return Box::pin(ready(Ok(refused(&self.caller, *fault, None, self.busy.clone()))));
        }
        let cost = desk.owes(client, &request);
        let paid = cost.is_none_or(|cost| desk.pays_now(client, cost));
        let (caller, busy, pace) = (Arc::clone(&self.caller), self.busy.clone(), self.pace);
        if paid {
            return Box::pin(begin(caller, busy, pace, request));
        }
        let within = self.memory_wait;
        Box::pin(async move {
            if !busy.desk.pays(&caller.client, cost.unwrap_or(0), within).await {
                let (head, _body) = request.into_parts();
                return Ok(refused(&caller, Fault::Memory, Some(&head), busy));
            }
            begin(caller, busy, pace, request).await
        })
    }
}

/// Does nothing before it is polled.
fn begin<S: Serve>(
    caller: Arc<Caller<S>>,
    busy: Busyness,
    pace: PaceSettings,
    request: Request<Incoming>,
) -> Answering<impl Future<Output = Response<S::Body>> + Send + Unpin + use<S>> {
    // After these the screen sees nothing any more, so nothing but the other protocol may follow.
    let last = busy.desk.opaque.load(Ordering::Relaxed)
        && (request.method() == Method::CONNECT
            || request.headers().get_all(UPGRADE).iter().any(|to| is_other_protocol(to.as_bytes())));
    let free = (caller.client.account.as_ref())
        .filter(|_| !request.body().is_end_stream())
        .map(|account| Free::new(account.memory(), &busy.watch, request.body().size_hint().exact()));
    let request = request.map(|body| ClientBody::http1(body, pace, free));
    let serving = S::serve(caller, request);
    Answering { serving, busy: Some(busy), last }
}

/// The answer to what is not a request, or has no memory. The connection closes after it.
fn refused<S: Serve>(
    caller: &Caller<S>,
    fault: Fault,
    head: Option<&request::Parts>,
    busy: Busyness,
) -> Response<Busy<S::Body>> {
    let mut response = caller.service.refuse(fault, &caller.client, head);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response.map(|body| Busy { body, busy })
}

/// A request that is being answered.
struct Answering<F> {
    serving: F,
    busy: Option<Busyness>,
    last: bool,
}

impl<B, F: Future<Output = Response<B>> + Unpin> Future for Answering<F> {
    type Output = Result<Response<Busy<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(Pin::new(&mut self.serving).poll(cx));
        let Some(busy) = self.busy.take() else { return Poll::Pending };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            busy.desk.tunnel.store(true, Ordering::Relaxed);
            busy.watch.body_begins(false);
        } else if self.last {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.map(|body| Busy { body, busy })))
    }
}

impl Desk {
    /// What of memory a request takes beyond what every one does, if it must be paid for. One that comes before the last
    /// answer is written goes on with what that one had.
    fn owes(&self, client: &Client, request: &Request<Incoming>) -> Option<u64> {
        if self.is_paid() {
            return None;
        }
        let account = client.account.as_ref()?;
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let head = head_cost(target, request.headers()).saturating_sub(HEAD);
        // Nothing comes behind most that have no body; if it does, it is paid for then.
        let ahead = !request.body().is_end_stream();
        self.ahead.store(ahead, Ordering::Relaxed);
        Some(head + if ahead { account.memory().plan().received() } else { 0 })
    }

    /// Charges a request until its answer is written, if there is memory for it now.
    fn pays_now(&self, client: &Client, cost: u64) -> bool {
        let Some(account) = &client.account else { return true };
        if cost == 0 && account.is_paid_ahead() {
            self.pay(None);
            return true;
        }
        let charge = account.request_now(cost);
        let paid = charge.is_some();
        if paid {
            self.pay(charge);
        }
        paid
    }

    /// The same, if there is memory for it in time.
    async fn pays(&self, client: &Client, cost: u64, within: Duration) -> bool {
        let Some(account) = &client.account else { return true };
        let charge = account.request(cost, within).await;
        let paid = charge.is_some();
        if paid {
            self.pay(charge);
        } else {
            account.memory().refused();
        }
        paid
    }
}

/// An answer's body; while it lives, the connection is busy.
pub(super) struct Busy<B> {
    body: B,
    busy: Busyness,
}

impl<B> Drop for Busy<B> {
    fn drop(&mut self) {
        self.busy.desk.busy.store(false, Ordering::Relaxed);
    }
}

impl<B: Body<Data = Bytes, Error = BoxError> + Unpin> Body for Busy<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        ready!(self.busy.watch.poll_owed(UNWRITTEN, cx));
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.busy.watch.owes(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
