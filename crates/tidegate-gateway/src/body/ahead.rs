//! [`Ahead`]: a body that can say that nothing is left of it which needs credit.

use std::task::{Context, Poll};

use http_body::Body;

/// A body whose end can be seen before there is credit for more of it.
pub trait Ahead: Body {
    /// Is the next frame the last, trailers or the end, or an error? Takes no more from where the body comes from than
    /// what is held already, or a little if nothing is. `false`: bytes come next, or nobody knows; do not ask again
    /// before the next frame was taken.
    ///
    /// **When cancelled:** nothing is lost, what was seen is the next frame.
    fn poll_last(&mut self, _cx: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(false)
    }
}
