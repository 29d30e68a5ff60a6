//! When to come back? Return slots: a moment of its own for everyone who is refused.

mod paced;

pub use paced::{ReturnSlots, Slot};
