//! Who is next? A bounded queue with criticality classes, and the door in front of it.

mod class;

pub use class::Criticality;
