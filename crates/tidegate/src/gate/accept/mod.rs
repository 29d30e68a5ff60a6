//! Accepting connections as far as they can be served.
//!
//! A loop around `listener.accept()` takes in whoever comes: ten thousand connections for a pool of fifty, each of
//! which then waits where nobody sees it. [`Accept`] asks for a permit first, knows what stands behind
//! ([`linked_to`](Accept::linked_to)), and does with the rest what [`WhenFull`] says. What it does not accept waits in
//! the kernel's accept queue, which it shows ([`backlog`](Accept::backlog)).
//!
//! | File | What it holds |
//! |---|---|
//! | `gate` | [`Accept`]: making and asking |
//! | `next` | the way of one connection |
//! | `bound` | how many connections, and what says so |
//! | `refusal` | [`WhenFull`], and the bounded lane in which refusals are told |
//! | `connection` | what is handed out |
//! | `listen` | the listeners it works for |
//! | `kernel` | the accept queue, file descriptors |
//! | `fault` | what accept(2) says when it fails |
//! | `race` | the first of two futures |

mod bound;
mod connection;
mod fault;
mod gate;
mod kernel;
mod listen;
mod next;
mod race;
mod refusal;

pub use bound::{Bound, BoundBy};
pub use connection::{Accepted, ConnectionPermit, Lane};
pub use fault::AcceptError;
pub use gate::{Accept, AcceptStats};
pub use kernel::Backlog;
pub use listen::Listen;
pub use refusal::{Answer, WhenFull};
