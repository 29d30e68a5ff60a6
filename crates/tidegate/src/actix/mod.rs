//! Middleware for actix-web (feature `actix`), with the same answers as the layers in [`tower`](crate::tower).
//!
//! | Part | What it does |
//! |---|---|
//! | [`Limit`] | admits before the inner service is called, waits a bounded time, answers 503 or 429 otherwise |
//! | [`until_deadline`], [`deadline_of`] | how long the client waits, read from its headers |
//! | [`PermitBody`](crate::http::PermitBody) | the permit is held until the response's body has ended |
//!
//! What a request asks for, how work ended, what a refusal becomes and how long the permit is held are the traits of
//! [`tower`](crate::tower), and the values of [`http`](crate::http) that implement them serve here as well:
//! [`RespondWith`](crate::http::RespondWith), [`ByStatus`](crate::http::ByStatus),
//! [`UntilBodyEnd`](crate::http::UntilBodyEnd), [`UntilResponse`](crate::tower::UntilResponse).
//!
//! actix-web runs an application once a worker thread, with services that do not leave their thread. The
//! [`Limiter`](crate::Limiter) does: make one, and hand a clone to every worker.
//!
//! **When full:** a call waits as the limiter's queue has it, then gets the refusal as an answer. **When cancelled:**
//! dropping the call leaves the queue, or drops the inner call and gives the permit back.
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web};
//! use tidegate::Limiter;
//! use tidegate::actix::Limit;
//!
//! # fn main() -> std::io::Result<()> {
//! let limiter = Limiter::fixed(100);
//! let server = HttpServer::new(move || {
//!     App::new().wrap(Limit::new(limiter.clone())).route("/", web::get().to(|| async { "hello" }))
//! })
//! // Else actix goes on working for a client that closed its connection, since it may have closed one half only.
//! .h1_allow_half_closed(false)
//! .bind("127.0.0.1:8080")?;
//! actix_web::rt::System::new().block_on(server.run())
//! # }
//! ```

mod answer;
mod body;
mod deadline;
mod future;
mod limit;
mod outcome;
mod ready;
mod service;

pub use deadline::{deadline_of, until_deadline};
pub use future::LimitFuture;
pub use limit::Limit;
pub use service::LimitService;
