//! A limiter before a service.
//!
//! | File | What it holds |
//! |---|---|
//! | `layer` | [`LimitLayer`]: what is to be done |
//! | `service` | [`Limit`]: admission |
//! | `future` | [`LimitFuture`]: the wait, the work, the end |

mod future;
mod layer;
mod service;

pub use future::LimitFuture;
pub use layer::{LimitLayer, SerialLimitLayer};
pub use service::Limit;
