//! A client that holds back when the server asked for it.
//!
//! | File | What it holds |
//! |---|---|
//! | `heard` | [`Pushback`]: what an answer said; [`Hear`]: who reads it |
//! | `key` | [`KeyOf`]: whose pushback it is |
//! | `force` | what is in force, bounded |
//! | `layer` | [`PushbackLayer`]: what is to be done |
//! | `service` | [`Held`]: the call |

mod force;
mod heard;
mod key;
mod layer;
mod service;

#[cfg(feature = "http")]
pub(crate) use heard::means_unprocessed;
pub use heard::{Hear, HearErrors, Pushback};
pub use key::{KeyOf, OneForAll};
pub use layer::PushbackLayer;
pub use service::{Held, HeldFuture};
