//! Decisions of overload control, pure: no clock, no IO, no locks, no runtime. `now` is an argument.
//!
//! | Module | The question it answers |
//! |---|---|
//! | [`sample`] | what happened? |
//! | [`limit`] | how much at once? |
//! | [`queue`] | who is next? |
//! | [`wait`] | how long? |
//! | [`slots`] | when to come back? |
//! | [`credit`] | how many bytes? |

pub mod credit;
pub mod limit;
pub mod queue;
pub mod sample;
pub mod slots;
pub mod wait;
