//! [`PermitBody`] and [`UntilBodyEnd`] for actix-web's bodies.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::Method;
use bytes::Bytes;
use tidegate_control::sample::Outcome;

use crate::http::{PermitBody, UntilBodyEnd};
use crate::limiter::Permit;
use crate::tower::Hold;

impl<B: MessageBody> Hold<ServiceResponse<B>> for UntilBodyEnd {
    type Held = ServiceResponse<PermitBody<B>>;

    fn hold(&self, response: ServiceResponse<B>, permit: Permit, outcome: Outcome) -> Self::Held {
        // Its answer has the length of a body that nobody takes (RFC 9110 §9.3.2).
        let head_only = response.request().method() == Method::HEAD;
        response.map_body(|_, body| {
            let left = match body.size() {
                _ if head_only => Some(0),
                BodySize::None => Some(0),
                BodySize::Sized(bytes) => Some(bytes),
                BodySize::Stream => None,
            };
            PermitBody::with_left(body, permit, outcome, left, left == Some(0))
        })
    }
}

impl<B: MessageBody> MessageBody for PermitBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.get_ref().size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        let (body, held) = self.parts();
        let chunk = ready!(body.poll_next(cx));
        match &chunk {
            Some(Ok(bytes)) => {
                held.took(bytes.len() as u64);
                if held.has_all() {
                    held.end();
                }
            }
            None => held.end(),
            Some(Err(_)) => held.fail(),
        }
        Poll::Ready(chunk)
    }
}
