//! Files, whose every operation blocks a thread: bounded in threads, in waiting operations and in bytes of data.
//!
//! [`Files`] does for files what [`Blocking`](super::Blocking) does for work of any kind. Data counts in bytes from before
//! an operation waits for its thread until the caller has the result; the buffer of a read is only made on its thread.
//! There is no read-ahead and no buffer between: a reader that stops reading stops the device.
//!
//! Errors are [`std::io::Error`], as in `std::fs`. A refusal is one of kind
//! [`ResourceBusy`](std::io::ErrorKind::ResourceBusy), and [`Refused::find`](crate::Refused::find) finds it again.
//!
//! | File | What it holds |
//! |---|---|
//! | `files` | [`Files`]: the limits, and whole files |
//! | `open` | [`File`]: an open file, by position |
//! | `chunks` | [`Chunks`]: one piece after the other |
//! | `device` | an operation on its thread, and how it is judged |
//! | `position` | reading and writing at a position, by platform |

mod chunks;
mod device;
mod files;
mod open;
mod position;

pub use chunks::Chunks;
pub use files::Files;
pub use open::File;
