//! [`Accept`]: making and asking.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tidegate_control::wait::DrainRate;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::limiter::{Limiter, QueueConfig};
use crate::readiness::{AskReady, Readiness, WaitEstimate};
use crate::sync::{Mutex, lock};

use super::bound::{Bound, Bounds};
use super::kernel::{Backlog, Spare};
use super::listen::Listen;
use super::refusal::{RefusalLane, WhenFull};

/// Connections of the health lane at a time: the probes of an orchestrator and some balancers, and a person with curl.
const HEALTH_CONNECTIONS: u64 = 16;

/// Accepts connections as far as they can be served: a permit first, then `accept()`.
///
/// The permit is taken when there is a connection in the kernel's accept queue, and before it is taken out of there: an
/// idle listener holds nothing, and a connection that nobody has room for is not in the process. The bound is the
/// least of three, and [`bound`](Self::bound) says which: the limiter given, the limiter it is
/// [linked to](Self::linked_to), and the process's file descriptors (`RLIMIT_NOFILE`, less an eighth).
///
/// **When full**, newcomers meet what [`when_full`](Self::when_full) says. The limiter's own queue is not used: the
/// accept queue is the queue, and [`backlog`](Self::backlog) shows it. **When file descriptors run out**, it waits for a
/// connection to end (looking every 50 ms), and refuses meanwhile, where it is to refuse, by a descriptor kept for that.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use tidegate::gate::accept::{Accept, BoundBy, WhenFull};
/// use tidegate::{Limiter, QueueConfig};
/// use tokio::net::{TcpListener, TcpStream};
///
/// let pool = Limiter::builder().name("pool").limit(50).queue(QueueConfig::bounded(50)).build()?;
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let accept = Accept::new(listener, Limiter::fixed(10_000))?.linked_to(&pool).when_full(WhenFull::Answer503);
/// assert_eq!((accept.bound().connections, accept.bound().by), (100, BoundBy::Linked));
///
/// let _client = TcpStream::connect(accept.local_addr()?).await?;
/// let connection = accept.accept().await?;
/// assert_eq!(accept.connections().stats().in_flight, 1);
/// drop(connection);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct Accept<L: Listen = TcpListener> {
    pub(super) main: Line<L>,
    pub(super) health: Option<Line<L>>,
    pub(super) when_full: WhenFull,
    pub(super) refusals: RefusalLane,
    /// The health lane had the last turn.
    pub(super) health_was_last: AtomicBool,
    pub(super) counts: Counts,
}

/// One listener and what bounds its connections.
#[derive(Debug)]
pub(super) struct Line<L: Listen> {
    pub(super) socket: AsyncFd<L::Socket>,
    pub(super) bounds: Bounds,
    pub(super) spare: Spare,
    /// Rings when one of its connections has ended.
    pub(super) bell: Arc<Notify>,
    pub(super) pace: Pace,
}

impl<L: Listen> Line<L> {
    fn new(listener: L, bounds: Bounds) -> io::Result<Self> {
        let socket = listener.into_socket()?;
        // SAFETY: `Listen` is sealed and its sockets are the standard library's listeners: each owns its descriptor, which
        // is open and the same until the listener is dropped; and nothing takes it out of the `AsyncFd`.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        let spare = Spare::default();
        spare.refill(socket.get_ref());
        Ok(Self { socket, bounds, spare, bell: Arc::new(Notify::new()), pace: Pace::new() })
    }
}

/// Making one.
impl<L: Listen> Accept<L> {
    /// Accepts from `listener`, as many connections at a time as `connections` has units. Several listeners may share a
    /// limiter. Choose the length of the accept queue where the listener is made: the connections that are served
    /// within the longest wait worth having.
    ///
    /// # Errors
    /// If the listener cannot be registered with the runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime with IO enabled.
    pub fn new(listener: L, connections: Limiter) -> io::Result<Self> {
        Ok(Self {
            main: Line::new(listener, Bounds::new(connections, true))?,
            health: None,
            when_full: WhenFull::default(),
            refusals: RefusalLane::new(),
            health_was_last: AtomicBool::new(false),
            counts: Counts::default(),
        })
    }

    /// What becomes of newcomers when full; [`WhenFull::Pause`] by default.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Bounds the connections by what they will ask of `limiter`: its limit, and the places of its queue that are served
    /// within its longest wait; and lets none in while it would refuse what one asks. So the pressure passes from a
    /// pool to the socket, and ten thousand connections for a pool of fifty cannot be written. Its drain ends the
    /// accepting too. The last one given counts.
    #[must_use]
    pub fn linked_to(mut self, limiter: &Limiter) -> Self {
        self.main.bounds.linked = Some(limiter.clone());
        self
    }

    /// Takes connections of `listener` as well, marked with [`Lane::Health`](super::Lane::Health), 16 at a time: they
    /// have places of their own, so that a probe is heard while everything is full, file descriptors too. Of
    /// two that wait, one in each lane, each lane has its turn. When full the lane pauses: give probes a short time.
    ///
    /// # Errors
    /// If the listener cannot be registered with the runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime with IO enabled.
    pub fn health_lane(mut self, listener: L) -> io::Result<Self> {
        let places = Limiter::builder().name("health").limit(HEALTH_CONNECTIONS).queue(QueueConfig::none());
        let places = places.build().unwrap_or_else(|_| Limiter::fixed(HEALTH_CONNECTIONS));
        self.health = Some(Line::new(listener, Bounds::new(places, false))?);
        Ok(self)
    }
}

