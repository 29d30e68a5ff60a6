//! Who is next? A bounded queue with criticality classes, and the door before it.

mod class;
mod door;
mod entry;
mod first;
mod order;

pub use class::Criticality;
pub use door::Door;
pub use entry::{Entry, Place, Pushed};
pub use first::OnlyFirst;
pub use order::ClassQueue;
