//! The client's side: accepts connections, reads requests, writes answers.
//!
//! A listener knows nothing of limits or origins. It hands every request to a [`Serve`], and **drops the future
//! or the answer's body the moment the client goes**: on a reset, when the client closes its side, when it stalls,
//! when an HTTP/2 stream is reset, also while its body is unread.
//!
//! | File | What it holds |
//! |---|---|
//! | `listener` | [`Listener`]: accepts, as far as connection permits go |
//! | `parked`, `displaced` | a connection that is accepted and waits, unread, for memory; what it hears if it has to go |
//! | `peers` | `TrustedPeers`: whose forwarding fields are believed, and who stands for many clients |
//! | `settings` | [`ListenSettings`]: every bound, with its reason |
//! | `serve` | [`Serve`], [`Caller`] and [`Client`]: what a service gets and gives |
//! | `connection` | which protocol a connection speaks |
//! | `http1`, `answering` | HTTP/1: hyper, and one request of a connection |
//! | `behind` | HTTP/1: what comes behind a request that is being answered, and is not read |
//! | `screen`, `plain`, `screened` | HTTP/1: what looks at a head before hyper does |
//! | `http2`, `stream2`, `send2`, `room` | HTTP/2: the h2 crate, one stream, how its answer is sent with credit, and how much may wait unsent |
//! | `credit`, `window`, `sizes`, `frames`, `waiting` | HTTP/2: what a client may send and begin, as far as there is memory |
//! | `unfinished` | HTTP/2: a header block that has begun and not ended: its time, and its memory |
//! | `alarm`, `date` | the timers of an HTTP/2 connection; the `Date` of its answers |
//! | `early` | interim answers of the service, on their way to an HTTP/2 stream |
//! | `fault` | [`Fault`]: what the listener itself refuses |
//! | `shutdown` | [`Shutdown`]: draining |

mod alarm;
mod answering;
mod behind;
mod connection;
mod credit;
mod date;
mod displaced;
pub(crate) mod early;
mod fault;
mod frames;
mod http1;
mod http2;
mod listener;
mod parked;
pub(crate) mod peers;
mod plain;
pub(crate) mod room;
mod screen;
mod screened;
pub(crate) mod send2;
mod serve;
mod settings;
mod shutdown;
mod sizes;
mod stream2;
mod unfinished;
mod waiting;
mod window;

pub use fault::Fault;
pub use listener::{ListenError, Listener};
pub use serve::{Caller, Client, Protocol, Serve};
pub use settings::ListenSettings;
pub use shutdown::Shutdown;
