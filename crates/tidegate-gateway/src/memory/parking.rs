//! Connections that are accepted but not let in: they wait, unread, until there is a floor for them.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, MutexGuard, PoisonError};

use serde::Serialize;
use tidegate::budget::Lease;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::party::{Held, Party};
use super::plan::FLOOR_SHARE;
use super::pool::Memory;
use super::share::{Law, Now, Shares, Source};
use super::{Account, Tier};

/// A parked connection, as the parking sees it.
#[derive(Debug)]
pub(super) struct Waits {
    peer: SocketAddr,
    tell: oneshot::Sender<Arc<Account>>,
}

/// What became of a connection that was accepted.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It is let in.
    In(Arc<Account>),
    /// It waits.
    Parked(Parked),
    /// There is no place: it is told so, and closed.
    Full,
}

/// A place in the parking. Dropped, it is free again.
#[derive(Debug)]
#[must_use = "dropped, it leaves its place"]
pub(crate) struct Parked {
    memory: Memory,
    party: Party,
    turn: u64,
    told: oneshot::Receiver<Arc<Account>>,
}

/// What the connections of one client address hold together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PartyFacts {
    /// The address; of IPv6 its network of 64 bits.
    pub address: String,
    /// Bytes charged to its connections.
    pub bytes: u64,
    /// How many of them there are.
    pub connections: u64,
    /// Those that are accepted and wait for memory.
    pub parked: usize,
}

impl Memory {
    /// May another connection be accepted? False while the parking is full of those that nobody displaces.
    pub(crate) fn has_place(&self) -> bool {
        self.shares().has_place()
    }

    /// Is there a party that is parked although it would stay within its share?
    pub(super) fn is_any_owed(&self) -> bool {
        self.0.owed.load(Relaxed)
    }

    /// Are there some that wait?
    pub(crate) fn is_anybody_parked(&self) -> bool {
        self.0.parked.load(Relaxed) > 0
    }

    /// A connection was accepted. `proxy`: it stands for many clients, so it has no share of its own. `last`: there is no permit
    /// for another one, so somebody who is parked has to go.
    pub(crate) fn arrive(&self, peer: SocketAddr, proxy: bool, last: bool) -> Arrival {
        let party = Party::new(peer.ip(), proxy);
        let (tell, told) = oneshot::channel();
        let turn = {
            let mut shares = self.shares();
            let turn = shares.arrive(party, Waits { peer, tell });
            self.count(&shares);
            turn
        };
        let mut parked = Parked { memory: self.clone(), party, turn, told };
        self.let_in();
        let displaced = {
            let mut shares = self.shares();
            let displaced = shares.overflow(last);
            self.count(&shares);
            displaced
        };
        if displaced.is_some() {
            self.0.displaced.fetch_add(1, Relaxed);
        }
        // Its task hears that it goes when this is dropped.
        drop(displaced);
        match parked.told.try_recv() {
            Ok(account) => Arrival::In(account),
            Err(TryRecvError::Empty) => Arrival::Parked(parked),
            Err(TryRecvError::Closed) => Arrival::Full,
        }
    }

    /// Lets in as many as may have a floor now, in their order. Those who could give something back are asked to if there
    /// are others.
    pub(crate) fn let_in(&self) {
        let floor = self.plan().floor();
        loop {
            let mut shares = self.shares();
            let now = self.now();
            let Some((party, source)) = shares.next(&now) else {
                self.0.owed.store(shares.is_any_owed(&now), Relaxed);
                break;
            };
            let lease = match source {
                Source::Common => self.0.budget.try_lease(floor).ok(),
                Source::Kept => self.0.newcomers.take(floor),
            };
            // Somebody else was quicker.
            let Some(lease) = lease else { break };
            let Some((waits, held)) = shares.let_in(&party, lease.bytes(), source) else { break };
            self.count(&shares);
            drop(shares);
            let account = Account::open(self, lease, source, waits.peer, (party, held));
            // If it has left meanwhile, its floor is back.
            drop(waits.tell.send(account));
        }
        if self.is_anybody_parked() {
            self.ask_back();
        }
    }

    /// Sends everybody away who is parked.
    pub(crate) fn empty_parking(&self) {
        let all = {
            let mut shares = self.shares();
            let all = shares.clear();
            self.count(&shares);
            all
        };
        drop(all);
    }

    /// The client addresses that hold most, at most `most` of them.
    #[must_use]
    pub fn parties(&self, most: usize) -> Vec<PartyFacts> {
        let mut standings = self.shares().standings();
        standings.sort_unstable_by_key(|standing| std::cmp::Reverse((standing.bytes, standing.parked)));
        standings.truncate(most);
        (standings.into_iter())
            .map(|standing| PartyFacts {
                address: standing.party.to_string(),
                bytes: standing.bytes,
                connections: standing.connections,
                parked: standing.parked,
            })
            .collect()
    }

    /// A connection's account was closed.
    pub(super) fn left(&self, party: &Party) {
        let mut shares = self.shares();
        shares.leave(party);
        self.count(&shares);
    }

    /// Would this party stay within its share with so many bytes more?
    pub(super) fn is_within_share(&self, party: &Party, held: &Held, bytes: u64) -> bool {
        self.law().is_within(party, held, bytes)
    }

    /// So many bytes of those that are kept for parties that hold little.
    pub(super) fn of_newcomers(&self, party: &Party, held: &Held, bytes: u64) -> Option<Lease> {
        let may = self.law().may_have_kept(party, held, bytes, self.0.newcomers.left());
        if may { self.0.newcomers.take(bytes) } else { None }
    }

    /// What was taken of them comes back.
    pub(super) fn newcomer_left(&self, bytes: Lease) {
        self.0.newcomers.put(bytes);
    }

    fn law(&self) -> Law {
        Law {
            floor: self.plan().floor(),
            whole: self.plan().tier(FLOOR_SHARE),
            parties: self.0.parties.load(Relaxed),
        }
    }

    fn now(&self) -> Now {
        let floor = self.plan().floor();
        Now {
            floor,
            whole: self.plan().tier(FLOOR_SHARE),
            half_free: !self.would_half_be_used(floor),
            fits: self.fits(floor, Tier::Floor),
            kept: self.0.newcomers.left(),
        }
    }

    fn count(&self, shares: &Shares<Waits>) {
        self.0.parked.store(shares.parked() as u64, Relaxed);
        if shares.parked() == 0 {
            self.0.owed.store(false, Relaxed);
        }
        self.0.parties.store(shares.parties() as u64, Relaxed);
    }

    // Nothing that can panic is done under this lock, nobody is woken, and no lease ends under it.
    fn shares(&self) -> MutexGuard<'_, Shares<Waits>> {
        self.0.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parked {
    /// Its account, when it is let in; `None` if it has lost its place. **When cancelled:** it is still parked.
    pub(crate) async fn let_in(&mut self) -> Option<Arc<Account>> {
        (&mut self.told).await.ok()
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        let gone = {
            let mut shares = self.memory.shares();
            let gone = shares.give_up(&self.party, self.turn);
            self.memory.count(&shares);
            gone
        };
        drop(gone);
    }
}

#[cfg(test)]
#[path = "parking_tests.rs"]
mod tests;
