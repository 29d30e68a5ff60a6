//! A body whose frames come one by one.

use axum::body::Body;

/// A body of unknown length whose `frames` come one by one.
pub(super) fn stream(frames: Vec<Result<&'static str, &'static str>>) -> Body {
    let frames = frames.into_iter().map(|frame| frame.map(bytes::Bytes::from).map_err(std::io::Error::other));
    Body::from_stream(Frames(frames))
}

struct Frames<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}
