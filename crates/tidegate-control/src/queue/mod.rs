//! Who is next? A bounded queue with criticality classes.

mod class;
mod order;

pub use class::Criticality;
pub use order::{ClassQueue, Entry, Place, Pushed};
