//! One number for every byte that a process holds for its peers.
//!
//! A [`Budget`] is a node of a tree: process, tenants or listeners, connections, streams. Bytes are held by a [`Lease`],
//! charged to its node and to every one above it, or to none; they come back when the lease is dropped. So whatever the
//! peers do, the bytes held below a node are never more than its limit.
//!
//! ```
//! use tidegate::budget::Budget;
//!
//! let process = Budget::new("process", 1 << 20);
//! let peer = process.child("10.0.0.7").limit(64 << 10).build();
//! let frame = peer.try_lease(16 << 10)?;
//! assert_eq!((process.used(), peer.free()), (16 << 10, 48 << 10));
//! let full = peer.try_lease(60 << 10).unwrap_err();
//! assert_eq!((&*full.at, full.free), ("10.0.0.7", 48 << 10));
//! drop(frame);
//! assert_eq!(process.used(), 0);
//! # Ok::<(), tidegate::budget::Full>(())
//! ```
//!
//! - **Who may have how much.** A node may have what the others leave idle; once the node above it is more than half full,
//!   not more than its [share](Child::share) of it. [`Urgency`] keeps room for what was begun, a
//!   [reserve](Root::reserve) lets the oldest piece of [work](Child::work) go on whatever happens.
//! - **Who waits.** [`Budget::lease`] waits in a line at its own node, holding nothing. Bytes that come back are handed to
//!   who is next before anybody else can take them: by urgency, then by who holds least of its share, then by arrival. At
//!   most eight go past one that only lacks room.
//! - **Who holds what, since when.** [`Budget::snapshot`] and [`Budget::holders`].
//!
//! A tree has one lock, held for the few additions of a path. Counters of their own at every node would cost two atomic
//! steps a node (taken and given back), refuse while another's attempt is being rolled back, and could neither move a
//! lease from one node to another in one step nor show figures that fit together.
//!
//! | File | What it holds |
//! |---|---|
//! | `node` | [`Budget`]: the public face; `build`: [`Root`], [`Child`] |
//! | `lease` | [`Lease`]: bytes held until dropped |
//! | `full` | [`Full`]: not now, and why |
//! | `wait` | [`Leasing`]: a bounded wait; `seat`: where its answer is left |
//! | `tree` | the lock; `desk`: what it protects; `line`: who waits where; `serve`: who is next; `unclaimed`: what nobody came for |
//! | `snapshot` | [`Snapshot`], [`Holder`] |
//! | `leased` | [`LeasedBytes`]; `body`: `LeasedBody` (feature `http`) |
//! | `memory` | [`Memory`]: how much there is |

#[cfg(feature = "http")]
mod body;
mod build;
mod desk;
mod full;
mod lease;
mod leased;
mod line;
#[cfg(all(test, tidegate_loom))]
mod loom_tests;
mod memory;
mod node;
mod seat;
mod serve;
mod snapshot;
mod tree;
mod unclaimed;
mod wait;

#[cfg(feature = "http")]
pub use body::{LeasedBody, LeasedBodyError};
pub use build::{Child, Root};
pub use full::Full;
pub use lease::Lease;
pub use leased::{LeasedBytes, Unleased};
pub use memory::{Memory, MemorySource};
pub use node::Budget;
pub use snapshot::{Holder, Snapshot};
pub use tidegate_control::credit::Urgency;
pub use wait::Leasing;