/// Asking. Nothing here waits or reserves.
impl<L: Listen> Accept<L> {
    /// The address, with the port that was chosen if 0 was asked for.
    ///
    /// # Errors
    /// What getsockname(2) says.
    pub fn local_addr(&self) -> io::Result<L::Address> {
        L::address(self.main.socket.get_ref())
    }

    /// The address of the health lane, if there is one.
    ///
    /// # Errors
    /// What getsockname(2) says.
    pub fn health_addr(&self) -> io::Result<Option<L::Address>> {
        self.health.as_ref().map(|health| L::address(health.socket.get_ref())).transpose()
    }

    /// The limiter of the connections.
    #[must_use]
    pub fn connections(&self) -> &Limiter {
        &self.main.bounds.connections
    }

    /// How many connections there may be now, and what says so.
    #[must_use]
    pub fn bound(&self) -> Bound {
        self.main.bounds.bound()
    }

    /// The kernel's accept queue: who waits to be accepted.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) for a unix socket and outside Linux; else what getsockopt(2) says.
    pub fn backlog(&self) -> io::Result<Backlog> {
        L::backlog(self.main.socket.get_ref())
    }

    /// The counts since this was made.
    #[must_use]
    pub fn stats(&self) -> AcceptStats {
        self.counts.read()
    }

    /// What would happen to a connection that came now: with [`WhenFull::Pause`] it would wait behind the accept
    /// queue, as long as that has room; else it would be refused.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let bounds = &self.main.bounds;
        if bounds.is_draining() {
            return Readiness::Draining { retry_after: None };
        }
        let free = bounds.free();
        if bounds.full().is_none() && free > 0 {
            return Readiness::Ready { available: free };
        }
        if !matches!(self.when_full, WhenFull::Pause) {
            let wait = bounds.connections.predicted_wait();
            let own = (wait.samples > 0).then_some(wait.expected);
            let linked = bounds.linked.as_ref().and_then(|linked| linked.readiness().retry_after());
            return Readiness::Saturated { retry_after: own.max(linked) };
        }
        let backlog = self.backlog().ok();
        let ahead = backlog.map_or(0, |backlog| backlog.waiting);
        let wait = self.main.pace.predict(ahead.saturating_add(1));
        if backlog.is_some_and(|backlog| backlog.is_full()) {
            return Readiness::Saturated { retry_after: (wait.samples > 0).then_some(wait.expected) };
        }
        Readiness::Busy { ahead, wait }
    }
}

impl<L: Listen> AskReady for Accept<L> {
    fn readiness(&self) -> Readiness {
        Self::readiness(self)
    }
}

impl<L: Listen> fmt::Debug for Accept<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept")
            .field("bound", &self.bound())
            .field("connections", self.connections())
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}

/// How fast connections are let in while others wait.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Clock,
    drain: Mutex<DrainRate>,
}

impl Pace {
    fn new() -> Self {
        Self { clock: Clock::start(), drain: Mutex::new(DrainRate::default()) }
    }

    /// Somebody waits.
    pub(super) fn bound(&self) {
        lock(&self.drain).bound(self.clock.now());
    }

    /// Nobody waits.
    pub(super) fn unbound(&self) {
        lock(&self.drain).unbound();
    }

    /// One was let in.
    pub(super) fn let_in(&self) {
        lock(&self.drain).dispatched(self.clock.now(), 1);
    }

    fn predict(&self, connections: u64) -> WaitEstimate {
        let drain = lock(&self.drain);
        drain.predict(connections, None).map_or_else(WaitEstimate::default, |plain| WaitEstimate {
            expected: Duration::from_nanos(plain.p50),
            upper: Duration::from_nanos(plain.p90),
            samples: drain.windows(),
        })
    }
}

/// What became of connections since the [`Accept`] was made. Counts only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptStats {
    /// Handed out, the health lane's included.
    pub accepted: u64,
    /// Of these, the health lane's.
    pub health: u64,
    /// Answered or reset, as [`WhenFull`] says.
    pub refused: u64,
    /// Reset by their clients while accepting paused; nobody was bothered with them.
    pub gone: u64,
    /// Times that file descriptors or memory ran out.
    pub shortages: u64,
}

/// The counts, as they are kept.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) accepted: AtomicU64,
    pub(super) health: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) gone: AtomicU64,
    pub(super) shortages: AtomicU64,
}

impl Counts {
    fn read(&self) -> AcceptStats {
        AcceptStats {
            accepted: self.accepted.load(Relaxed),
            health: self.health.load(Relaxed),
            refused: self.refused.load(Relaxed),
            gone: self.gone.load(Relaxed),
            shortages: self.shortages.load(Relaxed),
        }
    }
}

/// Counts one more. Only statistics: nothing is decided by it.
pub(super) fn count(of: &AtomicU64) {
    of.fetch_add(1, Relaxed);
}
