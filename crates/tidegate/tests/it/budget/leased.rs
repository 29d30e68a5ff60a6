//! Bytes that carry their lease.

use bytes::{Buf, Bytes, BytesMut};
use tidegate::budget::{Budget, LeasedBytes};

#[test]
fn the_lease_ends_with_the_last_of_the_bytes() {
    let budget = Budget::new("budget", 1000);
    let leased = LeasedBytes::lease(&budget, Bytes::from(vec![1; 100])).unwrap();
    assert_eq!((leased.len(), leased.held().bytes(), budget.used()), (100, 100, 100));
    let bytes = leased.into_bytes();
    let (head, copy) = (bytes.slice(..1), bytes.clone());
    drop(bytes);
    drop(copy);
    assert_eq!((budget.used(), head.as_ref()), (100, &[1_u8][..]));
    drop(head);
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_is_kept_alive_is_weighed_where_it_can_be_seen() {
    let budget = Budget::new("budget", 10_000);
    let mut buffer = BytesMut::with_capacity(4096);
    buffer.extend_from_slice(b"few");
    let mut leased = LeasedBytes::lease(&budget, buffer.freeze()).unwrap();
    assert_eq!((leased.len(), budget.used()), (3, 4096));
    leased.compact();
    assert_eq!((&*leased, budget.used()), (&b"few"[..], 3));
    leased.compact();
    assert_eq!(budget.used(), 3);

    let shared = Bytes::from(vec![0; 500]);
    let part = LeasedBytes::lease(&budget, shared.slice(..10)).unwrap();
    assert_eq!(part.held().bytes(), 10, "somebody else holds the rest, and pays for it");
    drop((leased, part));
    assert_eq!(budget.used(), 0);
}

#[test]
fn bytes_without_room_come_back() {
    let budget = Budget::new("budget", 10);
    let unleased = LeasedBytes::lease(&budget, Bytes::from(vec![0; 11])).unwrap_err();
    assert_eq!((unleased.bytes.len(), unleased.full.need), (11, 11));
    let mut leased = LeasedBytes::new(Bytes::from_static(b"abc"), budget.try_lease(3).unwrap());
    leased.advance(2);
    assert_eq!((leased.remaining(), budget.used()), (1, 3));
    let (bytes, lease) = leased.into_parts();
    drop(bytes);
    assert_eq!((lease.bytes(), budget.used()), (3, 3));
}

#[cfg(feature = "http")]
mod body {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use http::HeaderMap;
    use http_body::{Body, Frame, SizeHint};
    use http_body_util::BodyExt;
    use tidegate::budget::{LeasedBody, LeasedBodyError};

    use super::*;

    /// Frames, and how many were taken.
    struct Frames(VecDeque<Frame<Bytes>>, usize);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.1 += 1;
            Poll::Ready(self.0.pop_front().map(Ok))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(
                self.0.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum(),
            )
        }
    }

    fn frames(sizes: &[usize]) -> Frames {
        let mut frames: VecDeque<_> =
            sizes.iter().map(|size| Frame::data(Bytes::from(vec![0; *size]))).collect();
        frames.push_back(Frame::trailers(HeaderMap::new()));
        Frames(frames, 0)
    }

    #[tokio::test]
    async fn a_frame_waits_until_another_is_dropped() {
        let budget = Budget::new("budget", 100);
        let mut body = LeasedBody::new(frames(&[60, 60, 40]), &budget);
        let first = body.frame().await.unwrap().unwrap();
        let mut next = std::pin::pin!(body.frame());
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!((budget.used(), budget.waiting()), (60, 1));
        drop(first);
        let second = next.await.unwrap().unwrap();
        assert_eq!((budget.used(), body.size_hint().exact()), (60, Some(40)));
        let third = body.frame().await.unwrap().unwrap();
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert!(body.frame().await.is_none());
        drop((second, third));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn one_that_waits_leaves_with_its_body() {
        let budget = Budget::new("budget", 100);
        let all = budget.try_lease(100).unwrap();
        let mut body = LeasedBody::new(frames(&[60]), &budget);
        {
            let mut next = std::pin::pin!(body.frame());
            assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(60), false));
        drop(body);
        assert_eq!(budget.waiting(), 0);
        drop(all);
        let mut body = LeasedBody::new(frames(&[101]), &budget);
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(matches!(&error, LeasedBodyError::Full(full) if !full.ever), "{error}");
    }
}
