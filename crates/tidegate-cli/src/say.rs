//! Lines for the person at the terminal.

use std::io::Write;

/// Prints a line. A reader that has gone (`| head`) is no reason to fail: the work itself goes on.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
