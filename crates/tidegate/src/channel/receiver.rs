//! The end where items come out.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::coop;

use crate::sync::MutexGuard;
use crate::wakes::Wakes;

use super::account::{Account, Charge};
use super::leased::Leased;
use super::ledger::Door;
use super::occupancy::Occupancy;
use super::shared::{Core, Queued, Shared};

/// The end of a channel where items come out.
///
/// Dropping it hands the items of those that wait back to them; what was in the channel is dropped, and counted
/// ([`Tally::abandoned`](super::Tally::abandoned)). To lose nothing, [`close`](Self::close) it first and receive what is left.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    reach: Reach,
}

/// How far the receiver has come.
#[derive(Default)]
struct Reach {
    /// Items in the outlet when last seen: saves a look into an empty one. Policy may have displaced some since.
    ahead: usize,
    /// Items that it took beside the outlet since it was last there.
    beside: u32,
}

/// Items that are taken beside the outlet until what is noted there is folded in all the same: the measure of the pace waits no
/// longer for it.
const BESIDE: u32 = 15;

/// There is nothing to receive right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// Nothing is queued.
    Empty,
    /// Nothing will come any more.
    Over,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "nothing is queued",
            Self::Over => "nothing will come any more",
        })
    }
}

impl Error for TryRecvError {}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared, reach: Reach::default() }
    }

    /// Takes no more: those that wait have their items handed back. What is in the channel, and what comes with room that
    /// was reserved before, can still be received; then [`recv`](Self::recv) resolves to `None`.
    pub fn close(&mut self) {
        drop(self.shut(Door::Closing));
    }

    /// How full the channel is, how fast it moves, and what became of the items.
    #[must_use]
    pub fn snapshot(&self) -> Occupancy {
        Occupancy::of(&self.shared)
    }

    /// Closes the door; what is left behind if the receiver goes.
    fn shut(&mut self, door: Door) -> Vec<Queued<T>> {
        let mut wakes = Wakes::default();
        let mut left = Vec::new();
        let mut core = self.shared.lock();
        core.ledger.close(door, &mut wakes);
        if door == Door::Gone {
            let mut outlet = self.shared.fold(&mut core);
            left.extend(outlet.queue.drain(..).chain(core.queue.drain(..)));
            drop(outlet);
            for queued in &left {
                core.ledger.displace(queued.need, queued.since);
            }
            core.ledger.tally.abandoned += left.len() as u64;
        }
        let retired = core.retire();
        let parked = core.parked.take();
        drop(core);
        drop((retired, parked));
        wakes.run();
        left
    }

    /// The next item, or the lock under which there was none.
    #[inline(always)] // it hands an item on by value: a call would copy it once more
    fn next<'s>(shared: &'s Shared<T>, reach: &mut Reach) -> Result<Queued<T>, MutexGuard<'s, Core<T>>> {
        if reach.ahead > 0 {
            if let Some(queued) = shared.lock_outlet().next() {
                reach.ahead -= 1;
                return Ok(queued);
            }
            reach.ahead = 0;
        }
        let mut core = shared.lock();
        // The outlet is empty. For one item the way through it is not worth it.
        if core.queue.len() == 1 && reach.beside < BESIDE {
            if let Some(queued) = core.take_alone() {
                reach.beside += 1;
                return Ok(queued);
            }
        }
        reach.beside = 0;
        let mut outlet = shared.fold(&mut core);
        std::mem::swap(&mut core.queue, &mut outlet.queue);
        if let Some(queued) = outlet.next() {
            reach.ahead = outlet.queue.len();
            return Ok(queued);
        }
        core.ledger.starve();
        shared.attend(&core, &mut outlet);
        drop(outlet);
        Err(core)
    }
}

