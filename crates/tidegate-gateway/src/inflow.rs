//! [`Inflow`]: how much the kernel may receive of a client's connection ahead of who reads, and the memory for more than
//! every connection has.
//!
//! A connection begins with [`RECEIVED`], which is charged with its request. What reads a body or a tunnel quickly deserves
//! more: twice as much each time that half of the window was read within half a second, up to eight times what the kernel sees
//! read in a round trip, which is how windows grow as fast as senders begin (RFC 5681 §3.1). It is charged first, and what has come of it cannot be taken back: when memory is short
//! the kernel takes no more than at the begin, or hardly, and the rest is charged until it was read. Where nothing flows it
//! stays, so that the next body finds the window that its client was told; until memory is short.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::memory::{Account, RECEIVED, Tier};
use crate::receive::{self, Limits};
use crate::sight;

/// Read within this, half of a window asks for more: so it is with round trips of up to half a second.
const QUICK: Duration = Duration::from_millis(500);
/// A size of so many times what is read in a round trip is enough: half of it is the window, and a sender that begins doubles
/// what it sends with each. More would only lie there, and be cold when it is read.
const ROUNDS: usize = 8;
/// Asked again after so many bytes at most where there was no memory.
const SELDOM: usize = 1024 * 1024;

/// A connection's [`Inflow`], if it has one. Whoever does something with it takes it out meanwhile, so that nothing is done
/// under a lock; that is its connection's task, and nobody else.
#[derive(Debug)]
pub(crate) struct Inflows {
    slot: Mutex<Option<Box<Inflow>>>,
    /// Does it heed what is read? Not between bodies, with what it began with; so most requests do not lock for it.
    heeds: AtomicBool,
    /// Bodies that have ended and it has not heard of. Who ends one may be another task than the connection's.
    ended: AtomicUsize,
}

/// The receive buffer of one connection. Dropped with it, it gives back what is charged.
#[derive(Debug)]
pub(crate) struct Inflow {
    account: Arc<Account>,
    limits: Limits,
    /// The most that it may become.
    largest: usize,
    size: usize,
    /// What is charged beyond [`RECEIVED`].
    charged: u64,
    /// Bytes to be read until no more than [`RECEIVED`] can be left of what came before it shrank.
    old: usize,
    /// Bodies and tunnels that are read: what was read of it since `since`, and after how much it is looked again.
    flows: usize,
    read: usize,
    since: Instant,
    mark: usize,
    asked: Asked,
    /// What is read of it in a round trip, if the kernel tells.
    round: fn(&TcpStream) -> Option<usize>,
}

/// Resolves when memory is short.
struct Asked(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Asked").field(&self.0.is_some()).finish()
    }
}

/// How much more there may be.
enum Step {
    /// So large, as it is said.
    To(usize),
    /// As large as the kernel finds right, up to its most.
    Free,
    None,
}

impl Inflows {
    pub(crate) fn new(inflow: Option<Inflow>) -> Self {
        Self {
            slot: Mutex::new(inflow.map(Box::new)),
            heeds: AtomicBool::new(false),
            ended: AtomicUsize::new(0),
        }
    }

    /// Is there one that heeds what is read, or that there is nothing to be read?
    pub(crate) fn heeds(&self) -> bool {
        self.heeds.load(Relaxed)
    }

    /// Tells it something, if there is one.
    pub(crate) fn tell(&self, something: impl FnOnce(&mut Inflow)) {
        if let Some(mut inflow) = self.take() {
            inflow.ends(self.ended.swap(0, Relaxed));
            something(&mut inflow);
            self.heeds.store(inflow.heeds(), Relaxed);
            self.slot().replace(inflow);
        }
    }

