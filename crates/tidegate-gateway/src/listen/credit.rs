//! [`Credit`]: what one HTTP/2 connection may be sent and may begin, as far as there is memory.
//!
//! It does what [`Window`] says, and charges it before it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Buf;
use h2::RecvStream;
use h2::server::Connection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::body::{Flow, Received, Unread};
use crate::memory::{Account, Charge, Tier};

use super::frames::Seen;
use super::room::Room;
use super::sizes::Sizes;
use super::window::{State, Window};

/// The credit of a connection whose memory is counted.
#[derive(Debug)]
pub(super) struct Credit {
    account: Arc<Account>,
    window: Window,
    /// What is charged for the window.
    charged: u64,
    flow: Arc<Flow>,
    /// What was consumed when it was looked at last.
    total: u64,
    seen: Arc<Seen>,
    acks: u32,
    room: Room,
    /// The one request that every connection has memory for.
    own: Arc<AtomicBool>,
    asleep: bool,
}

/// The memory of one stream, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    own: Option<Arc<AtomicBool>>,
    _charge: Option<Charge>,
}

impl Credit {
    pub(super) fn new(account: Arc<Account>, seen: Arc<Seen>, room: Room) -> Self {
        let memory = account.memory();
        let window = Window::new(Instant::now(), memory.plan().largest_window());
        let flow = Arc::<Flow>::default();
        flow.take(|_| window.mark(1));
        Self {
            charged: window.cost(),
            window,
            flow,
            total: 0,
            seen,
            acks: 0,
            room,
            own: Arc::new(AtomicBool::new(true)),
            asleep: false,
            account,
        }
    }

    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// A request's body, counted if there is more of it.
    pub(super) fn body(&self, stream: RecvStream) -> Received {
        if stream.is_end_stream() { Received::new(stream) } else { Received::counted(stream, &self.flow) }
    }

    /// Packs what bodies hold that nobody reads.
    pub(super) fn pack(&self) {
        self.flow.pack();
    }

    /// What its bodies have consumed, and where it hears that memory is short.
    pub(super) fn ears(&self) -> (Arc<Flow>, watch::Receiver<u64>) {
        (Arc::clone(&self.flow), self.account.memory().asks())
    }

    /// Nothing is read now, for want of memory.
    pub(super) fn reads_nothing(&mut self) {
        self.window.reads_nothing(Instant::now());
    }

    /// When the client must have acknowledged the last settings.
    pub(super) fn due(&self) -> Option<Instant> {
        self.window.due()
    }

    /// Should it have been by now? An acknowledgement that has come, and is looked at when all streams before it are accepted,
    /// is one.
    pub(super) fn overdue(&self) -> bool {
        self.seen.acks() == self.acks && self.due().is_some_and(|due| due <= Instant::now())
    }

    /// Memory for one more stream, of which the head takes `more` beyond what is usual; `None` if it must wait.
    pub(super) fn place(&mut self, more: u64, uploads: bool) -> Option<Place> {
        if self.asleep {
            if !self.account.take(self.account.memory().plan().dreams2(), Tier::First) {
                return None;
            }
            self.asleep = false;
        }
        if uploads && self.window.state() == State::Quenched {
            if !self.account.take(self.window.cost_awake(), Tier::Floor) {
                return None;
            }
            self.charged = self.window.cost_awake();
        }
        let place = if self.own.swap(false, Ordering::AcqRel) {
            let own = Some(Arc::clone(&self.own));
            let charge = if more > 0 { self.account.charge(more, Tier::First) } else { None };
            // Dropped, it gives the place back.
            let place = Place { own, _charge: charge };
            (more == 0 || place._charge.is_some()).then_some(place)
        } else {
            self.account.one_more(more).map(|charge| Place { own: None, _charge: Some(charge) })
        };
        if uploads && place.is_some() {
            self.window.wake();
        }
        // Charged for an upload that has to wait after all: it goes back.
        self.settle();
        place
    }

    /// Gives back what is charged beyond what the window costs.
    fn settle(&mut self) {
        let cost = self.window.cost();
        self.account.give(self.charged.saturating_sub(cost));
        self.charged = self.charged.min(cost);
    }

