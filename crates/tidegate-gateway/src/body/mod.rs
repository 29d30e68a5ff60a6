//! Bodies: how bytes come from a client, and the watch over how slowly they may move.
//!
//! | File | What it holds |
//! |---|---|
//! | `ahead` | [`Ahead`]: a body whose end is seen before there is credit for more |
//! | `client` | [`ClientBody`]: a request's body over either protocol |
//! | `flow` | what the bodies of an HTTP/2 connection have consumed |
//! | `free` | when an HTTP/1 body may have large buffers |
//! | `inbox` | what of an HTTP/2 body has come and was not taken |
//! | `received` | the body of an HTTP/2 message, from either side |
//! | `pace` | [`Pace`]: the stall timer and the least rate |

mod ahead;
mod client;
mod flow;
mod free;
mod inbox;
mod pace;
mod received;

pub use ahead::Ahead;
pub use client::ClientBody;
pub(crate) use flow::{Flow, Taken, Unread};
pub(crate) use free::{Free, SMALL_READS};
pub(crate) use received::Received;

pub use pace::{Pace, PaceSettings, TooSlow};

/// Any error a body can end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
