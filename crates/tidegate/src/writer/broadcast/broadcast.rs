//! [`Broadcast`]: the one voice.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::coop;
use tokio::time::timeout_at;

use super::audience::Audience;
use super::cut::Cut;
use super::ring::{Aftermath, Ring};
use super::shared::Shared;
use super::unpublished::{Unpublished, Why};
use crate::budget::Budget;
use crate::channel::Weigh;
use crate::clock::{Clock, nanos};
use crate::sync::{Mutex, lock};

/// What an item costs beside its own bytes: its place in the ring and what counts its holders.
const PER_ITEM: u64 = 64;

/// What the voice and its listeners share.
#[derive(Debug)]
pub(super) struct Common<T> {
    pub(super) state: Mutex<State<T>>,
    /// Somebody who is waited for took something, or went.
    pub(super) moved: Notify,
    pub(super) name: Arc<str>,
    pub(super) max_subscribers: usize,
    pub(super) max_item: u64,
    pub(super) budget: Option<Budget>,
    clock: Clock,
}

#[derive(Debug)]
pub(super) struct State<T> {
    pub(super) ring: Ring<Shared<T>>,
    /// The publisher waits for somebody.
    pub(super) waits: bool,
}

impl<T> Common<T> {
    /// Does something under the lock, and afterwards what follows from it without.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State<T>, &mut Aftermath<Shared<T>>) -> R) -> R {
        let mut after = Aftermath::default();
        let result = act(&mut lock(&self.state), &mut after);
        for waker in after.wake {
            waker.wake();
        }
        drop(after.items);
        result
    }
}

/// Publishes to all who subscribed. There is one, so that everybody hears the same in the same order; many sources share
/// it behind a [channel](crate::channel).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::writer::broadcast::{Broadcast, Cut, Event, Policy, Terms};
///
/// let mut news = Broadcast::new("news");
/// let mut subscriber = news.audience().subscribe(Terms::new(Policy::Disconnect))?;
/// news.publish("hello").await?;
/// drop(news); // not finished: its listeners must not take this for the end
/// assert!(matches!(subscriber.recv().await, Ok(Some(Event::Item(_)))));
/// assert!(matches!(subscriber.recv().await, Err(Cut::Unfinished)));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// **When full**, that is when a subscriber is too far behind, its [`Policy`](super::Policy) says what happens to it; to the others
/// nothing does. **Dropped** before it is [finished](Self::finish), its subscribers hear that it broke off.
#[derive(Debug)]
pub struct Broadcast<T> {
    common: Arc<Common<T>>,
}

/// How large a broadcast may be; made by [`Broadcast::builder`].
#[derive(Clone, Debug)]
#[must_use = "`build` makes the broadcast"]
pub struct Builder<T> {
    name: Arc<str>,
    max_subscribers: usize,
    max_item: u64,
    budget: Option<Budget>,
    of: PhantomData<fn(T)>,
}

impl<T: Weigh> Builder<T> {
    /// The subscribers there may be by default: 1024, as many as callers wait at a [`Limiter`](crate::Limiter).
    pub const DEFAULT_MAX_SUBSCRIBERS: usize = 1024;

    /// The bytes of the largest item by default: 64 KiB, what a [`Writer`](crate::writer::Writer) holds.
    pub const DEFAULT_MAX_ITEM: u64 = 64 << 10;

    /// At most so many subscribers at a time, at least 1.
    pub fn max_subscribers(mut self, subscribers: usize) -> Self {
        self.max_subscribers = subscribers.max(1);
        self
    }

    /// An item has at most so many bytes, with what it costs itself. Whoever subscribes may be behind by one such item at
    /// least.
    pub fn max_item(mut self, bytes: u64) -> Self {
        self.max_item = bytes.max(1);
        self
    }

    /// Charges each item to `budget`, once, until the last who has it dropped it.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Makes it.
    #[must_use]
    pub fn build(self) -> Broadcast<T> {
        let state = Mutex::new(State { ring: Ring::new(), waits: false });
        let Self { name, max_subscribers, max_item, budget, .. } = self;
        let (moved, clock) = (Notify::new(), Clock::start());
        Broadcast {
            common: Arc::new(Common { state, moved, name, max_subscribers, max_item, budget, clock }),
        }
    }
}

/// To whom an item went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Subscribers that it was offered to.
    pub subscribers: u64,
    /// Older items that some of them miss because of it, in all.
    pub skipped: u64,
    /// Subscribers that were disconnected because of it.
    pub disconnected: u64,
}

impl<T> Broadcast<T> {
    /// Where one subscribes.
    #[must_use]
    pub fn audience(&self) -> Audience<T> {
        Audience::new(Arc::clone(&self.common))
    }

