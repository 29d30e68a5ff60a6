//! [`Received`]: the body of an HTTP/2 message as it comes, from either side.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{FlowControl, RecvStream};
use http_body::Frame;

use super::flow::{Flow, Flowing};
use super::inbox::Inbox;

/// A message's body on an HTTP/2 stream. Credit goes back when a frame has been handed on, not when it arrived.
#[derive(Debug)]
pub(crate) struct Received {
    inbox: Arc<Mutex<Inbox>>,
    credit: FlowControl,
    lent: usize,
    data_ended: bool,
    /// After the stream, so that it is over when this says so.
    flowing: Option<Flowing>,
}

impl Received {
    pub(crate) fn new(mut stream: RecvStream) -> Self {
        let credit = stream.flow_control().clone();
        let inbox = Arc::new(Mutex::new(Inbox::new(stream)));
        Self { inbox, credit, lent: 0, data_ended: false, flowing: None }
    }

    /// The same, counted among the bodies of its connection.
    pub(crate) fn counted(stream: RecvStream, flow: &Arc<Flow>) -> Self {
        let mut this = Self::new(stream);
        this.flowing = Some(flow.body(this.credit.clone(), Arc::clone(&this.inbox)));
        this
    }

    pub(crate) fn is_counted(&self) -> bool {
        self.flowing.is_some()
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.inbox().is_end_stream()
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let back = std::mem::take(&mut self.lent);
        if back > 0 {
            if let Some(flowing) = &self.flowing {
                flowing.consumed(back);
            }
            self.credit.release_capacity(back)?;
        }
        if !self.data_ended {
            let polled = self.inbox().poll_data(cx);
            if let Some(flowing) = &mut self.flowing {
                flowing.read(polled.is_pending());
            }
            match ready!(polled) {
                Some(Ok(data)) => {
                    self.lent = data.len();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        let polled = self.inbox().stream.poll_trailers(cx);
        Poll::Ready(ready!(polled)?.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    // Nothing that can panic is done under this lock.
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(flowing) = &mut self.flowing {
            if self.lent > 0 {
                flowing.consumed(self.lent);
            }
            flowing.drops(self.credit.used_capacity().saturating_sub(self.lent));
        }
        // h2 gives back what it has and nobody has read, but not before the answer is over too. Of what was handed out it
        // believes that somebody still has it: the last frame before the end, after which nobody asks for another, and
        // what was packed.
        let held = self.lent + self.inbox().close();
        if held > 0 {
            let _ = self.credit.release_capacity(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::flow::{Taken, Unread};
    use super::*;

    /// A body of 2 KiB that has come, the answer to it, and what keeps both going.
    async fn body(flow: &Arc<Flow>) -> (Received, FlowControl, impl Sized) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let client = tokio::spawn(async move {
            let (sender, connection) = h2::client::handshake(near).await.unwrap();
            let driver = tokio::spawn(connection);
            let request = http::Request::post("http://a.example/").body(()).unwrap();
            let (answer, mut stream) = sender.ready().await.unwrap().send_request(request, false).unwrap();
            stream.send_data(Bytes::from_static(&[0; 2048]), true).unwrap();
            let _ = answer.await;
            drop(driver);
        });
        let mut connection = h2::server::handshake(far).await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        let driver = tokio::spawn(async move { poll_fn(|cx| connection.poll_closed(cx)).await });
        let mut stream = request.into_body();
        let credit = stream.flow_control().clone();
        while credit.used_capacity() < 2048 {
            tokio::task::yield_now().await;
        }
        (Received::counted(stream, flow), credit, (respond, driver, client))
    }

    async fn next(body: &mut Received) -> usize {
        let frame = poll_fn(|cx| body.poll_frame(cx)).await.unwrap().unwrap();
        frame.data_ref().map_or(0, Bytes::len)
    }

    #[tokio::test]
    async fn the_last_frame_is_given_back_although_nobody_asks_for_another_and_the_answer_is_not_over() {
        let flow = Arc::<Flow>::default();
        flow.take(|_| 1_000_000);
        let (mut body, mut credit, _going) = body(&flow).await;
        assert_eq!(next(&mut body).await, 2048);
        assert!(body.is_end_stream(), "so nobody asks for another");
        assert_eq!(credit.used_capacity(), 2048);
        drop(body);
        assert_eq!((credit.used_capacity(), flow.bodies()), (0, 0));
        assert!(credit.release_capacity(1).is_err(), "all of it is back");
        // It was read.
        flow.take(|taken| {
            assert_eq!(taken, Taken { read: 2048, readers: 1, ..Taken::default() });
            1
        });
    }

    #[tokio::test]
    async fn what_is_not_read_from_one_look_to_the_next_is_unread_and_is_told_when_it_is_dropped() {
        let flow = Arc::<Flow>::default();
        let (mut one, _, _going) = body(&flow).await;
        let (two, _, _going_too) = body(&flow).await;
        assert_eq!((flow.unread(), flow.unwanted()), (Unread::default(), Unread(vec![2048, 2048])));
        flow.looked();
        assert_eq!(flow.unread(), Unread::default(), "they have just come");
        assert_eq!(next(&mut one).await, 2048);
        flow.looked();
        assert_eq!(flow.unread(), Unread(vec![2048, 2048]), "what one has was not given back yet");
        // It is over: nothing more is to be read of it.
        assert!(poll_fn(|cx| one.poll_frame(cx)).await.is_none());
        assert_eq!(flow.unread(), Unread(vec![2048]));
        flow.take(|_| 1_000_000);
        drop(two);
        assert_eq!(flow.unread(), Unread::default());
        flow.enough().await;
        flow.take(|taken| {
            assert_eq!(taken, Taken { dropped: 2048, left: 1, ..Taken::default() });
            1_000_000
        });
    }
}
