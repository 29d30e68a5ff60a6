//! A connection's outgoing side: accepts bytes under a bound, pushes them out, and watches its peer.
//!
//! The bound is two rooms. Bytes are accepted, a room of them at most, while no more than a room of them are held; so no
//! more than two rooms ever are. The kernel's part counts: it says "writable" when it has less than a room unsent, and
//! that is what is waited for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::time::{Sleep, sleep_until};

use super::buffer::Buffer;
use super::counts::Counts;
use super::error::{TooLarge, WriteError};
use super::kernel::Kernel;
use super::pace::{Pace, Progress};
use super::push::{Goal, Push};
use crate::budget::{Budget, Lease, Leasing};
use crate::clock::Clock;

/// While somebody waits for a peer, the kernel is asked so often within a longest stall how far it got: it does not tell before
/// half of what it holds is gone, for which a peer at the least rate needs longer than that.
const LOOKS: u64 = 8;

#[derive(Debug)]
pub(super) struct Core<W> {
    /// None when it has ended.
    io: Option<W>,
    kernel: Option<Kernel<W>>,
    buffer: Buffer,
    room: u64,
    /// Accepted in all; and of these, seen to have left.
    accepted: u64,
    left: u64,
    /// No more than this is pending: what was when the kernel was last asked, and what was accepted since.
    most: u64,
    /// Written since the last flush.
    unflushed: bool,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    clock: Clock,
    counts: Arc<Counts>,
    /// What is in the buffer is charged here; and is held, if it is.
    budget: Option<Budget>,
    charge: Option<Lease>,
    /// How long a lease is waited for.
    patience: Duration,
}

impl<W> Core<W> {
    pub(super) fn new(
        io: W,
        kernel: Option<Kernel<W>>,
        room: u64,
        progress: Progress,
        counts: Arc<Counts>,
        budget: Option<Budget>,
    ) -> Self {
        counts.opened.fetch_add(1, Relaxed);
        Self {
            io: Some(io),
            kernel,
            buffer: Buffer::default(),
            room,
            accepted: 0,
            left: 0,
            most: 0,
            unflushed: false,
            pace: Pace::new(progress),
            timer: None,
            clock: Clock::start(),
            counts,
            budget,
            charge: None,
            patience: progress.longest_stall,
        }
    }

    pub(super) const fn io(&self) -> Option<&W> {
        self.io.as_ref()
    }

    pub(super) const fn room(&self) -> u64 {
        self.room
    }

    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    pub(super) const fn buffered(&self) -> u64 {
        self.buffer.bytes()
    }

    pub(super) fn counts_kernel(&self) -> bool {
        self.kernel.as_ref().is_some_and(Kernel::counts)
    }

    /// The kernel's part.
    fn unsent(&self) -> u64 {
        match (&self.kernel, &self.io) {
            (Some(kernel), Some(io)) if kernel.counts() => kernel.unsent(io),
            _ => 0,
        }
    }

    pub(super) fn pending(&self) -> u64 {
        self.buffer.bytes().saturating_add(self.unsent())
    }

    /// Asks the kernel only if it may have enough to matter: not for every line.
    fn has_room(&mut self) -> bool {
        if self.most > self.room {
            self.most = self.pending();
        }
        self.most <= self.room
    }

    pub(super) fn stalled_for(&self) -> Duration {
        let pending = self.pending();
        if pending == 0 || self.accepted.saturating_sub(pending) > self.left {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.pace.stalled(self.clock.now()))
    }

    /// No more than a room in all.
    pub(super) fn fits(&self, bytes: &Bytes) -> Result<(), TooLarge> {
        let (offered, room) = (bytes.len() as u64, self.room);
        if offered <= room { Ok(()) } else { Err(TooLarge { bytes: bytes.clone(), offered, room }) }
    }

    pub(super) const fn budget(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }

    /// Leases `bytes`, if there is a budget to lease them from.
    pub(super) fn leasing(&self, bytes: u64) -> Option<Leasing> {
        self.budget.as_ref().map(|budget| budget.lease(bytes).within(self.patience))
    }

    /// Takes over the charge for what comes next.
    pub(super) fn charge(&mut self, lease: Option<Lease>) {
        add(&mut self.charge, lease);
    }

    /// Gives back the charge for what is here no more.
    pub(super) fn discharge(&mut self) {
        if let Some(charge) = &mut self.charge {
            match self.buffer.bytes() {
                0 => self.charge = None,
                bytes => charge.shrink_to(bytes),
            }
        }
    }

    /// Takes what there is room for. The caller has seen that there is.
    pub(super) fn accept(&mut self, bytes: Bytes) {
        let count = bytes.len() as u64;
        self.counts.accepted.fetch_add(count, Relaxed);
        self.counts.buffered.fetch_add(count, Relaxed);
        self.accepted = self.accepted.saturating_add(count);
        self.most = self.most.saturating_add(count);
        self.buffer.put(bytes);
    }

    /// Takes over what a handle had accepted, and counted.
    pub(super) fn take_over(&mut self, own: &mut Buffer, charge: Option<Lease>) {
        self.charge(charge);
        self.accepted = self.accepted.saturating_add(own.bytes());
        self.most = self.most.saturating_add(own.bytes());
        self.buffer.append(own);
    }

    /// Ends it; what is left is forgotten.
    fn end(&mut self) -> Option<W> {
        let forgotten = self.buffer.clear();
        self.counts.buffered.fetch_sub(forgotten, Relaxed);
        self.charge = None;
        self.io.take()
    }

    /// Ends it with a reset; counted first, so that a peer which sees the end is counted already.
    fn reset(&mut self, count: impl FnOnce(&Counts)) {
        let Some(io) = self.end() else { return };
        count(&self.counts);
        if let Some(kernel) = &self.kernel {
            kernel.abort(&io);
        }
    }

