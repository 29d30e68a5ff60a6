//! Who is next? A bounded queue with criticality classes, and the door before it.

mod class;
mod door;
mod order;

pub use class::Criticality;
pub use door::Door;
pub use order::{ClassQueue, Entry, Place, Pushed};
