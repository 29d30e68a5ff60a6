//! One voice, many listeners, each with a bound of its own and a word on what happens when it falls behind.
//!
//! What is [published](Broadcast::publish) is kept once, however many subscribers there are, until the last of them has taken
//! it. Each subscriber may be behind by so many items and bytes; one that is further behind is dealt with as its [`Policy`]
//! says: it misses the oldest and [is told](Event::Gap) how many, or is waited for, for a moment, or is disconnected. Its
//! [`Ledger`] says what became of everything that it was offered.
//!
//! A ring with a place for each subscriber, and not a channel for each: an item for ten thousand subscribers takes one
//! place and not ten thousand, its payload is charged once, and how much a subscriber missed is a difference of two
//! numbers.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use tidegate::writer::broadcast::{Broadcast, Event, Policy, Terms};
//!
//! let mut ticker = Broadcast::new("ticker");
//! let terms = Terms::new(Policy::DropOldest).max_items(2);
//! let mut slow = ticker.audience().subscribe(terms)?;
//! for price in [101, 102, 103] {
//!     ticker.publish(price).await?;
//! }
//! ticker.finish();
//! assert!(matches!(slow.recv().await?, Some(Event::Gap(1))), "it missed the oldest, and is told");
//! let Some(Event::Item(price)) = slow.recv().await? else { panic!() };
//! assert_eq!(*price, 102);
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! **When full**, publishing waits for nobody but those whose policy is to be waited for, and for these for a bounded moment.
//! **When cancelled**, publishing and receiving lose nothing: each says how.

mod audience;
#[allow(clippy::module_inception)] // the folder is the concept, the file its main type
mod broadcast;
mod cut;
mod ledger;
mod policy;
mod ring;
#[cfg(test)]
mod ring_tests;
mod seat;
mod shared;
mod subscriber;
mod unpublished;

pub use audience::Audience;
pub use broadcast::{Broadcast, Builder, Published};
pub use cut::Cut;
pub use ledger::{Ledger, Listener, Snapshot};
pub use policy::{Late, Policy, Terms};
pub use shared::Shared;
pub use subscriber::{Event, Subscriber};
pub use unpublished::{Unpublished, Why};
