//! HTTP/2, frame by frame: for whoever must send what no client library would.
//!
//! Not a client. [`Wire`] sends the bytes it is given and hands over the frames that come, [`Frame`] makes and reads
//! them (RFC 9113 §4.1), [`Block`] writes header blocks (RFC 7541) without compression and reads a `:status`. None of it
//! checks what it sends: that is its use. Tests of how a server keeps to the protocol stand on it.
//!
//! ```
//! use tidegate_lab::frames::{Block, Frame, flag};
//!
//! let get = Frame::headers(1, flag::END_HEADERS | flag::END_STREAM, Block::get("/").bytes());
//! let mut bytes = Vec::new();
//! get.put(&mut bytes);
//! assert_eq!(&bytes[..9], [0, 0, get.payload.len() as u8, 1, 5, 0, 0, 0, 1]);
//! ```

mod block;
mod frame;
mod wire;

pub use block::{Block, status};
pub use frame::{Frame, code, flag, kind, setting};
pub use wire::{PREFACE, Wire};
