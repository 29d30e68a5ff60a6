//! What a writer must have before it writes, and what it has afterwards.

use std::fmt;

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::core::Core;
use super::error::{TooLarge, WriteError};
use super::push::Goal;
use super::share::Share;
use crate::budget::Lease;

/// Room for some bytes: the only way to write. It exists only while no more than half of the bound is held, and goes
/// with what is written; made by [`Writer::ready`](super::Writer::ready) and [`Share::ready`].
///
/// Writing without it, and writing twice with it, do not compile:
///
/// ```compile_fail,E0382
/// # async fn example(mut w: tidegate::writer::Writer<tokio::net::TcpStream>) -> Result<(), Box<dyn std::error::Error>> {
/// let room = w.ready().await?;
/// room.write("once")?.later();
/// room.write("twice")?.later(); // use of moved value: `room`
/// # Ok(()) }
/// ```
#[must_use = "room is for writing; dropped, nothing is written"]
pub struct Room<'w, W> {
    place: Place<'w, W>,
    /// For what is written, if there is a budget.
    lease: Option<Lease>,
}

/// Whose room it is.
pub(super) enum Place<'w, W> {
    Own(&'w mut Core<W>),
    Shared(&'w mut Share<W>),
}

impl<'w, W> Room<'w, W> {
    pub(super) const fn new(place: Place<'w, W>, lease: Option<Lease>) -> Self {
        Self { place, lease }
    }

    /// The bytes there is room for.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        match &self.place {
            Place::Own(core) => core.room(),
            Place::Shared(share) => share.room_bytes(),
        }
    }

    /// Writes `bytes`: they are accepted, and on their way while the returned value is awaited.
    ///
    /// # Errors
    /// If they are more than there is [room](Self::bytes) for. None was accepted, and the error holds them.
    pub fn write(self, bytes: impl Into<Bytes>) -> Result<Sent<'w, W>, TooLarge> {
        let bytes = bytes.into();
        let (offered, room) = (bytes.len() as u64, self.bytes());
        if offered > room {
            return Err(TooLarge { bytes, offered, room });
        }
        Ok(self.fill([bytes]))
    }

    /// Writes several pieces as one, without copying large ones together: all of them are accepted, or none.
    ///
    /// # Errors
    /// If they are more than there is [room](Self::bytes) for in all. None was accepted.
    pub fn write_pieces<const N: usize>(self, pieces: [Bytes; N]) -> Result<Sent<'w, W>, TooLarge> {
        let (offered, room) = (pieces.iter().map(|piece| piece.len() as u64).sum(), self.bytes());
        if offered > room {
            return Err(TooLarge { bytes: Bytes::new(), offered, room });
        }
        Ok(self.fill(pieces))
    }

    /// Writes as much of the front of `bytes` as there is room for, and leaves the rest in it.
    pub fn write_some(self, bytes: &mut Bytes) -> Sent<'w, W> {
        let most = usize::try_from(self.bytes()).unwrap_or(usize::MAX);
        let some = bytes.split_to(bytes.len().min(most));
        self.fill([some])
    }

    fn fill<const N: usize>(self, pieces: [Bytes; N]) -> Sent<'w, W> {
        let Self { mut place, mut lease } = self;
        if let Some(lease) = &mut lease {
            lease.shrink_to(pieces.iter().map(|piece| piece.len() as u64).sum());
        }
        match &mut place {
            Place::Own(core) => core.charge(lease),
            Place::Shared(share) => share.charge(lease),
        }
        for piece in pieces {
            match &mut place {
                Place::Own(core) => core.accept(piece),
                Place::Shared(share) => share.accept(piece),
            }
        }
        Sent { place }
    }
}

impl<W> fmt::Debug for Room<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// Bytes accepted, and perhaps not out yet: nobody pushes them on while nobody waits. So say which it is:
/// [`flushed`](Self::flushed), or [`later`](Self::later). To say neither does not pass the lint `unused_must_use`:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # async fn example(mut w: tidegate::writer::Writer<tokio::net::TcpStream>) -> Result<(), Box<dyn std::error::Error>> {
/// w.ready().await?.write("hello")?; // unused `Sent` that must be used
/// # Ok(()) }
/// ```
#[must_use = "the bytes may still be here: await `flushed()`, or say `later()`"]
pub struct Sent<'w, W> {
    place: Place<'w, W>,
}

impl<'w, W> Sent<'w, W> {
    pub(super) const fn new(place: Place<'w, W>) -> Self {
        Self { place }
    }

    /// The next call of this writer takes them along; [`flush`](super::Writer::flush) and
    /// [`finish`](super::Writer::finish) do. For what is followed by more at once.
    pub fn later(self) {}
}

impl<W: AsyncWrite + Unpin> Sent<'_, W> {
    /// Waits until the kernel has them all.
    ///
    /// **When full**, it waits, as long as the peer makes [`Progress`](super::Progress). **When cancelled**, it
    /// is as if `later` had been said.
    ///
    /// # Errors
    /// If the connection fails, or the peer is too slow.
    pub async fn flushed(self) -> Result<(), WriteError> {
        match self.place {
            Place::Own(core) => core.push(Goal::Out).await,
            Place::Shared(share) => share.flush().await,
        }
    }
}

impl<W> fmt::Debug for Sent<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").finish_non_exhaustive()
    }
}
