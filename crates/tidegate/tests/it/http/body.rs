//! A permit that is held until the body's end, and what is reported then.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::Response;
use http_body_util::BodyExt;
use tidegate::http::PermitBody;
use tidegate::{LimitAlgorithm, Limiter, Outcome, Sample};

use super::frames::stream;

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Outcome>>>);

impl LimitAlgorithm for Heard {
    fn limit(&self) -> u64 {
        8
    }

    fn on_sample(&mut self, sample: &Sample) -> u64 {
        self.0.lock().unwrap().push(sample.outcome);
        8
    }
}

struct Fixture {
    heard: Heard,
    limiter: Limiter,
}

impl Fixture {
    fn new() -> Self {
        let heard = Heard::default();
        Self { limiter: Limiter::adaptive(heard.clone()), heard }
    }

    fn body<B: http_body::Body>(&self, body: B, outcome: Outcome) -> PermitBody<B> {
        PermitBody::new(body, self.limiter.try_acquire(1).unwrap(), outcome)
    }

    fn held(&self) -> u64 {
        self.limiter.stats().in_flight
    }

    fn heard(&self) -> Vec<Outcome> {
        self.heard.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn the_permit_goes_back_at_the_end_with_the_heads_outcome() {
    let fixture = Fixture::new();
    let mut body = fixture.body(stream(vec![Ok("a"), Ok("b")]), Outcome::Success);
    for text in ["a", "b"] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), text);
        assert_eq!(fixture.held(), 1);
    }
    assert!(body.frame().await.is_none());
    assert_eq!((fixture.held(), fixture.heard()), (0, vec![Outcome::Success]));
    drop(body);
    assert_eq!(fixture.heard().len(), 1, "reported once");
}

#[tokio::test]
async fn an_empty_body_and_the_last_frame_of_a_known_one_end_it() {
    let fixture = Fixture::new();
    let empty = fixture.body(Body::empty(), Outcome::Overload);
    assert_eq!((fixture.held(), fixture.heard()), (0, vec![Outcome::Overload]));
    drop(empty);
    let mut full = fixture.body(Body::from("whole"), Outcome::Success);
    let _frame = full.frame().await.unwrap().unwrap();
    assert_eq!((fixture.held(), fixture.heard()[1]), (0, Outcome::Success));
}

#[tokio::test]
async fn a_body_that_was_dropped_or_broke_says_so() {
    let fixture = Fixture::new();
    drop(fixture.body(stream(vec![Ok("a"), Ok("b")]), Outcome::Success));
    drop(fixture.body(Body::from("unread"), Outcome::Success));
    let mut broken = fixture.body(stream(vec![Ok("a"), Err("broken")]), Outcome::Success);
    while broken.frame().await.is_some_and(|frame| frame.is_ok()) {}
    let mut overloaded = fixture.body(stream(vec![Err("broken")]), Outcome::Overload);
    assert!(overloaded.frame().await.unwrap().is_err());
    let ends = [Outcome::Canceled, Outcome::Canceled, Outcome::Ignore, Outcome::Overload];
    assert_eq!((fixture.held(), &*fixture.heard()), (0, &ends[..]));
}

#[tokio::test]
async fn of_a_grpc_answer_the_trailers_say_how_it_ended() {
    let heads = [
        (Outcome::Success, "0", Outcome::Success),
        (Outcome::Success, "14", Outcome::Overload),
        (Outcome::Success, "13", Outcome::Ignore),
        (Outcome::Overload, "0", Outcome::Overload),
    ];
    for (head, status, outcome) in heads {
        let fixture = Fixture::new();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static(status));
        let body = stream(vec![Ok("a")]).with_trailers(async { Some(Ok(trailers)) });
        let mut body = Box::pin(fixture.body(body, head));
        while body.frame().await.is_some() {}
        assert_eq!((fixture.held(), fixture.heard()), (0, vec![outcome]), "{head:?}, then {status}");
    }
}

/// A body of known length that does not know that it has ended, as a file's may be.
struct Announced(Option<bytes::Bytes>);

impl http_body::Body for Announced {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[tokio::test]
async fn who_took_all_that_was_announced_has_not_left() {
    let fixture = Fixture::new();
    let mut body = fixture.body(Announced(Some("whole".into())), Outcome::Success);
    let _frame = body.frame().await.unwrap().unwrap();
    assert_eq!(fixture.held(), 1);
    drop(body);
    assert_eq!((fixture.held(), fixture.heard()), (0, vec![Outcome::Success]));
}

#[test]
fn a_body_made_for_a_refusal_holds_nothing() {
    let response: Response<PermitBody<Body>> = Response::new(PermitBody::from(bytes::Bytes::from("full")));
    assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(4));
    drop(PermitBody::<Body>::default());
}
