//! [`HearBodyLayer`]: reads a refusal's problem body without taking it from the caller.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use http::{Response, StatusCode, response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use super::answer::pushback;
use super::problem::is_problem;

/// Real problem bodies have a few hundred bytes, in one frame or two.
const MOST_BYTES: usize = 16 << 10;
const MOST_FRAMES: usize = 16;
/// A problem comes with its head, mostly in the same packet; a server that is slow with it is heard by its head.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads the problem body (RFC 9457) of a 503 or 429, so that the layers around hear what only the body says: the moment
/// in milliseconds, and whether coming back is worth it. What was heard is a [`Pushback`](crate::tower::Pushback) in the
/// response's extensions; the body still has every byte.
///
/// Every other answer passes as it is. Put it around the client itself. At most 16 KiB and one second go into a body; then
/// the head's word counts, and the caller gets what was read and the rest behind it. `poll_ready` is the inner service's.
/// **When cancelled:** the response is dropped. **Runtime:** needs one with a timer, for refusals only.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::convert::Infallible;
/// use std::time::Duration;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tidegate::http::HearBodyLayer;
/// use tidegate::tower::Pushback;
/// use tower::{Layer, ServiceExt};
///
/// let server = tower::service_fn(|_: Request<()>| async {
///     let response = Response::builder().status(503).header("content-type", "application/problem+json");
///     Ok::<_, Infallible>(response.body(Full::<&[u8]>::from(r#"{"retry_after_ms":250}"#.as_bytes())).unwrap())
/// });
/// let response = HearBodyLayer.layer(server).oneshot(Request::new(())).await.unwrap();
/// assert_eq!(response.extensions().get::<Pushback>().unwrap().moment(), Some(Duration::from_millis(250)));
/// assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), r#"{"retry_after_ms":250}"#);
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HearBodyLayer;

impl<S> Layer<S> for HearBodyLayer {
    type Service = HearBody<S>;

    fn layer(&self, inner: S) -> HearBody<S> {
        HearBody { inner }
    }
}

/// A client whose refusals are read; made by [`HearBodyLayer`].
#[derive(Clone, Copy, Debug)]
pub struct HearBody<S> {
    inner: S,
}

impl<S, Req, B> Service<Req> for HearBody<S>
where
    S: Service<Req, Response = Response<B>>,
    B: Body + Unpin,
{
    type Response = Response<HeardBody<B>>;
    type Error = S::Error;
    type Future = HearBodyFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        HearBodyFuture { future: self.inner.call(request), alarm: None, reading: None }
    }
}

// Nothing in it is pinned in its place: frames are moved out.
impl<B: Body + Unpin> Unpin for HeardBody<B> {}

/// A body of which some may have been read already; the caller gets it all the same.
pub struct HeardBody<B: Body> {
    read: VecDeque<Result<Frame<B::Data>, B::Error>>,
    rest: B,
    /// The rest has said that it is at its end, and is not to be asked again.
    ended: bool,
}

impl<B: Body> HeardBody<B> {
    /// Bytes that were read ahead.
    fn ahead(&self) -> u64 {
        self.read.iter().flatten().filter_map(Frame::data_ref).map(|data| data.remaining() as u64).sum()
    }
}

impl<B: Body + Unpin> Body for HeardBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.read.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None if self.ended => Poll::Ready(None),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && (self.ended || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead();
        let rest = if self.ended { SizeHint::with_exact(0) } else { self.rest.size_hint() };
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint.set_lower(rest.lower().saturating_add(ahead));
        hint
    }
}

impl<B: Body> fmt::Debug for HeardBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeardBody").field("ahead", &self.ahead()).finish_non_exhaustive()
    }
}

/// A refusal whose body is being read.
struct Reading<B: Body> {
    head: response::Parts,
    body: HeardBody<B>,
    bytes: Vec<u8>,
}

impl<B: Body + Unpin> Reading<B> {
    /// Reads on; ready when there is no more to be read, or it is too much.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let HeardBody { read, rest, ended } = &mut self.body;
            if read.len() >= MOST_FRAMES {
                return Poll::Ready(());
            }
            let Some(frame) = ready!(Pin::new(rest).poll_frame(cx)) else {
                *ended = true;
                return Poll::Ready(());
            };
            let mut goes_on = frame.is_ok();
            if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
                // Of data in several pieces only the first can be seen without taking it.
                goes_on = data.chunk().len() == data.remaining()
                    && self.bytes.len() + data.remaining() <= MOST_BYTES;
                if goes_on {
                    self.bytes.extend_from_slice(data.chunk());
                }
            }
            read.push_back(frame);
            if !goes_on {
                return Poll::Ready(());
            }
        }
    }

    fn finish(self) -> Response<HeardBody<B>> {
        let Self { mut head, body, bytes } = self;
        head.extensions.insert(pushback(head.status, &head.headers, &bytes));
        Response::from_parts(head, body)
    }
}

pin_project! {
    /// A call of [`HearBody`]. It waits for nothing that is bounded here: what happens **when full** is the inner
    /// service's matter. **Cancel safety:** dropped, it drops the call and what was read of the answer. Polling it again
    /// after it resolved is the inner future's matter.
    #[must_use = "futures do nothing unless awaited"]
    pub struct HearBodyFuture<F, B>
    where
        B: Body,
    {
        #[pin]
        future: F,
        #[pin]
        alarm: Option<Sleep>,
        reading: Option<Reading<B>>,
    }
}

impl<F, B, E> Future for HearBodyFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body + Unpin,
{
    type Output = Result<Response<HeardBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.reading.is_none() {
            let (head, rest) = ready!(this.future.poll(cx))?.into_parts();
            let body = HeardBody { read: VecDeque::new(), rest, ended: false };
            let refused =
                matches!(head.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
            if !refused || !is_problem(&head.headers) || body.rest.size_hint().lower() > MOST_BYTES as u64 {
                return Poll::Ready(Ok(Response::from_parts(head, body)));
            }
            *this.reading = Some(Reading { head, body, bytes: Vec::new() });
            this.alarm.set(Some(tokio::time::sleep(PATIENCE)));
        }
        let read = this.reading.as_mut().is_none_or(|reading| reading.poll(cx).is_ready());
        if !read && this.alarm.as_pin_mut().is_some_and(|alarm| alarm.poll(cx).is_pending()) {
            return Poll::Pending;
        }
        // It is there: it was put there above, and taken nowhere else.
        let Some(reading) = this.reading.take() else { return Poll::Pending };
        Poll::Ready(Ok(reading.finish()))
    }
}

impl<F, B: Body> fmt::Debug for HearBodyFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HearBodyFuture").field("reading", &self.reading.is_some()).finish_non_exhaustive()
    }
}
