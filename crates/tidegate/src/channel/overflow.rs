//! There is no room, and nobody is to wait: what policy says.

use std::sync::Arc;

use crate::sync::MutexGuard;
use crate::wakes::Wakes;

use super::due::Spent;
use super::ledger::{Door, Need};
use super::sender::Sender;
use super::sent::{Closed, Full, Sent, Why};
use super::shared::{Core, Policy};

/// How an item came here.
pub(super) struct Came {
    /// What the budget said, if it is the budget that has no room.
    pub(super) spent: Option<Spent>,
    /// From another channel, which wants to hear whether it is in.
    pub(super) rerouted: bool,
}

impl<T> Sender<T> {
    #[cold]
    pub(super) fn overflow(
        &self,
        mut core: MutexGuard<'_, Core<T>>,
        item: T,
        need: u64,
        came: Came,
    ) -> Result<Sent<T>, Closed<T>> {
        if core.ledger.door != Door::Open {
            core.ledger.tally.returned += 1;
            return Err(Closed(item));
        }
        if self.shared().is_oversize(need) {
            return Ok(Sent::Refused(core.refuse(item, need, Why::Oversize)));
        }
        match &core.overflow {
            Policy::DropNewest if !came.rerouted => {
                core.ledger.tally.displaced_newest += 1;
                Ok(Sent::Displaced(vec![item]))
            }
            Policy::DropOldest => Ok(self.drop_oldest(core, item, need)),
            Policy::Reroute(to) => {
                let to = Arc::clone(to);
                drop(core);
                self.reroute(&to, item, need)
            }
            Policy::Wait | Policy::Refuse | Policy::DropNewest => Ok(Sent::Refused(match came.spent {
                Some(spent) => core.refuse_spent(item, need, &spent),
                None => core.refuse(item, need, Why::NoRoom),
            })),
        }
    }

    fn drop_oldest(&self, mut core: MutexGuard<'_, Core<T>>, item: T, need: u64) -> Sent<T> {
        let lease = self.shared().lease(need);
        let mut outlet = self.shared().fold(&mut core);
        let displaced = core.displace(&mut outlet, need, lease.is_err());
        drop(outlet);
        let Some(mut displaced) = displaced else {
            return Sent::Refused(match lease {
                Err(spent) => core.refuse_spent(item, need, &spent),
                Ok(_) => core.refuse(item, need, Why::NoRoom),
            });
        };
        let mut rest = None;
        let lease = lease.unwrap_or_else(|_| {
            // What the displaced held in the budget serves the newcomer, so that nobody can come between.
            for lease in displaced.iter_mut().filter_map(|queued| queued.lease.take()) {
                match &mut rest {
                    None => rest = Some(lease),
                    // All are of the channel's one budget.
                    Some(rest) => _ = rest.merge(*lease),
                }
            }
            rest.as_mut().and_then(|rest| rest.split(need)).map(Box::new)
        });
        let mut wakes = Wakes::default();
        wakes.extend(core.put(item, Need { bytes: need, tag: self.tag() }, lease));
        core.ledger.grant(&mut wakes);
        drop(core);
        drop(rest);
        wakes.run();
        Sent::Displaced(displaced.into_iter().map(|queued| queued.item).collect())
    }

    fn reroute(&self, to: &Self, item: T, need: u64) -> Result<Sent<T>, Closed<T>> {
        let there = to.shared().charge_of(need.saturating_sub(self.shared().per_item));
        let offered = match to.try_put(item, there) {
            Ok(()) => Ok(Sent::Accepted),
            Err((core, item, spent)) => to.overflow(core, item, there, Came { spent, rerouted: true }),
        };
        let mut core = self.shared().lock();
        let back = match offered {
            Ok(Sent::Accepted | Sent::Rerouted) => {
                core.ledger.tally.rerouted += 1;
                return Ok(Sent::Rerouted);
            }
            // It is in; older ones of the other channel had to leave.
            Ok(Sent::Displaced(older)) => {
                core.ledger.tally.rerouted += 1;
                return Ok(Sent::Displaced(older));
            }
            Ok(Sent::Refused(Full { item, .. })) | Err(Closed(item)) => item,
        };
        Ok(Sent::Refused(core.refuse(back, need, Why::NoRoom)))
    }
}