impl<T: Send + 'static> Receiver<T> {
    /// The next item, or `None` when nothing will come any more: every sender is gone, or the receiver was closed, and the channel
    /// is empty.
    ///
    /// **When full:** receiving, and dropping what was received, is what makes room. **When cancelled:** nothing is taken before the
    /// future resolves, so nothing is lost.
    pub fn recv(&mut self) -> Recv<'_, T> {
        Recv { receiver: self }
    }

    /// The next item, if there is one.
    ///
    /// # Errors
    /// [`TryRecvError`] if there is none.
    pub fn try_recv(&mut self) -> Result<Leased<T>, TryRecvError> {
        match Self::next(&self.shared, &mut self.reach) {
            Ok(queued) => Ok(Self::lease(&self.shared, queued)),
            Err(core) if core.is_over() => Err(TryRecvError::Over),
            Err(_) => Err(TryRecvError::Empty),
        }
    }

    /// The next item, for use in a hand-written future: see [`recv`](Self::recv). Only the last waker is called.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Leased<T>>> {
        let coop = ready!(coop::poll_proceed(cx));
        let mut core = match Self::next(&self.shared, &mut self.reach) {
            Ok(queued) => {
                coop.made_progress();
                return Poll::Ready(Some(Self::lease(&self.shared, queued)));
            }
            Err(core) => core,
        };
        if core.is_over() {
            drop(core);
            coop.made_progress();
            return Poll::Ready(None);
        }
        let known = core.parked.as_ref().is_some_and(|parked| parked.will_wake(cx.waker()));
        let old = if known { None } else { core.parked.replace(cx.waker().clone()) };
        drop(core);
        // A waker's drop may run foreign code: not under the lock.
        drop(old);
        Poll::Pending
    }

    fn lease(shared: &Arc<Shared<T>>, queued: Queued<T>) -> Leased<T> {
        let Queued { item, need, since, lease } = queued;
        let account: Arc<dyn Account> = shared.clone();
        Leased::new(item, Charge::new(account, need, since, lease))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        drop(self.shut(Door::Gone));
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

/// Resolves to the next item; made by [`Receiver::recv`], which says what happens when it is cancelled and when the channel is
/// full.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'r, T> {
    receiver: &'r mut Receiver<T>,
}

/// **When full:** it makes room. **When cancelled:** nothing was taken.
impl<T: Send + 'static> Future for Recv<'_, T> {
    type Output = Option<Leased<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll_recv(cx)
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    use super::super::Config;
    use super::BESIDE;

    /// One after the other: most are taken beside the outlet, and what was freed is in the ledger soon all the same.
    #[tokio::test(start_paused = true)]
    async fn one_by_one_is_taken_beside_the_outlet_and_folded_in_before_long() {
        let (sender, mut receiver) = Config::new(1 << 20).max_items(1000).build().unwrap();
        let (mut beside, mut most) = (0, 0);
        for round in 0..500_u64 {
            assert!(sender.offer(round).unwrap().is_accepted());
            let before = receiver.reach.beside;
            assert_eq!(*receiver.try_recv().unwrap(), round);
            beside += u64::from(receiver.reach.beside > before);
            most = most.max(receiver.shared.lock().ledger.charged().items);
        }
        assert!(beside > 400, "{beside} of 500");
        assert!(most <= BESIDE as usize + 2, "{most} are charged, and one at a time was there");
        let seen = sender.snapshot();
        assert_eq!(
            (seen.tally.accepted, seen.tally.delivered, seen.items, seen.leased_items),
            (500, 500, 0, 0)
        );
        // Two in the queue go the usual way, and come in their order.
        for round in 0..40_u64 {
            assert!(
                sender.offer(2 * round).unwrap().is_accepted()
                    && sender.offer(2 * round + 1).unwrap().is_accepted()
            );
            assert_eq!(
                (*receiver.try_recv().unwrap(), *receiver.try_recv().unwrap()),
                (2 * round, 2 * round + 1)
            );
        }
        assert!(receiver.try_recv().is_err());
    }
}
