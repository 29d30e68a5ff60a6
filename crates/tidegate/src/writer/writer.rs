//! [`Writer`]: no way to write without having room.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::core::Core;
use super::error::{TooLarge, TrySendError, WriteError};
use super::kernel::Socket;
use super::push::Goal;
use super::room::{Place, Room, Sent};
use super::share::{self, Share};
use super::writers::Writers;

/// Writes to a peer, and never holds more for it than its bound.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::writer::Writer;
///
/// let (io, _peer) = tokio::io::duplex(1024);
/// let mut writer = Writer::over(io);
/// writer.ready().await?.write("room was there")?.flushed().await?;
/// writer.send("the same in one word").await?;
/// writer.finish().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// Whoever wants to write from several tasks [shares](Self::share) it: it is not `Clone`, since each clone could hold
/// as much again. After [`finish`](Self::finish) there is nothing left to write with:
///
/// ```compile_fail,E0382
/// # async fn example(mut w: tidegate::writer::Writer<tokio::net::TcpStream>) -> Result<(), tidegate::writer::WriteError> {
/// w.finish().await?;
/// w.send("one more thing").await // borrow of moved value: `w`
/// # }
/// ```
///
/// **When full**, `ready` and `send` wait and `try_send` says so; whoever waits longer than the peer may stall
/// ([`Progress`](super::Progress)) hears that, and the connection is reset. **When cancelled**, waiting leaves what was
/// accepted in the writer, for the next call, and accepts nothing else. **Dropped** before it is finished, it resets the
/// connection (where there is one to reset), so that the peer does not take what it got for the whole, and that is counted
/// ([`WriterStats::aborted`](super::WriterStats::aborted)).
///
/// It has no task of its own: bytes move while one of its calls is awaited. Needs a tokio runtime with time enabled.
pub struct Writer<W> {
    core: Core<W>,
}

impl<W> Writer<W> {
    pub(super) const fn new(core: Core<W>) -> Self {
        Self { core }
    }

    /// Bytes accepted and not sent: those here and, of a socket, those that its kernel has not sent yet. At most
    /// [`max_bytes`](Self::max_bytes); of a Unix socket the kernel counts the memory, which is more than the bytes.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.core.pending()
    }

    /// Those of them that are here.
    #[must_use]
    pub const fn buffered(&self) -> u64 {
        self.core.buffered()
    }

    /// The bound.
    #[must_use]
    pub const fn max_bytes(&self) -> u64 {
        self.core.room() * 2
    }

    /// What is accepted at a time: half of the bound.
    #[must_use]
    pub const fn room_bytes(&self) -> u64 {
        self.core.room()
    }

    /// Is what the kernel holds counted, and bounded?
    #[must_use]
    pub fn counts_kernel(&self) -> bool {
        self.core.counts_kernel()
    }

    /// How long this writer has waited for the peer without seeing it take a byte; zero if nothing is pending.
    #[must_use]
    pub fn stalled_for(&self) -> Duration {
        self.core.stalled_for()
    }

    /// What is written to; none if it has ended.
    #[must_use]
    pub const fn get_ref(&self) -> Option<&W> {
        self.core.io()
    }

    /// Ends it without saying the rest: as dropping it does, on purpose.
    pub fn abort(mut self) {
        self.core.abort();
    }

    /// `n` handles (moved into 1..=[`MAX_SHARES`](Self::MAX_SHARES)) for as many tasks, each with room of its own: a part
    /// of this writer's. Together they hold no more than it did.
    #[must_use]
    pub fn share(self, n: usize) -> Vec<Share<W>> {
        share::split(self.core, n.clamp(1, Self::MAX_SHARES))
    }

    /// The most handles that [`share`](Self::share) makes: 1024, each then with room for a few bytes to a few lines. Who has
    /// more tasks than that puts a channel before one writer.
    pub const MAX_SHARES: usize = 1024;
}