    /// Ends it without having said everything. A peer must not take what it got for the whole.
    pub(super) fn abort(&mut self) {
        self.reset(|counts| {
            counts.aborted.fetch_add(1, Relaxed);
        });
    }

    fn fail(&mut self, error: impl Into<WriteError>) -> WriteError {
        let error = error.into();
        self.reset(|counts| counts.ended_by(&error));
        error
    }

    /// Gives the connection back, after [`Goal::Closed`].
    pub(super) fn finish(&mut self) -> Option<W> {
        let io = self.end();
        if io.is_some() {
            self.counts.finished.fetch_add(1, Relaxed);
        }
        io
    }

    /// Waits for `goal`.
    pub(super) const fn push(&mut self, goal: Goal) -> Push<'_, W> {
        Push::new(self, goal)
    }

    pub(super) fn pause(&mut self) {
        if self.pace.is_waiting() {
            self.pace.pause(self.clock.now());
        }
    }

    /// Tells the watch what the peer took since it was last told.
    fn observe(&mut self, now: u64) -> Result<(), WriteError> {
        let left = self.accepted.saturating_sub(self.pending());
        let moved = left.saturating_sub(self.left);
        self.left = self.left.max(left);
        Ok(self.pace.moved(moved, now)?)
    }
}

impl<W: AsyncWrite + Unpin> Core<W> {
    /// Writes until nothing is left or the kernel takes no more.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(())) };
        while !self.buffer.is_empty() {
            let written = self.buffer.front(io.is_write_vectored(), |slices| match slices {
                [one] => Pin::new(&mut *io).poll_write(cx, one),
                many => Pin::new(&mut *io).poll_write_vectored(cx, many),
            });
            let written = match ready!(written)? as u64 {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => written.min(self.buffer.bytes()),
            };
            self.unflushed = true;
            self.buffer.advance(written);
            self.counts.buffered.fetch_sub(written, Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let (true, Some(io)) = (self.unflushed, &mut self.io) {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Is there room? Asks the kernel to say when, if there is none because of it.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_room() {
            return Poll::Ready(Ok(()));
        }
        match (&self.kernel, &self.io) {
            // It says "writable" with less than a room unsent; should it do so earlier, waiting would not end.
            (Some(kernel), Some(io)) if self.buffer.is_empty() => kernel.poll_drained(io, cx),
            _ => Poll::Pending,
        }
    }

    fn poll_goal(&mut self, goal: Goal, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = self.poll_write(cx)?;
        match goal {
            Goal::Room => self.poll_room(cx),
            Goal::Out => {
                ready!(written);
                self.poll_flush(cx)
            }
            Goal::Closed => {
                ready!(written);
                match &mut self.io {
                    Some(io) => Pin::new(io).poll_shutdown(cx),
                    None => Poll::Ready(Ok(())),
                }
            }
        }
    }

    /// Watches the peer while it takes nothing; ready when it has been too slow.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<WriteError> {
        let mut now = self.clock.now();
        loop {
            if let Err(slow) = self.observe(now).and_then(|()| Ok(self.pace.wait(now)?)) {
                return Poll::Ready(slow);
            }
            let due = self.pace.due(now);
            let look = if self.counts_kernel() {
                due.min(now.saturating_add(self.pace.stall() / LOOKS))
            } else {
                due
            };
            let Some(look) = self.clock.instant(look) else { return Poll::Pending };
            // A timer of an earlier wait fires too early, and is set anew then: not at every wait.
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(look)));
            ready!(timer.as_mut().poll(cx));
            timer.as_mut().reset(look);
            now = self.clock.now();
        }
    }

    pub(super) fn poll(&mut self, goal: Goal, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        if self.io.is_none() {
            return Poll::Ready(Err(WriteError::Ended));
        }
        match self.poll_goal(goal, cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.fail(error))),
            Poll::Pending => self.poll_patience(cx).map(|slow| Err(self.fail(slow))),
        }
    }

    /// Waits for room, and for the lease of `bytes` of it, if there is a budget to lease them from.
    pub(super) async fn ready(&mut self, bytes: u64) -> Result<Option<Lease>, WriteError> {
        self.push(Goal::Room).await?;
        let Some(budget) = self.budget.clone() else { return Ok(None) };
        match budget.try_lease(bytes) {
            Ok(lease) => return Ok(Some(lease)),
            Err(full) if !full.ever => return Err(full.into()),
            Err(_) => {}
        }
        // Who holds nothing while it waits keeps nobody else from going on.
        self.push(Goal::Out).await?;
        Ok(Some(budget.lease(bytes).within(self.patience).await?))
    }

    /// Pushes what goes out without waiting. Is there room then?
    pub(super) fn try_push(&mut self) -> Result<bool, WriteError> {
        if self.io.is_none() {
            return Err(WriteError::Ended);
        }
        let mut cx = Context::from_waker(Waker::noop());
        let pushed = self.poll_write(&mut cx);
        let pushed = if matches!(pushed, Poll::Ready(Ok(()))) { self.poll_flush(&mut cx) } else { pushed };
        self.discharge();
        match pushed {
            Poll::Ready(Err(error)) => Err(self.fail(error)),
            _ => Ok(self.has_room()),
        }
    }
}

/// Puts two leases of one budget together.
pub(super) fn add(charge: &mut Option<Lease>, lease: Option<Lease>) {
    let Some(lease) = lease else { return };
    match charge {
        // They are of one budget, so it is not given back.
        Some(charge) => drop(charge.merge(lease)),
        None => *charge = Some(lease),
    }
}

impl<W> Drop for Core<W> {
    fn drop(&mut self) {
        self.abort();
    }
}
