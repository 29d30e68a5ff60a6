//! A channel bounded in bytes and items, in which nothing is lost silently.
//!
//! | File | What it holds |
//! |---|---|
//! | `config` | [`Config`], [`Overflow`], [`Oversize`]: how large, and what when it is full |
//! | `weigh` | [`Weigh`]: the bytes that an item keeps alive |
//! | `sender`, `sending`, `permit`, `turn`, `due` | [`Sender`]; sending, reserving, waiting for a turn and for the budget |
//! | `overflow` | what policy does where nobody waits |
//! | `sent` | [`Sent`], [`Full`], [`Closed`]: what became of an item |
//! | `receiver`, `leased`, `account` | [`Receiver`], [`Leased`], [`Charge`]: what is in hand, and its bytes |
//! | `occupancy`, `tally` | [`Occupancy`], [`Borrower`], [`Tally`]: what can be asked |
//! | `shared`, `outlet` | the queue and its credit, behind a lock for each side |
//! | `ledger`, `seats`, `tags`, `pace`, `span` | the credit: who has it, who is next, how long it takes |
//!
//! An item is charged its [weight](Weigh) from the moment at which room for it was [reserved](Sender::reserve) until the
//! [lease](Leased) under which it was received is dropped: the channel bounds what is on its way *and* what is being worked on.
//! Both bounds, bytes and items, hold at every moment.

mod account;
mod config;
mod due;
mod leased;
mod ledger;
mod occupancy;
mod outlet;
mod overflow;
mod pace;
mod permit;
mod receiver;
mod seats;
mod sender;
mod sending;
mod sent;
mod shared;
mod span;
mod tags;
mod tally;
mod turn;
mod unclaimed;
mod weigh;

#[cfg(all(test, tidegate_loom))]
mod loom_tests;

pub use account::Charge;
pub use config::{Config, Overflow, Oversize};
pub use leased::Leased;
pub use occupancy::{Borrower, Occupancy};
pub use permit::{Permit, Reserve};
pub use receiver::{Receiver, Recv, TryRecvError};
pub use sender::Sender;
pub use sending::Sending;
pub use sent::{Closed, Full, ReserveError, Sent, Why};
pub use tally::Tally;
pub use weigh::Weigh;

use crate::clock::Clock;

/// A channel of at most `max_bytes` (0 counts as 1), with the defaults of [`Config`] for everything else: when full, senders
/// wait.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (sender, mut receiver) = tidegate::channel::bounded::<Vec<u8>>(64 << 10);
/// sender.send(vec![1, 2, 3]).await?.into_result()?;
/// drop(sender);
/// while let Some(item) = receiver.recv().await {
///     assert_eq!(*item, [1, 2, 3]); // its bytes are given back here
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[must_use]
pub fn bounded<T: Weigh>(max_bytes: u64) -> (Sender<T>, Receiver<T>) {
    let shared = shared::Shared::new(Config::new(max_bytes.max(1)), 0, Clock::start());
    (Sender::first(&shared), Receiver::new(shared))
}