impl<S: Socket> Writer<S> {
    /// A writer over a socket, with the defaults of [`Writers`].
    pub fn socket(io: S) -> Self {
        Writers::new().socket(io)
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// A writer over anything, with the defaults of [`Writers`]. For a socket, take [`socket`](Writer::socket): it counts
    /// what the kernel holds.
    pub fn over(io: W) -> Self {
        Writers::new().over(io)
    }

    /// Waits for room, while it pushes out what it holds.
    ///
    /// **When full**, it waits, as long as the peer makes progress. **When cancelled**, nothing is lost and nothing was
    /// accepted.
    ///
    /// # Errors
    /// If the connection fails, or the peer is too slow.
    pub async fn ready(&mut self) -> Result<Room<'_, W>, WriteError> {
        let lease = self.core.ready(self.core.room()).await?;
        Ok(Room::new(Place::Own(&mut self.core), lease))
    }

    /// Accepts `bytes` once there is room and returns when the kernel has them. At most [a room](Self::room_bytes) of
    /// them; [`send_all`](Self::send_all) takes more.
    ///
    /// **When full**, it waits, as long as the peer makes progress. **When cancelled**, all of `bytes` were accepted or none:
    /// no part of them is ever missing. Who must know which takes [`ready`](Self::ready).
    ///
    /// # Errors
    /// If they are too many (nothing was accepted), the connection fails, or the peer is too slow.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> Result<(), WriteError> {
        let bytes = bytes.into();
        self.core.fits(&bytes)?;
        let lease = self.core.ready(bytes.len() as u64).await?;
        self.core.charge(lease);
        self.core.accept(bytes);
        self.core.push(Goal::Out).await
    }

    /// Sends `bytes`, however many they are, and no more than a room of them at a time.
    ///
    /// **When full**, it waits, as long as the peer makes progress. **When cancelled**, what is left in `bytes` was not
    /// accepted: call it again with them, or the peer misses them.
    ///
    /// # Errors
    /// If the connection fails, or the peer is too slow.
    pub async fn send_all(&mut self, bytes: &mut Bytes) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            self.ready().await?.write_some(bytes).flushed().await?;
        }
        Ok(())
    }

    /// Accepts `bytes` if there is room for them now. Pushes what goes out without waiting, before and after.
    ///
    /// # Errors
    /// [`Full`](TrySendError::Full) gives them back; [`Failed`](TrySendError::Failed) if they are too many or the
    /// connection failed.
    pub fn try_send(&mut self, bytes: impl Into<Bytes>) -> Result<Sent<'_, W>, TrySendError> {
        self.try_send_pieces([bytes.into()])
    }

    /// The same with several pieces, of which a refusal gives back the first: those behind it are the caller's own.
    pub(super) fn try_send_pieces<const N: usize>(
        &mut self,
        pieces: [Bytes; N],
    ) -> Result<Sent<'_, W>, TrySendError> {
        let [ref first, ..] = pieces[..] else { return Ok(Sent::new(Place::Own(&mut self.core))) };
        let offered = pieces.iter().map(|piece| piece.len() as u64).sum();
        let room = self.core.room();
        if offered > room {
            return Err(TooLarge { bytes: first.clone(), offered, room }.into());
        }
        if !self.core.try_push()? {
            return Err(TrySendError::Full(first.clone()));
        }
        let Ok(lease) = self.core.budget().map(|budget| budget.try_lease(offered)).transpose() else {
            return Err(TrySendError::Full(first.clone()));
        };
        self.core.charge(lease);
        for piece in pieces {
            self.core.accept(piece);
        }
        self.core.try_push()?;
        Ok(Sent::new(Place::Own(&mut self.core)))
    }

    /// Waits until the kernel has everything accepted so far. **When full** and when cancelled, it is as
    /// [`Sent::flushed`] says.
    ///
    /// # Errors
    /// If the connection fails, or the peer is too slow.
    pub async fn flush(&mut self) -> Result<(), WriteError> {
        self.core.push(Goal::Out).await
    }

    /// Pushes out the rest, tells the peer that no more comes, and gives the connection back.
    ///
    /// **When full**, it waits, as long as the peer makes progress. **When cancelled**, the writer is dropped unfinished: the
    /// connection is reset.
    ///
    /// # Errors
    /// If the connection fails, or the peer is too slow.
    pub async fn finish(mut self) -> Result<W, WriteError> {
        self.core.push(Goal::Closed).await?;
        self.core.finish().ok_or(WriteError::Ended)
    }
}

impl<W> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("pending", &self.pending())
            .field("max_bytes", &self.max_bytes())
            .finish_non_exhaustive()
    }
}
