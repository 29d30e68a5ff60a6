//! Answers, bodies and deadlines in HTTP's own types (feature `http`), for the layers in [`tower`](crate::tower).
//!
//! | Part | What it does |
//! |---|---|
//! | [`RespondWith`] | a refusal becomes a 503 or 429, with `Retry-After`; with a problem body; or a gRPC status |
//! | [`Problem`] | what such an answer says, for those who write their own |
//! | [`UntilBodyEnd`], [`PermitBody`] | the permit is held until the response's body has ended |
//! | [`ByStatus`] | how work ended, read from the status |
//! | [`Deadline`], [`HeaderDeadline`], [`until_deadline`] | how long the client waits: read, obeyed, passed on |
//! | [`ready_endpoint`] | 200 or 503 for several parts of a program |
//! | [`HearHttp`], [`HearBodyLayer`] | for clients: what an answer says about load, and about coming back |
//! | [`RepeatHttp`], [`ByAuthority`] | for clients: what may be asked again, and whose pushback it is |
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use axum::{Router, body::Body, extract::Request, routing::get};
//! use tidegate::Limiter;
//! use tidegate::http::{RespondWith, UntilBodyEnd, until_deadline};
//! use tidegate::tower::LimitLayer;
//! use tower::ServiceExt;
//!
//! let limiter = Limiter::fixed(100);
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(
//!     LimitLayer::new(limiter.clone())
//!         .demand(until_deadline::<Body>)
//!         .on_refusal(RespondWith::service_unavailable().problem_json())
//!         .hold(UntilBodyEnd),
//! );
//! let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
//! assert_eq!(limiter.stats().in_flight, 1, "its body was not read yet");
//! drop(response);
//! assert_eq!(limiter.stats().in_flight, 0);
//! # });
//! ```

mod body;
mod deadline;
mod hear;
mod json;
mod outcome;
mod problem;
mod ready;
mod respond;
mod spread;
mod time_left;

pub use body::{PermitBody, UntilBodyEnd};
pub use deadline::{Deadline, HeaderDeadline, until_deadline};
pub use hear::{
    ByAuthority, HearBody, HearBodyFuture, HearBodyLayer, HearHttp, HeardBody, RepeatHttp, pushback,
    rate_limit, retry_after,
};
pub use outcome::ByStatus;
pub use problem::Problem;
pub use ready::{ReadyEndpoint, ready_endpoint};
pub use respond::{Grpc, NoBody, ProblemJson, RespondWith};
pub use time_left::time_left;
#[cfg(feature = "actix")]
pub(crate) use time_left::{Fields, time_left_in};
