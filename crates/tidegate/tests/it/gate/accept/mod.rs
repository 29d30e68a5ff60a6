//! Bounded accept, over real sockets.
//!
//! | File | What it shows |
//! |---|---|
//! | `peers` | the two ends of a connection |
//! | `queue` | pausing: who waits in the kernel's queue |
//! | `refuse` | what refused connections hear |
//! | `bounds` | how many connections there may be |
//! | `lanes` | the health lane, and the end |
//! | `descriptors` | running out of file descriptors |
//! | `stress` | `accept()` dropped at random moments |

mod bounds;
mod descriptors;
mod lanes;
mod peers;
mod queue;
mod refuse;
mod stress;
