//! The end where items come in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::demand::Demand;
use crate::readiness::{AskReady, Readiness, WaitEstimate};
use crate::sync::MutexGuard;
use crate::wakes::Wakes;

use super::account::Account;
use super::due::Spent;
use super::ledger::{Door, Need};
use super::occupancy::Occupancy;
use super::overflow::Came;
use super::permit::{Permit, Reserve};
use super::sending::Sending;
use super::sent::{Closed, ReserveError, Sent, Why};
use super::shared::{Core, Policy, Shared};
use super::tags::UNTAGGED;

/// The end of a channel where items come in; cloned for each that sends.
///
/// **When full:** [`send`](Self::send) does what the channel's [`Overflow`](super::Overflow) says, which is to wait, by default;
/// [`offer`](Self::offer) never waits. Those that wait are bounded, and served in the order in which they came, except that at most
/// eight smaller items pass one that does not fit yet. **When cancelled:** nothing that was not sent has left the caller: see each
/// method.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    tag: u32,
}

/// An item for which there is no room right now, and the lock under which that was found; what the budget said, if it is the
/// budget that has none.
pub(super) type Unfit<'s, T> = (MutexGuard<'s, Core<T>>, T, Option<Spent>);

impl<T> Sender<T> {
    pub(super) fn first(shared: &Arc<Shared<T>>) -> Self {
        let sender = Self { shared: Arc::clone(shared), tag: UNTAGGED };
        let mut core = shared.lock();
        core.senders += 1;
        core.ledger.tags.join(UNTAGGED);
        drop(core);
        sender
    }

    /// A sender of the same channel whose items are counted under `name`
    /// ([`Occupancy::borrowers`](super::Occupancy::borrowers)). A channel knows 64 names at once; those of further ones
    /// are counted with the unnamed.
    #[must_use]
    pub fn tagged(&self, name: &str) -> Self {
        let mut core = self.shared.lock();
        core.senders += 1;
        let tag = core.ledger.tags.open(name);
        drop(core);
        Self { shared: Arc::clone(&self.shared), tag }
    }

    /// Puts an item in, waiting for its turn where the channel's policy is to wait. Resolves to what became of it.
    ///
    /// **When cancelled:** a dropped future drops its item with it (which
    /// [`Tally::canceled`](super::Tally::canceled) counts) and leaves the line at once. Where the item must not be lost,
    /// await the future by reference and take the item back ([`Sending::into_item`]), or [`reserve`](Self::reserve) first.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tidegate::channel::{Sent, bounded};
    ///
    /// let (sender, mut receiver) = bounded(1 << 20);
    /// let Sent::Accepted = sender.send(vec![0u8; 100]).await? else { unreachable!("there is room") };
    /// assert_eq!(receiver.recv().await.unwrap().len(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn send(&self, item: T) -> Sending<'_, T> {
        Sending::new(self, item, None)
    }

    /// The same, but only until `deadline`: refused at once ([`Why::Deadline`]) if the wait for room is predicted to last longer, and
    /// when it has lasted so long ([`Why::Expired`]).
    ///
    /// On a tokio runtime (its timer must be enabled) the future wakes itself when its time is over; elsewhere it ends when its
    /// turn comes or it is polled.
    pub fn send_by(&self, item: T, deadline: Instant) -> Sending<'_, T> {
        Sending::new(self, item, Some(deadline))
    }

    /// Puts an item in if that needs no waiting; else does what the channel's policy says, or refuses it where that is to wait.
    /// While others wait for room, a newcomer does not overtake them here.
    ///
    /// # Errors
    /// [`Closed`], with the item, if the receiver takes no more.
    pub fn offer(&self, item: T) -> Result<Sent<T>, Closed<T>> {
        let need = self.need(&item);
        match self.try_put(item, need) {
            Ok(()) => Ok(Sent::Accepted),
            Err((core, item, spent)) => self.overflow(core, item, need, Came { spent, rerouted: false }),
        }
    }

    /// Room for an item of this weight: whoever has it can send without waiting, and nothing is lost if the wait for it is
    /// cancelled, for the item is still the caller's. It is waited for whatever the channel's policy; nothing is displaced.
    ///
    /// **When full:** waits its turn; refused ([`Why::LineFull`]) if as many wait as may. **When cancelled:** leaves the line at once;
    /// what was granted and not taken passes on.
    pub fn reserve(&self, weight: u64) -> Reserve<'_, T> {
        Reserve::new(self, weight)
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// [`ReserveError::Full`] if there is no room or others wait; [`ReserveError::Closed`].
    pub fn try_reserve(&self, weight: u64) -> Result<Permit<T>, ReserveError> {
        let need = Need { bytes: self.shared.charge_of(weight), tag: self.tag };
        let mut core = self.shared.lock();
        if core.ledger.door != Door::Open {
            return Err(ReserveError::Closed);
        }
        let oversize = self.shared.is_oversize(need.bytes);
        if core.ledger.fits(need.bytes) || self.fits_after_all(&mut core, need.bytes) {
            let lease = match self.shared.lease(need.bytes) {
                Ok(lease) => lease,
                Err(spent) => return Err(ReserveError::Full(spent.full((), need.bytes))),
            };
            let since = core.ledger.reserve(need);
            drop(core);
            return Ok(Permit::new(Arc::clone(&self.shared), need, since, lease));
        }
        let why = if oversize { Why::Oversize } else { Why::NoRoom };
        Err(ReserveError::Full(core.full((), need.bytes, why)))
    }

    /// How long an item of this weight would wait for its room, at the present pace.
    #[must_use]
    pub fn room_in(&self, weight: u64) -> WaitEstimate {
        let mut core = self.shared.lock();
        drop(self.shared.fold(&mut core));
        core.ledger.room_in(self.shared.charge_of(weight))
    }

    /// How full the channel is, how fast it moves, and what became of the items.
    #[must_use]
    pub fn snapshot(&self) -> Occupancy {
        Occupancy::of(&self.shared)
    }

    /// Is the receiver gone, or does it take no more?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().ledger.door != Door::Open
    }

    /// Bytes that the channel holds at most.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.shared.max_bytes
    }

    /// Items that the channel holds at most.
    #[must_use]
    pub fn max_items(&self) -> usize {
        self.shared.max_items
    }

    pub(super) fn shared(&self) -> &Arc<Shared<T>> {
        &self.shared
    }

    pub(super) fn tag(&self) -> u32 {
        self.tag
    }

    pub(super) fn depth(&self) -> u8 {
        self.shared.depth
    }

    /// What `item` would be charged.
    pub(super) fn need(&self, item: &T) -> u64 {
        self.shared.charge_of((self.shared.weigh)(item))
    }

    /// Puts `item` in if there is room and nobody waits.
    #[inline(always)] // it hands an item on by value: a call would copy it once more
    pub(super) fn try_put(&self, item: T, need: u64) -> Result<(), Unfit<'_, T>> {
        let mut core = self.shared.lock();
        if core.ledger.door != Door::Open || !core.ledger.fits(need) && !self.fits_after_all(&mut core, need)
        {
            return Err((core, item, None));
        }
        let lease = match self.shared.lease(need) {
            Ok(lease) => lease,
            Err(spent) => return Err((core, item, Some(spent))),
        };
        let receiver = core.put(item, Need { bytes: need, tag: self.tag }, lease);
        drop(core);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        Ok(())
    }

    /// Is there room, with what has become free meanwhile?
    #[cold]
    pub(super) fn fits_after_all(&self, core: &mut Core<T>, need: u64) -> bool {
        drop(self.shared.fold(core));
        core.ledger.fits(need) || core.ledger.fits_alone() && !self.shared.is_oversize(need)
    }
}

