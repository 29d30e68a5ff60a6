//! Work that blocks its thread, bounded in threads, in waiting work and in the bytes that both hold.
//!
//! `tokio::task::spawn_blocking` starts up to 512 threads and lines up everything else without end; whoever puts a
//! semaphore before it frees the permit when the *caller* goes, while the thread goes on. [`Blocking`] moves the permit
//! into the work instead:
//!
//! - **Threads:** at most the limiter's limit work at once. The permit returns when the thread is done, whether
//!   or not anybody still waits for the result.
//! - **Waiting work** is bounded in number, in time (the limiter's queue) and in bytes
//!   ([`max_bytes`](Blocking::max_bytes)); whoever finds no place is refused at once, with a reason and a time to come
//!   back.
//! - **Cancelling** is dropping the future: what waits leaves the queue at once, what runs goes on and its result is
//!   dropped.
//! - **Panics** in the work come back as an error; **outcomes** are reported, so that the limit can be an adaptive one
//!   (the work of a caller that left counts as late: its time was real, its use was none).
//!
//! A thread that is done takes up the next piece of work itself, if the permit it gave back was meant for one: work that
//! waits does not pass through the scheduler again. It stands by for more *before* it gives the permit back, so that a
//! caller which is admitted by that finds a thread, and a busy gate starts none beyond its limit.
//!
//! | File | What it holds |
//! |---|---|
//! | `gate` | [`Blocking`], [`Work`]: the public face |
//! | `run` | a caller's future |
//! | `piece` | a piece of work on its way: waiting, on a thread, done |
//! | `step` | what a thread sees of it |
//! | `crew` | the threads: never more than there are permits |
//! | `next` | what a thread takes up after this |
//! | `budget` | bytes, waited for |
//! | `failure` | [`BlockingError`], [`Panicked`] |

mod budget;
mod crew;
mod failure;
mod gate;
mod next;
mod piece;
mod run;
mod step;

pub use failure::{BlockingError, Panicked};
pub use gate::{Blocking, Work};
