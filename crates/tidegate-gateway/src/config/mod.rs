//! Configuration: one file, the same words as the flags, every default stated.
//!
//! | File | What it holds |
//! |---|---|
//! | `file` | [`Config`]: what was said, in a file or as flags |
//! | `effective` | [`Effective`]: what holds, defaults included |
//! | `open_files` | [`OpenFiles`]: how those that a process may have are divided |
//! | `sound` | values that could be read but cannot hold |
//! | `units` | [`Span`], [`Size`], [`LimitWord`], [`LogWord`]: how values are written |

mod effective;
mod file;
mod open_files;
mod sound;
mod units;

pub use effective::Effective;
pub use file::{Config, ConfigProblem};
pub use open_files::{OpenFiles, OriginFiles, TooFewFiles};
pub use units::{LimitWord, LogWord, Size, Span, UnitError};
