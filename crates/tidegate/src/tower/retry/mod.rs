//! A client that asks again where that is safe and may help, as long as its caller has patience.
//!
//! | File | What it holds |
//! |---|---|
//! | `repeat` | [`Repeat`]: what may be asked twice, and how |
//! | `budget` | [`RetryBudget`]: how much of it |
//! | `layer` | [`RetryLayer`]: what is to be done; whether and when to ask again |
//! | `service` | [`Retry`]: attempts and pauses |

mod budget;
mod layer;
mod repeat;
mod service;

pub use budget::RetryBudget;
pub use layer::RetryLayer;
pub use repeat::{Attempt, Repeat};
pub use service::{Retry, RetryFuture};
