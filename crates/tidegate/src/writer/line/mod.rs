//! Lines: none written that is longer than agreed or that breaks in two, none read that is longer than asked for.

mod error;
#[allow(clippy::module_inception)] // the folder is the concept, the file its main type
mod line;
mod reader;
mod writer;

pub use error::{LineError, NotALine};
pub use line::Line;
pub use reader::{LineReader, OverLong};
pub use writer::{LineRoom, LineWriter};
