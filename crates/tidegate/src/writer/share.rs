//! [`Share`]: one writer for several tasks, each with room of its own.
//!
//! What a handle accepted lies with the handle until it is its turn to push; then it is moved, whole, behind what a cancelled
//! turn has left. So pieces of different handles never mix, and holding room keeps nobody else from writing.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize, fence};
use std::task::{Poll, Waker};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::sync::{Mutex, MutexGuard};

use super::buffer::Buffer;
use super::core::{Core, add};
use super::counts::Counts;
use super::error::{TooLarge, TrySendError, WriteError};
use super::push::Goal;
use super::room::{Place, Room, Sent};
use crate::budget::Lease;
use crate::sync;

/// One of several handles on a writer; made by [`Writer::share`](super::Writer::share).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::writer::Writer;
///
/// let (io, _peer) = tokio::io::duplex(1024);
/// let mut work = tokio::task::JoinSet::new();
/// for (number, mut share) in Writer::over(io).share(3).into_iter().enumerate() {
///     work.spawn(async move {
///         share.send(format!("line {number}\n")).await?;
///         share.finish().await // the last to finish gets the connection back
///     });
/// }
/// let ended = work.join_all().await;
/// assert_eq!(ended.iter().filter(|io| matches!(io, Ok(Some(_)))).count(), 1);
/// # });
/// ```
///
/// **When full**, `ready` and `send` wait, for the peer and for their turn, and `try_send` says so. **When cancelled**, waiting
/// leaves its turn to the next; what was accepted is not lost. **Dropped** before it is finished, a handle resets the
/// connection for all of them, since what it had to say is missing.
pub struct Share<W> {
    common: Arc<Common<W>>,
    /// Accepted here, until it is this handle's turn.
    own: Buffer,
    /// For what is there, if there is a budget.
    charge: Option<Lease>,
    room: u64,
    finished: bool,
}

struct Common<W> {
    core: Mutex<Core<W>>,
    counts: Arc<Counts>,
    /// Handles that have not finished.
    open: AtomicUsize,
    /// One went unfinished.
    broken: AtomicBool,
    /// Who pushes now, to be told when one breaks off.
    pusher: sync::Mutex<Option<Waker>>,
}

/// Splits a writer in `n`.
pub(super) fn split<W>(core: Core<W>, n: usize) -> Vec<Share<W>> {
    let room = (core.room() / n as u64).max(1);
    let common = Arc::new(Common {
        counts: core.counts(),
        core: Mutex::new(core),
        open: AtomicUsize::new(n),
        broken: AtomicBool::new(false),
        pusher: sync::Mutex::new(None),
    });
    let own = Buffer::default;
    let handle = || Share { common: Arc::clone(&common), own: own(), charge: None, room, finished: false };
    (0..n).map(|_| handle()).collect()
}

impl<W> Common<W> {
    /// If one broke off while another had its turn: the connection goes now. Between "it broke off" and "is somebody having a
    /// turn?" on one side, and "the turn is over" and "did one break off?" on the other, lies a fence each: one of the two sees
    /// the other.
    fn settle(&self) {
        fence(SeqCst);
        if self.broken.load(Acquire) {
            if let Ok(mut core) = self.core.try_lock() {
                core.abort();
            }
        }
    }
}

/// A handle's turn to push.
struct Turn<'c, W> {
    common: &'c Common<W>,
    /// None only while it is dropped.
    core: Option<MutexGuard<'c, Core<W>>>,
}

impl<'c, W> Turn<'c, W> {
    async fn take(common: &'c Common<W>) -> Self {
        Self { common, core: Some(common.core.lock().await) }
    }

    fn try_take(common: &'c Common<W>) -> Option<Self> {
        Some(Self { common, core: Some(common.core.try_lock().ok()?) })
    }

    /// The core, unless a handle broke off.
    fn core(&mut self) -> Result<&mut Core<W>, WriteError> {
        match &mut self.core {
            Some(core) if !self.common.broken.load(Acquire) => Ok(core),
            _ => Err(WriteError::Ended),
        }
    }
}

impl<W: AsyncWrite + Unpin> Turn<'_, W> {
    async fn push(&mut self, goal: Goal) -> Result<(), WriteError> {
        let common = self.common;
        let mut push = self.core()?.push(goal);
        poll_fn(|cx| {
            let before = sync::lock(&common.pusher).replace(cx.waker().clone());
            drop(before);
            // Looked at after the waker was left: who breaks off later wakes it.
            if common.broken.load(Acquire) {
                return Poll::Ready(Err(WriteError::Ended));
            }
            Pin::new(&mut push).poll(cx)
        })
        .await
    }
}

impl<W> Drop for Turn<'_, W> {
    fn drop(&mut self) {
        let waker = sync::lock(&self.common.pusher).take();
        drop(waker);
        self.core = None;
        self.common.settle();
    }
}

impl<W> Share<W> {
    /// What it accepts at a time: its part of the writer's room.
    #[must_use]
    pub const fn room_bytes(&self) -> u64 {
        self.room
    }

    /// Bytes accepted by this handle that wait for its turn.
    #[must_use]
    pub const fn buffered(&self) -> u64 {
        self.own.bytes()
    }

    pub(super) fn charge(&mut self, lease: Option<Lease>) {
        add(&mut self.charge, lease);
    }

    pub(super) fn accept(&mut self, bytes: Bytes) {
        let count = bytes.len() as u64;
        self.common.counts.accepted.fetch_add(count, Relaxed);
        self.common.counts.buffered.fetch_add(count, Relaxed);
        self.own.put(bytes);
    }

