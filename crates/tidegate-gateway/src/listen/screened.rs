//! What hyper reads from: a connection behind a [`Screen`], with the timers of heads and of idleness.
//!
//! Bytes reach hyper only when the head they belong to is complete and unambiguous. In the place of one that is
//! not, hyper gets a request for [`FAULT_PATH`], so that the refusal is written after the answers that are due
//! before it, over TLS as well, and with a body.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::memory::{Account, Charge, Tier};
use crate::socket::Watch;

use super::screen::{Screen, Verdict};
use super::{Fault, ListenSettings};

/// The target of the request that stands for one that must be refused.
pub(super) const FAULT_PATH: &str = "/.tidegate/fault";
const FAULT_HEAD: &[u8] = b"GET /.tidegate/fault HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n";

/// What a connection's reader and its requests tell each other.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// A request is being answered.
    pub(super) busy: AtomicBool,
    /// The screen sees nothing after the last request that it let pass: what follows may be another protocol.
    pub(super) opaque: AtomicBool,
    /// The connection has become a tunnel.
    pub(super) tunnel: AtomicBool,
    /// What is charged for the request covers what comes of its client and is not read yet.
    pub(super) ahead: AtomicBool,
    /// hyper's buffer has grown, and a head is waited for with nothing in it.
    rests: AtomicBool,
    /// Why the last request of this connection is refused.
    pub(super) fault: OnceLock<Fault>,
    /// The request that is answered is paid for, until its answer is written.
    paid: AtomicBool,
    /// What it takes, unless its connection has that already.
    charge: Mutex<Option<Charge>>,
    /// Is there such a charge? Only the connection's own task asks, which need not lock for it.
    charged: AtomicBool,
}

impl Desk {
    /// Everything that was to be written is.
    fn written(&self) {
        if self.is_paid() && !self.busy.load(Ordering::Relaxed) {
            self.paid.store(false, Ordering::Relaxed);
            if self.charged.load(Ordering::Relaxed) {
                self.charge(None);
            }
        }
    }

    /// Did hyper wait for a head, with nothing in a buffer that has grown, and with nothing left to write? Said once.
    pub(super) fn rests(&self) -> bool {
        // It reads before it writes: what is paid for is not written.
        self.rests.load(Ordering::Relaxed)
            && self.rests.swap(false, Ordering::Relaxed)
            && !self.busy.load(Ordering::Relaxed)
            && !self.is_paid()
    }

    pub(super) fn is_paid(&self) -> bool {
        self.paid.load(Ordering::Relaxed)
    }

    /// The request is paid for, by this `charge` unless its connection has what it takes.
    pub(super) fn pay(&self, charge: Option<Charge>) {
        self.paid.store(true, Ordering::Relaxed);
        if charge.is_some() {
            self.charge(charge);
        }
    }

    fn charge(&self, charge: Option<Charge>) {
        self.charged.store(charge.is_some(), Ordering::Relaxed);
        let before = std::mem::replace(&mut *self.locked(), charge);
        drop(before);
    }

    fn locked(&self) -> MutexGuard<'_, Option<Charge>> {
        self.charge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A head of more bytes is charged while it comes.
const LONG_HEAD: usize = 4096;
/// hyper's buffer has never more room than this while heads and reads are small: its first size, and what is left of such a
/// read.
const USUAL_ROOM: usize = 12 * 1024;

/// A connection behind a screen.
#[derive(Debug)]
pub(super) struct Screened<S> {
    inner: S,
    desk: Arc<Desk>,
    screen: Screen,
    /// Bytes of a head that is not complete.
    held: Vec<u8>,
    account: Option<Arc<Account>>,
    watch: Watch,
    /// What a long head takes, and hyper's buffer after it.
    long: Option<Charge>,
    /// hyper's buffer has more room than it usually needs.
    grown: bool,
    /// Bytes that passed the screen and that hyper had no room for, or got too late to read in place.
    out: Vec<u8>,
    out_at: usize,
    over: bool,
    head_timeout: Duration,
    idle_timeout: Duration,
    /// When the head, or the idleness, began.
    since: Option<Instant>,
    fresh: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// The timer will wake the connection's task, which is always the same until it becomes a tunnel.
    set: bool,
}

impl<S> Screened<S> {
    pub(super) fn new(
        inner: S,
        desk: Arc<Desk>,
        account: Option<Arc<Account>>,
        watch: Watch,
        settings: &ListenSettings,
    ) -> Self {
        Self {
            inner,
            desk,
            screen: Screen::new(settings.head_bytes, settings.head_fields),
            held: Vec::new(),
            account,
            watch,
            long: None,
            grown: false,
            out: Vec::new(),
            out_at: 0,
            over: false,
            head_timeout: settings.head_timeout,
            idle_timeout: settings.idle_timeout,
            since: None,
            fresh: true,
            timer: None,
            set: false,
        }
    }