    /// Ends it in order: subscribers take what they are behind, and then hear that this was all.
    pub fn finish(self) {
        self.common.with(|state, after| state.ring.end(Ok(()), after));
    }
}

impl<T: Weigh> Broadcast<T> {
    /// Describes how large it may be.
    pub fn builder(name: impl Into<Arc<str>>) -> Builder<T> {
        let (max_subscribers, max_item) =
            (Builder::<T>::DEFAULT_MAX_SUBSCRIBERS, Builder::<T>::DEFAULT_MAX_ITEM);
        Builder { name: name.into(), max_subscribers, max_item, budget: None, of: PhantomData }
    }

    /// With the defaults of [`Builder`].
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self::builder(name).build()
    }

    /// Publishes `item`, and waits for those whose policy is to be waited for.
    ///
    /// **When full**: who is too far behind is dealt with by its policy. It waits at most as long as the most patient of
    /// these policies says. **When cancelled** while it waits, `item` was published, and those it waited for are dealt with as
    /// though their time were up.
    ///
    /// # Errors
    /// If it has too many bytes, or the budget has too few (which is not waited for: who holds them may be waiting for what is
    /// published next). It was not published.
    pub async fn publish(&mut self, item: T) -> Result<Published, Unpublished<T>> {
        let mut waits = self.offer(item)?;
        while let Some(due) = waits.next() {
            let moved = self.common.moved.notified();
            match self.common.clock.instant(due) {
                Some(due) => drop(timeout_at(due, moved).await),
                None => moved.await,
            }
        }
        // Whoever publishes without a pause lets others have their turn.
        coop::consume_budget().await;
        Ok(waits.published)
    }

    /// Publishes `item` and waits for nobody: those who are to be waited for are dealt with as though their time were up.
    ///
    /// # Errors
    /// If it has too many bytes, or the budget has too few (which is not waited for: who holds them may be waiting for what is
    /// published next). It was not published.
    pub fn publish_now(&mut self, item: T) -> Result<Published, Unpublished<T>> {
        let mut waits = self.offer(item)?;
        waits.give_up();
        Ok(waits.published)
    }

    fn offer(&self, item: T) -> Result<Waits<'_, T>, Unpublished<T>> {
        let weight = item.weight().saturating_add(size_of::<T>() as u64).saturating_add(PER_ITEM);
        let max_item = self.common.max_item;
        if weight > max_item {
            return Err(Unpublished { item, why: Why::TooHeavy { weight, max_item } });
        }
        let leased = self.common.budget.as_ref().map(|budget| budget.try_lease(weight)).transpose();
        let charge = match leased {
            Ok(charge) => charge,
            Err(full) => return Err(Unpublished { item, why: Why::Memory(full) }),
        };
        let (item, mut awaited) = (Shared::new(item, charge), Vec::new());
        let published = self.common.with(|state, after| {
            let subscribers = state.ring.push(item, weight, after, &mut awaited);
            state.waits = !awaited.is_empty();
            Published { subscribers, skipped: after.skipped, disconnected: after.disconnected }
        });
        let now = self.common.clock.now();
        let due = |patience: Duration| now.saturating_add(nanos(patience));
        let awaited = awaited.into_iter().map(|(seat, patience)| (seat, due(patience))).collect();
        Ok(Waits { common: &self.common, awaited, published })
    }
}

impl<T> Drop for Broadcast<T> {
    fn drop(&mut self) {
        self.common.with(|state, after| state.ring.end(Err(Cut::Unfinished), after));
    }
}

/// Those a publisher waits for, and until when.
struct Waits<'b, T> {
    common: &'b Common<T>,
    awaited: Vec<(u64, u64)>,
    published: Published,
}

impl<T> Waits<'_, T> {
    /// Until when there is somebody to wait for.
    fn next(&mut self) -> Option<u64> {
        if self.awaited.is_empty() {
            return None;
        }
        let now = self.common.clock.now();
        self.settle(|due| due <= now);
        self.awaited.iter().map(|(_, due)| *due).min()
    }

    fn give_up(&mut self) {
        if !self.awaited.is_empty() {
            self.settle(|_| true);
        }
    }

    /// Strikes out those who caught up, and deals with those whose time is up.
    fn settle(&mut self, is_over: impl Fn(u64) -> bool) {
        let (awaited, published) = (&mut self.awaited, &mut self.published);
        self.common.with(|state, after| {
            awaited.retain(|(seat, due)| {
                let waits = !state.ring.is_within(*seat);
                if waits && is_over(*due) {
                    state.ring.give_up(*seat, after);
                    return false;
                }
                waits
            });
            state.waits = !awaited.is_empty();
            published.skipped += after.skipped;
            published.disconnected += after.disconnected;
        });
    }
}

impl<T> Drop for Waits<'_, T> {
    fn drop(&mut self) {
        self.give_up();
    }
}