    fn fits(&self, bytes: &Bytes) -> Result<(), TooLarge> {
        let (offered, room) = (bytes.len() as u64, self.room);
        if offered <= room { Ok(()) } else { Err(TooLarge { bytes: bytes.clone(), offered, room }) }
    }
}

impl<W: AsyncWrite + Unpin> Share<W> {
    async fn room_for(&mut self, bytes: u64) -> Result<Option<Lease>, WriteError> {
        let mut turn = Turn::take(&self.common).await;
        if !self.own.is_empty() {
            turn.push(Goal::Out).await?;
            turn.core()?.take_over(&mut self.own, self.charge.take());
            turn.push(Goal::Out).await?;
        }
        turn.push(Goal::Room).await?;
        let leasing = turn.core()?.leasing(bytes);
        drop(turn);
        // Its turn is over and it holds nothing: while it waits for the lease, the others go on.
        Ok(match leasing {
            Some(leasing) => Some(leasing.await?),
            None => None,
        })
    }

    /// Waits for room: until what this handle accepted before is out, and the writer has room again.
    ///
    /// **When full**, it waits for its turn and for the peer. **When cancelled**, nothing is lost and nothing was accepted.
    ///
    /// # Errors
    /// If the connection fails, the peer is too slow, or another handle was dropped unfinished.
    pub async fn ready(&mut self) -> Result<Room<'_, W>, WriteError> {
        let lease = self.room_for(self.room).await?;
        Ok(Room::new(Place::Shared(self), lease))
    }

    /// Accepts `bytes`, at most [a room](Self::room_bytes), once there is room, and returns when the kernel has them. They
    /// go out in one piece.
    ///
    /// **When full**, it waits for its turn and for the peer. **When cancelled**, all of `bytes` were accepted or none.
    ///
    /// # Errors
    /// If they are too many (nothing was accepted), the connection fails, the peer is too slow, or another handle was
    /// dropped unfinished.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> Result<(), WriteError> {
        let bytes = bytes.into();
        self.fits(&bytes)?;
        let lease = self.room_for(bytes.len() as u64).await?;
        self.charge(lease);
        self.accept(bytes);
        self.flush().await
    }

    /// Accepts `bytes` if there is room for them now and no other handle has its turn.
    ///
    /// # Errors
    /// [`Full`](TrySendError::Full) gives them back; [`Failed`](TrySendError::Failed) if they are too many or the
    /// connection has ended.
    pub fn try_send(&mut self, bytes: impl Into<Bytes>) -> Result<Sent<'_, W>, TrySendError> {
        let bytes = bytes.into();
        self.fits(&bytes)?;
        let Some(mut turn) = Turn::try_take(&self.common) else { return Err(TrySendError::Full(bytes)) };
        let core = turn.core()?;
        if !core.try_push()? || core.buffered() > 0 {
            return Err(TrySendError::Full(bytes));
        }
        if !self.own.is_empty() {
            core.take_over(&mut self.own, self.charge.take());
            if !core.try_push()? {
                return Err(TrySendError::Full(bytes));
            }
        }
        let offered = bytes.len() as u64;
        let Ok(lease) = core.budget().map(|budget| budget.try_lease(offered)).transpose() else {
            return Err(TrySendError::Full(bytes));
        };
        core.charge(lease);
        core.accept(bytes);
        core.try_push()?;
        drop(turn);
        Ok(Sent::new(Place::Shared(self)))
    }

    /// Waits until the kernel has everything that this handle accepted.
    ///
    /// **When full**, it waits for its turn and for the peer. **When cancelled**, what was accepted waits for the next
    /// call.
    ///
    /// # Errors
    /// If the connection fails, the peer is too slow, or another handle was dropped unfinished.
    pub async fn flush(&mut self) -> Result<(), WriteError> {
        let mut turn = Turn::take(&self.common).await;
        // What a cancelled turn has left, perhaps this handle's own.
        turn.push(Goal::Out).await?;
        if !self.own.is_empty() {
            turn.core()?.take_over(&mut self.own, self.charge.take());
            turn.push(Goal::Out).await?;
        }
        Ok(())
    }

    /// Pushes out what this handle accepted. The last handle also tells the peer that no more comes, and gets the
    /// connection back.
    ///
    /// **When full**, it waits for its turn and for the peer. **When cancelled**, the handle is dropped unfinished: the
    /// connection is reset.
    ///
    /// # Errors
    /// If the connection fails, the peer is too slow, or another handle was dropped unfinished.
    pub async fn finish(mut self) -> Result<Option<W>, WriteError> {
        self.flush().await?;
        // Between its turn and this count nobody can add to what it said: it is the handle's own.
        let last = self.common.open.fetch_sub(1, AcqRel) == 1;
        if !last {
            self.finished = true;
            return Ok(None);
        }
        let io = {
            let mut turn = Turn::take(&self.common).await;
            turn.push(Goal::Closed).await?;
            turn.core()?.finish()
        };
        self.finished = true;
        io.map(Some).ok_or(WriteError::Ended)
    }
}

impl<W> Drop for Share<W> {
    fn drop(&mut self) {
        let forgotten = self.own.clear();
        self.common.counts.buffered.fetch_sub(forgotten, Relaxed);
        if self.finished {
            return;
        }
        self.common.broken.store(true, Release);
        self.common.settle();
        let pusher = sync::lock(&self.common.pusher).take();
        if let Some(pusher) = pusher {
            pusher.wake();
        }
    }
}

impl<W> fmt::Debug for Share<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share")
            .field("buffered", &self.buffered())
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}