    /// Moves what passed the screen into hyper's buffer.
    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = self.out.get(self.out_at..).unwrap_or_default();
        let some = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..some).unwrap_or_default());
        self.out_at += some;
        if self.out_at >= self.out.len() {
            // An idle connection keeps no buffer.
            self.out = Vec::new();
            self.out_at = 0;
            self.pay_for_head();
        }
    }

    /// hyper begins anew, with the smallest buffer. `left` is what was in the one before: nothing, but for its own mistakes.
    pub(super) fn begins_anew(&mut self, left: &[u8]) {
        self.out.splice(self.out_at..self.out_at, left.iter().copied());
        self.grown = false;
        self.pay_for_head();
        self.watch.has_shrunk();
    }

    /// There is nothing to be read. hyper's buffer is empty too if a head comes next, since it looks there first.
    fn waits(&self) {
        let grown = self.grown || self.watch.is_grown();
        if grown && self.account.is_some() && self.held.is_empty() && self.screen.is_between() {
            self.desk.rests.store(true, Ordering::Relaxed);
        }
    }

    /// A connection whose last answer is still being written is not idle.
    fn stirs(&mut self) {
        if self.held.is_empty() {
            self.since = None;
        }
    }

    fn refuse(&mut self, fault: Fault) {
        let _ = self.desk.fault.set(fault); // the first one stays, and nothing is read after it
        self.held = Vec::new();
        self.over = true;
    }

    /// Charges a long head until it is handed over, and after that until hyper's buffer is small again.
    fn pay_for_head(&mut self) {
        if self.held.is_empty() {
            if self.out.is_empty() && !self.grown {
                self.long = None;
            }
        } else if let (Some(account), None, LONG_HEAD..) = (&self.account, &self.long, self.held.len()) {
            // What is held, and the same again while it is handed over.
            self.long = account.charge(2 * self.screen.head_bytes() as u64, Tier::First);
            if self.long.is_none() {
                account.memory().refused();
                self.refuse(Fault::Memory);
                self.out.extend_from_slice(FAULT_HEAD);
            }
        }
    }

    /// Says so when the screen will see no other request.
    fn note_the_last(&self) {
        if self.screen.is_opaque() {
            self.desk.opaque.store(true, Ordering::Relaxed);
        }
    }

    /// Looks at the bytes read in place, from `start` of the buffer on.
    fn look_in_place(&mut self, buffer: &mut ReadBuf<'_>, start: usize) -> io::Result<()> {
        let read = buffer.filled().get(start..).unwrap_or_default();
        let verdict = self.screen.look(read);
        self.note_the_last();
        match verdict {
            Verdict::Pass { passed } => {
                self.held.extend_from_slice(read.get(passed..).unwrap_or_default());
                buffer.set_filled(start + passed);
            }
            Verdict::Refuse { passed, fault } => {
                buffer.set_filled(start + passed);
                self.refuse(fault);
                self.out.extend_from_slice(FAULT_HEAD);
            }
            Verdict::Broken => return Err(broken()),
        }
        Ok(())
    }

    /// Looks at held bytes after more of them came.
    fn look_at_held(&mut self) -> io::Result<()> {
        let verdict = self.screen.look(&self.held);
        self.note_the_last();
        match verdict {
            Verdict::Pass { passed } => {
                let rest = self.held.split_off(passed);
                self.out = std::mem::replace(&mut self.held, rest);
            }
            Verdict::Refuse { passed, fault } => {
                self.held.truncate(passed);
                self.out = std::mem::take(&mut self.held);
                self.refuse(fault);
                self.out.extend_from_slice(FAULT_HEAD);
            }
            Verdict::Broken => return Err(broken()),
        }
        Ok(())
    }

    /// Nothing to read. Ready when that has lasted too long: true if a head began and did not end.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let heading = !self.held.is_empty();
        let wait = if heading || self.fresh { self.head_timeout } else { self.idle_timeout };
        if self.desk.tunnel.load(Ordering::Relaxed) {
            // It may be silent as long as it likes: it is counted among the streams.
            return Poll::Pending;
        }
        // A timer that fires too early costs one look; polling one that is set would cost as much each time.
        let timer = self.timer.as_ref().filter(|timer| self.set && !timer.is_elapsed());
        if self.desk.busy.load(Ordering::Relaxed) && !heading {
            self.since = None;
            if timer.is_some() {
                return Poll::Pending;
            }
            // hyper does not read again when the answer ends, so this looks after it.
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + wait)));
            while timer.as_mut().poll(cx).is_ready() {
                timer.as_mut().reset(Instant::now() + wait);
            }
            self.set = true;
            return Poll::Pending;
        }
        let due = *self.since.get_or_insert_with(Instant::now) + wait;
        if timer.is_some_and(|timer| timer.deadline() <= due) {
            return Poll::Pending;
        }
        self.set = true;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(heading);
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a chunk of the body has no valid size")
}

impl<S: AsyncRead + Unpin> AsyncRead for Screened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.out.is_empty() {
                this.grown |= buffer.remaining() > USUAL_ROOM;
                this.hand_over(buffer);
                return Poll::Ready(Ok(()));
            }
            if this.over {
                // hyper closes after the refusal; nothing after it is read.
                return Poll::Pending;
            }
            let start = buffer.filled().len();
            this.grown |= buffer.remaining() > USUAL_ROOM;
            match Pin::new(&mut this.inner).poll_read(cx, buffer) {
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    this.waits();
                    if !ready!(this.poll_overdue(cx)) {
                        return Poll::Ready(Ok(())); // idle for too long: the end
                    }
                    this.refuse(Fault::HeadTimeout);
                    this.out.extend_from_slice(FAULT_HEAD);
                    continue;
                }
            }
            let read = buffer.filled().get(start..).unwrap_or_default();
            if read.is_empty() {
                return Poll::Ready(Ok(())); // the end
            }
            if this.held.is_empty() {
                this.look_in_place(buffer, start)?;
                this.since = None;
            } else {
                this.held.extend_from_slice(read);
                buffer.set_filled(start);
                this.look_at_held()?;
            }
            this.pay_for_head();
            if buffer.filled().len() > start || !this.out.is_empty() {
                this.fresh = false;
                this.since = None;
            }
            if buffer.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Screened<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stirs();
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stirs();
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.desk.written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
