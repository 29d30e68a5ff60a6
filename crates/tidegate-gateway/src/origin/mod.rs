//! The service behind: its addresses, the connections to it, and one exchange on one of them.
//!
//! | File | What it holds |
//! |---|---|
//! | `address` | [`OriginAddress`]: `http://`, `https://` or `unix:` |
//! | `settings` | [`OriginSettings`]: protocol and timeouts |
//! | `dial` | a new connection |
//! | `place` | as many connections as there are open files for |
//! | `pool` | [`Origin`]: connections that are kept |
//! | `exchange` | [`Exchange`]: a request on its way, whose client may leave |
//! | `http1`, `http2` | the same over either protocol |
//! | `interim` | who hears of interim answers |
//! | `repeat` | what may be sent twice |
//! | `request_body` | [`RequestBody`]: what was buffered already, then the rest |
//! | `written` | the head that was last written over a connection, for what may be sent twice |
//! | `sent` | how the sending of that goes |
//! | `reply` | [`Reply`] and [`ReplyBody`] |
//! | `error` | [`OriginError`] |

mod address;
mod dial;
mod error;
mod exchange;
mod http1;
mod http2;
pub(crate) mod interim;
mod place;
mod pool;
mod repeat;
mod reply;
mod request_body;
mod sent;
mod settings;
mod written;

pub use address::{AddressError, OriginAddress};
pub use error::{OriginError, OriginErrorKind};
pub use exchange::Exchange;
pub use pool::{Origin, OriginFacts};
pub use reply::{Reply, ReplyBody};
pub use request_body::RequestBody;
pub use settings::OriginSettings;