    /// A body or tunnel that began is not read any more. From any task; heard when it is told something.
    pub(crate) fn body_ends(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    /// There is none any more.
    pub(crate) fn take(&self) -> Option<Box<Inflow>> {
        self.slot().take()
    }

    // Nothing is done under this lock but that one pointer moves.
    fn slot(&self) -> MutexGuard<'_, Option<Box<Inflow>>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inflow {
    /// From now on the kernel takes so much of this connection and no more. `None` where it cannot be told.
    pub(crate) fn new(tcp: &TcpStream, account: &Arc<Account>) -> Option<Self> {
        let limits = *receive::limits()?;
        receive::set(tcp, RECEIVED as usize).ok()?;
        let largest = usize::try_from(account.memory().plan().largest_received()).unwrap_or(usize::MAX);
        Some(Self {
            account: Arc::clone(account),
            limits,
            largest: largest.min(limits.most),
            size: RECEIVED as usize,
            charged: 0,
            old: 0,
            flows: 0,
            read: 0,
            since: Instant::now(),
            mark: RECEIVED as usize / 4,
            asked: Asked(None),
            round: |tcp| sight::look(tcp).map(|sight| sight.round),
        })
    }

    /// Other credit bounds what is sent here, and everything is read at once: the kernel may take what it does of itself.
    pub(crate) fn unbound(self, tcp: &TcpStream) {
        let first = self.limits.first;
        // Each is only an opinion about memory that is not used.
        let _ = receive::set(tcp, first).and_then(|()| receive::open_window(tcp, first));
        let _ = receive::unlock(tcp);
    }

    /// Is there anything that what is read might change?
    fn heeds(&self) -> bool {
        self.flows > 0 || self.old > 0 || self.charged > 0
    }

    /// From now on what is read is of a body or a tunnel. If that is large, it has at once what the system would give every
    /// connection, where there is memory: so much a client can send that waits in the queue, and be seen to leave.
    pub(crate) fn begins(&mut self, tcp: &TcpStream, large: bool) {
        (self.flows, self.read, self.since) = (self.flows + 1, 0, Instant::now());
        let first = self.limits.first.min(self.limits.settable).min(self.largest);
        if large && first > self.size {
            self.become_sized(tcp, first, false);
        }
        self.mark = self.size / 4;
    }

    /// From now on so many are not.
    fn ends(&mut self, bodies: usize) {
        self.flows = self.flows.saturating_sub(bodies);
    }

    /// So many bytes were read.
    pub(crate) fn read(&mut self, tcp: &TcpStream, bytes: usize, cx: &mut Context<'_>) {
        self.waned(bytes);
        if self.flows == 0 {
            return;
        }
        self.read = self.read.saturating_add(bytes);
        if self.read < self.mark {
            return;
        }
        let now = Instant::now();
        let quick = now.saturating_duration_since(self.since) <= QUICK;
        (self.read, self.since) = (0, now);
        if self.asked.poll(cx) {
            self.shrink(tcp);
        } else if quick {
            self.grow(tcp);
        }
    }

    /// There is nothing to be read.
    pub(crate) fn idle(&mut self, tcp: &TcpStream, cx: &mut Context<'_>) {
        if self.old > 0 {
            self.waned(usize::MAX);
        }
        if self.charged > 0 && self.asked.poll(cx) {
            self.shrink(tcp);
            self.waned(usize::MAX);
        }
    }

    fn grow(&mut self, tcp: &TcpStream) {
        if (self.round)(tcp).is_some_and(|round| self.size >= round.saturating_mul(ROUNDS)) {
            return;
        }
        let became = match self.step() {
            Step::To(size) => self.become_sized(tcp, size, false),
            Step::Free => self.become_sized(tcp, self.limits.most, true),
            Step::None => return,
        };
        self.mark = if became { self.size / 4 } else { self.mark.saturating_mul(2).min(SELDOM) };
    }

    /// Becomes larger, if there is memory: by a size that is said, or freely.
    fn become_sized(&mut self, tcp: &TcpStream, size: usize, free: bool) -> bool {
        let more = (size - self.size) as u64;
        if self.old > 0 || !self.account.take(more, Tier::Grow) {
            return false;
        }
        self.charged += more;
        self.size = size;
        self.asked.listen(&self.account);
        let told = if free { receive::unlock(tcp) } else { receive::set(tcp, size) };
        // Where the kernel does not do it, there is only less than what is charged.
        let _ = told.and_then(|()| receive::open_window(tcp, size));
        true
    }

    fn step(&self) -> Step {
        let Limits { settable, most, .. } = self.limits;
        let next = self.size.saturating_mul(2).min(self.largest);
        if self.size >= next {
            Step::None
        } else if next <= settable {
            Step::To(next)
        } else if most <= self.largest && most > settable {
            Step::Free
        } else if self.size < settable {
            Step::To(settable)
        } else {
            Step::None
        }
    }

    /// The kernel takes hardly more than at the begin. What came before stays, and stays charged.
    fn shrink(&mut self, tcp: &TcpStream) {
        let least = least(sight::look(tcp).map_or(0, |sight| sight.segment));
        // If it cannot be told, all of it stays charged, as it would if nobody had asked.
        if self.size > least && receive::set(tcp, least).is_ok() {
            self.old = self.size;
            self.size = least;
            self.mark = least / 4;
        }
    }

    /// Of what came before it shrank so much more was read.
    fn waned(&mut self, bytes: usize) {
        if self.old > 0 {
            self.old = self.old.saturating_sub(bytes);
            if self.old == 0 {
                let stays = self.size as u64 - RECEIVED;
                self.account.give(self.charged - stays);
                self.charged = stays;
                self.asked = Asked(None);
            }
        }
    }
}

/// The least size of a connection that had more, where its peer has segments of so many bytes. One that does not fit into the
/// window waits for a timer, each time: so it would be on one machine (65,483 bytes), whose sender has seen a window of two.
fn least(segment: usize) -> usize {
    (4 * segment).next_multiple_of(4096).max(RECEIVED as usize)
}

impl Drop for Inflow {
    fn drop(&mut self) {
        self.account.give(self.charged);
    }
}

impl Asked {
    /// From now on, if not before. Whoever polls hears of it.
    fn listen(&mut self, account: &Account) {
        if self.0.is_none() {
            let mut asks = account.memory().asks();
            self.0 = Some(Box::pin(async move {
                // An error means that the budget is gone, with everybody who could be short of it.
                let _ = asks.changed().await;
            }));
        }
    }

    /// Was it? Not said twice.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let asked = self.0.as_mut().is_some_and(|asked| asked.as_mut().poll(cx).is_ready());
        if asked {
            self.0 = None;
        }
        asked
    }
}

#[cfg(test)]
#[path = "inflow_tests.rs"]
mod tests;