    /// Does what the window says after news. `streams` are those that are open or wait.
    pub(super) fn hear<T, B>(&mut self, news: News, streams: usize, connection: &mut Connection<T, B>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
        B: Buf,
    {
        let before = self.window.target();
        match news {
            News::Consumed => self.consumed(),
            News::Asked => self.give_back(streams),
        }
        self.settle();
        if self.window.target() != before {
            connection.set_target_window_size(self.window.target());
        }
        self.say(connection);
    }

    /// Every stream that has come was accepted: sees what the client has acknowledged, and says what is due. True if
    /// something was said, so that the connection should be polled.
    pub(super) fn caught_up<T, B>(&mut self, connection: &mut Connection<T, B>) -> bool
    where
        T: AsyncRead + AsyncWrite + Unpin,
        B: Buf,
    {
        let acks = self.seen.acks();
        if acks != self.acks {
            self.acks = acks;
            self.window.acknowledged(self.flow.bodies() > 0);
            self.flow.lowered();
            self.settle();
        }
        self.say(connection)
    }

    fn say<T, B>(&mut self, connection: &mut Connection<T, B>) -> bool
    where
        T: AsyncRead + AsyncWrite + Unpin,
        B: Buf,
    {
        let Some(stream) = self.window.say(Instant::now()) else { return false };
        // An error would mean that one is on its way, which the window knows.
        if let Err(error) = connection.set_initial_window_size(stream) {
            tracing::debug!(%error, "settings cannot be said now");
        }
        true
    }

    fn consumed(&mut self) {
        let (window, flow) = (&mut self.window, &self.flow);
        let mut due = None;
        flow.take(|taken| {
            // One alone is in nobody's way.
            let unread = || if flow.bodies() > 1 { flow.unread() } else { Unread::default() };
            due = window.consumed(taken, Instant::now(), unread);
            window.mark(taken.readers)
        });
        if due.is_some_and(|sizes| !self.grow(sizes)) {
            self.window.share(self.flow.unread());
        }
    }

    /// Gives windows of these sizes, if there is memory for them.
    fn grow(&mut self, sizes: Sizes) -> bool {
        let more = self.window.cost_of(sizes).saturating_sub(self.charged);
        if more > 0 && !self.account.take(more, Tier::Grow) {
            return false;
        }
        self.charged += more;
        self.window.resize(sizes);
        true
    }

    /// Some time has passed: if bodies want more, others might use up the window with what nobody reads.
    pub(super) fn look<T, B>(&mut self, connection: &mut Connection<T, B>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
        B: Buf,
    {
        let moves = std::mem::replace(&mut self.total, self.flow.total()) != self.total;
        self.flow.looked();
        if self.flow.hungry() == 0 {
            return;
        }
        let unread = if moves { self.flow.unread() } else { self.flow.unwanted() };
        let before = self.window.target();
        let grown = self.window.tight(unread.clone()).map(|sizes| self.grow(sizes));
        if grown != Some(true) {
            self.rescue(&unread);
        }
        if grown == Some(false) {
            self.window.share(unread);
        }
        self.settle();
        if self.window.target() != before {
            connection.set_target_window_size(self.window.target());
        }
    }

    /// Somebody wants more, and there is no memory to give it: gives the least that helps, of what is kept for it.
    fn rescue(&mut self, unread: &Unread) {
        let Some(sizes) = self.window.starved(unread) else { return };
        let more = self.window.cost_of(sizes).saturating_sub(self.charged);
        if self.account.take(more, Tier::Rescue) {
            self.charged += more;
            self.window.resize(sizes);
        }
    }

    /// Is it worth [looking](Self::look) soon?
    pub(super) fn could_starve(&self) -> bool {
        self.flow.bodies() > 1
    }

    /// Memory is short: what is not needed goes back.
    fn give_back(&mut self, streams: usize) {
        // What has gone until now was given anew.
        let (window, flow) = (&mut self.window, &self.flow);
        flow.take(|taken| {
            window.burn(taken);
            window.mark(taken.readers)
        });
        if flow.bodies() == 0 {
            window.quench();
        } else {
            window.shrink(flow.unwanted());
        }
        self.room.shrink();
        if streams == 0 && !self.asleep && self.own.load(Ordering::Acquire) {
            self.asleep = true;
            self.account.give(self.account.memory().plan().dreams2());
        }
    }
}

/// What changed for the credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Consumed,
    Asked,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            own.store(true, Ordering::Release);
        }
    }
}