impl<T: Send + 'static> Sender<T> {
    pub(super) fn account(&self) -> Arc<dyn Account> {
        self.shared.clone()
    }
}

impl<T> AskReady for Sender<T> {
    fn readiness(&self) -> Readiness {
        self.readiness_for(&Demand::ONE)
    }

    /// What would happen to an item of as many bytes as the demand has units.
    fn readiness_for(&self, demand: &Demand) -> Readiness {
        let need = self.shared.charge_of(demand.weight);
        let mut core = self.shared.lock();
        drop(self.shared.fold(&mut core));
        let ledger = &core.ledger;
        if ledger.door != Door::Open {
            return Readiness::Draining { retry_after: None };
        }
        let oversize = self.shared.is_oversize(need);
        let (funds, funded_in) = self.shared.funds(need);
        if !oversize && (ledger.fits(need) || ledger.fits_alone()) && funded_in == Some(Duration::ZERO) {
            return Readiness::Ready { available: ledger.free().min(funds) };
        }
        let mut wait = ledger.room_in(need);
        if let Some(funded_in) = funded_in {
            (wait.expected, wait.upper) = (wait.expected.max(funded_in), wait.upper.max(funded_in));
        }
        let waits = matches!(core.overflow, Policy::Wait) && !ledger.line_is_full() && !oversize;
        if waits {
            return Readiness::Busy { ahead: ledger.waiting().bytes, wait };
        }
        let known = wait.samples > 0 && !oversize;
        Readiness::Saturated { retry_after: known.then_some(wait.expected) }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let mut core = self.shared.lock();
        core.senders += 1;
        core.ledger.tags.join(self.tag);
        drop(core);
        Self { shared: Arc::clone(&self.shared), tag: self.tag }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut wakes = Wakes::default();
        let mut core = self.shared.lock();
        core.senders = core.senders.saturating_sub(1);
        core.ledger.tags.leave(self.tag);
        let retired = core.retire();
        core.wake_at_the_end(&mut wakes);
        drop(core);
        drop(retired);
        wakes.run();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("max_bytes", &self.shared.max_bytes).finish_non_exhaustive()
    }
}
