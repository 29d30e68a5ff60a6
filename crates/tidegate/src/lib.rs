//! A limiter that can be asked.
//!
//! A [`Limiter`] lets so much work in at once, holds a bounded number of callers for a bounded moment, and
//! gives everybody else a reason and a time of their own to come back. It can be asked how full it is without
//! blocking ([`Limiter::readiness`]), says how long a wait will take ([`Ticket::estimate`]), and finds its
//! limit itself when it is given a [`LimitAlgorithm`].
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use tidegate::{Demand, Limiter};
//!
//! let limiter = Limiter::fixed(10);
//! let permit = limiter.acquire(Demand::ONE).await?;
//! // … the work …
//! permit.success();
//! # Ok::<(), tidegate::Refused>(()) }).unwrap();
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | `limiter` | [`Limiter`], [`Permit`], [`Ticket`], the queue and the builder |
//! | `demand` | [`Demand`]: what is asked for |
//! | `readiness` | [`Readiness`]: an answer, not a promise |
//! | `refused` | [`Refused`] and [`Reason`]: why not, and when to come back |
//! | `tower` | layers for tower services (feature `tower`) |
//! | `http` | answers, bodies and deadlines in HTTP's types (feature `http`) |
//! | `gate` | gates before the places where programs overrun (feature `gate`) |
//! | `channel` | a channel bounded in bytes and items, in which nothing is lost silently (feature `stream`) |
//! | `pipeline` | stages that ask for work only when there is room behind them (feature `stream`) |
//! | `writer` | a writer that cannot skip back pressure, lines, broadcast (feature `stream`) |
//! | `budget` | one number for every byte that a process holds for its peers (feature `stream`) |
//! | `actix` | the same for actix-web (feature `actix`) |
//! | `clock` | the one place that reads a clock |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "actix")]
pub mod actix;
#[cfg(feature = "stream")]
pub mod budget;
#[cfg(feature = "stream")]
pub mod channel;
mod clock;
mod demand;
#[cfg(feature = "gate")]
pub mod gate;
#[cfg(feature = "http")]
pub mod http;
mod limiter;
mod overdue;
#[cfg(feature = "stream")]
pub mod pipeline;
mod readiness;
mod refused;
mod sync;
#[cfg(feature = "tower")]
pub mod tower;
mod wakes;
#[cfg(feature = "stream")]
pub mod writer;

pub use demand::Demand;
pub use limiter::{
    Acquire, Admission, ConfigError, Coverage, Drained, Limiter, LimiterBuilder, LimiterStats, Occupant,
    Occupants, Permit, QueueConfig, ReadinessWatch, RunError, ServiceTime, Ticket, TicketId, TryClaimError,
};
pub use readiness::{AskReady, Readiness, WaitEstimate};
pub use refused::{Reason, Refused};
pub use tidegate_control::limit;
pub use tidegate_control::limit::{Explanation, LimitAlgorithm};
pub use tidegate_control::queue::Criticality;
pub use tidegate_control::sample::{Outcome, Sample, View};

#[cfg(all(doctest, unix, feature = "gate", feature = "stream"))]
mod guide;
