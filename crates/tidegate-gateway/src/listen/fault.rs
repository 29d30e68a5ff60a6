//! [`Fault`]: what the listener refuses by itself.

/// Why a listener refuses before there is a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The head is not HTTP, or could be read in two ways; says what is wrong with it.
    Malformed(&'static str),
    /// The head has more bytes or fields than allowed.
    HeadTooLarge,
    /// The head did not arrive in time.
    HeadTimeout,
    /// There is no memory for it.
    Memory,
}
