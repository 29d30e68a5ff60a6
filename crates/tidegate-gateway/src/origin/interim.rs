//! [`Interim`]: who hears of the interim answers to a request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use h2::client::ResponseFuture;
use http::{Request, Response, StatusCode, response};

/// Who hears of the interim answers to a request. It is among the request's extensions.
#[derive(Clone)]
pub(crate) struct Interim(Arc<dyn Fn(response::Parts) + Send + Sync>);

impl Interim {
    pub(crate) fn new(hears: impl Fn(response::Parts) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hears))
    }

    /// `100` is between us and the origin, and `101` is no interim answer.
    fn hear(&self, head: response::Parts) {
        if head.status != StatusCode::CONTINUE && head.status != StatusCode::SWITCHING_PROTOCOLS {
            (self.0)(head);
        }
    }

    /// Lets it hear of what comes over HTTP/1.
    pub(super) fn attach<B>(request: &mut Request<B>) {
        let Some(interim) = request.extensions_mut().remove::<Self>() else { return };
        hyper::ext::on_informational(request, move |head| {
            let mut interim_head = Response::new(());
            *interim_head.status_mut() = head.status();
            *interim_head.version_mut() = head.version();
            interim_head.headers_mut().clone_from(head.headers());
            interim.hear(interim_head.into_parts().0);
        });
    }

    /// Polls for an answer over HTTP/2, and lets it hear of what comes before.
    pub(super) fn poll_answer(
        &self,
        answer: &mut ResponseFuture,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<h2::RecvStream>, h2::Error>> {
        loop {
            match answer.poll_informational(cx) {
                Poll::Ready(Some(Ok(head))) => self.hear(head.into_parts().0),
                // The answer must not be asked for now: it would pass over what comes in this moment.
                Poll::Pending => return Poll::Pending,
                Poll::Ready(_) => return Pin::new(answer).poll(cx),
            }
        }
    }
}
