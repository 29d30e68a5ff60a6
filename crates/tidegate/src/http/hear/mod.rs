//! What a client hears in HTTP.
//!
//! | File | What it holds |
//! |---|---|
//! | `answer` | [`HearHttp`], [`pushback`]: what a response, or an error, says |
//! | `retry_after` | [`retry_after`]: the field, in both its forms |
//! | `rate_limit` | [`rate_limit`]: the field of the RateLimit draft |
//! | `problem` | what a problem body says |
//! | `body` | [`HearBodyLayer`]: reads that body without taking it from the caller |
//! | `request` | [`RepeatHttp`], [`ByAuthority`]: requests that may be asked again |

mod answer;
mod body;
mod problem;
mod rate_limit;
mod request;
mod retry_after;

pub use answer::{HearHttp, pushback};
pub use body::{HearBody, HearBodyFuture, HearBodyLayer, HeardBody};
pub use rate_limit::rate_limit;
pub use request::{ByAuthority, RepeatHttp};
pub use retry_after::retry_after;

use std::time::Duration;

/// The longest moment that is understood. Nobody acts on a longer one, a sum with it does not overflow, and what says
/// years is more likely wrong than meant. How long it is obeyed is decided where it is: a
/// [`PushbackLayer`](crate::tower::PushbackLayer) has a bound of its own, a [`RetryLayer`](crate::tower::RetryLayer) its
/// caller's patience.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
