//! Layers for tower services (feature `tower`).
//!
//! [`LimitLayer`] puts a [`Limiter`](crate::Limiter) before any service that can be cloned. Where tower's own
//! `ConcurrencyLimit` takes a permit in `poll_ready`, [`Limit`] takes it in `call`: a handle that lies idle holds
//! nothing, and readiness is a question of its own ([`AskReady`](crate::AskReady)), answered for a whole stack.
//!
//! | Part | What it does |
//! |---|---|
//! | [`LimitLayer`], [`Limit`] | admits in `call`, waits a bounded time, refuses with a reason and a moment to come back |
//! | [`DemandOf`], [`OutcomeOf`], [`OnRefusal`], [`Hold`] | what a request asks for, how work ended, what a refusal becomes, how long the permit is held; closures do |
//! | [`DeadlineLayer`] | ends work whose client does not wait any more |
//! | [`ReserveLayer`], [`Reserve`] | tower's strict contract: reserves in `poll_ready`, under a hold that lapses |
//! | [`Serial`] | lends a service that cannot be cloned to one call at a time |
//! | [`AssumeReady`] | vouches for a service that cannot be asked |
//!
//! And for clients, outermost first, with the answers read by a [`Hear`] (`HearHttp` with feature `http`):
//!
//! | Part | What it does |
//! |---|---|
//! | [`RestrainLayer`], [`Restrain`] | asks less of a server that refuses most of it |
//! | [`RetryLayer`], [`Retry`] | asks again where that is safe and may help, at the server's moment, within the caller's patience and a budget |
//! | [`PushbackLayer`], [`Held`] | while a server's "not now" is in force, refuses here, with the time that is left |
//!
//! What follows has the same answer for every layer before a service. **When full:** the call waits as the limiter's queue
//! has it, then gets the refusal, turned into whatever [`OnRefusal`] makes of it. **When cancelled:** dropping the
//! future leaves the queue at once; if the work had begun, the work is dropped first and then the permit goes
//! back. **Runtime:** only a wait needs one, for its timer. Only [`Reserve`]
//! spawns a task, one for each layer, while a handle holds something.

mod assume;
mod chance;
mod deadline;
mod demand;
mod drive;
mod hold;
mod limit;
mod outcome;
mod pushback;
mod refusal;
mod reserve;
mod restrain;
mod retry;
mod serial;

pub use assume::AssumeReady;
pub use deadline::{DeadlineFuture, DeadlineLayer, DeadlineOf, Deadlined, Unsaid};
pub use demand::{DemandOf, OneEach};
pub use hold::{Hold, UntilResponse};
pub use limit::{Limit, LimitFuture, LimitLayer, SerialLimitLayer};
pub use outcome::{ErrIsIgnored, OutcomeOf};
#[cfg(feature = "http")]
pub(crate) use pushback::means_unprocessed;
pub use pushback::{Hear, HearErrors, Held, HeldFuture, KeyOf, OneForAll, Pushback, PushbackLayer};
pub use refusal::{AsError, BoxError, OnRefusal};
pub use reserve::{Reserve, ReserveLayer};
pub use restrain::{Restrain, RestrainFuture, RestrainLayer};
pub use retry::{Attempt, Repeat, Retry, RetryBudget, RetryFuture, RetryLayer};
pub use serial::{Serial, SerialFuture};
