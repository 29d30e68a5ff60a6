//! [`Room`]: how many bytes of all its answers one HTTP/2 connection may hold unsent.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory::{Account, Charge, Tier};

/// What one connection may hold unsent: eight frames, enough to keep the socket busy, and not a hundred buffers.
const UNSENT: usize = 128 * 1024;
/// Who must wait for room waits for this much: a frame, so that streams take turns.
const TURN: usize = 16 * 1024;

/// The bytes that one connection may hold unsent, shared by its streams: first come, first served.
///
/// Only what has credit asks for room, so what holds room waits for nothing but the socket, and a stream that its
/// client does not read takes no room from the others.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    free: Arc<Semaphore>,
    more: Option<Arc<More>>,
}

/// Room beyond a turn, if there is memory for it.
#[derive(Debug)]
struct More {
    account: Arc<Account>,
    charge: Mutex<Option<Charge>>,
}

/// Bytes on their way to the socket. Dropped by h2 when they are written or their stream is reset: then their room
/// is free again.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    _lease: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// With `account`, one turn, and the rest if there is memory for it when it is needed.
    pub(super) fn new(account: Option<Arc<Account>>) -> Self {
        let most = if account.is_some() { TURN } else { UNSENT };
        let more = account.map(|account| Arc::new(More { account, charge: Mutex::new(None) }));
        Self { free: Arc::new(Semaphore::new(most)), more }
    }

    /// Memory is short: gives back what nobody uses.
    pub(super) fn shrink(&self) {
        let Some(more) = &self.more else { return };
        if self.free.available_permits() < UNSENT {
            return;
        }
        let charge = more.charge.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(charge) = charge {
            let rest = UNSENT - TURN;
            match self.free.try_acquire_many(in_permits(rest)) {
                Ok(permits) => permits.forget(),
                // Somebody took some in between.
                Err(_) => *more.charge.lock().unwrap_or_else(PoisonError::into_inner) = Some(charge),
            }
        }
    }

    /// Takes all the room there may be, unless it has it or there is no memory.
    fn grow(&self) {
        let Some(more) = &self.more else { return };
        let mut charge = more.charge.lock().unwrap_or_else(PoisonError::into_inner);
        if charge.is_none() {
            let rest = UNSENT - TURN;
            *charge = more.account.charge(rest as u64, Tier::Grow);
            if charge.is_some() {
                drop(charge);
                self.free.add_permits(rest);
            }
        }
    }

    /// Is there any?
    pub(super) fn is_free(&self) -> bool {
        self.free.available_permits() > 0
    }

    /// Room for `wanted` bytes or fewer, at least one. **When full**: waits for its turn, polling `meanwhile`, which may
    /// end the wait. Cancel safe: whoever is dropped leaves the line.
    pub(super) async fn lease<E>(
        &self,
        wanted: usize,
        mut meanwhile: impl FnMut(&mut Context<'_>) -> Poll<E>,
    ) -> Result<OwnedSemaphorePermit, E> {
        if wanted > self.free.available_permits() {
            self.grow();
        }
        let at_once = wanted.min(self.free.available_permits());
        if at_once > 0 {
            if let Ok(lease) = Arc::clone(&self.free).try_acquire_many_owned(in_permits(at_once)) {
                return Ok(lease);
            }
        }
        let turn = Arc::clone(&self.free).acquire_many_owned(in_permits(wanted.clamp(1, TURN)));
        let mut turn = pin!(async {
            match turn.await {
                Ok(lease) => lease,
                // It is never closed; if it were, nobody could send any more.
                Err(_) => pending().await,
            }
        });
        poll_fn(|cx| match turn.as_mut().poll(cx) {
            Poll::Ready(lease) => Poll::Ready(Ok(lease)),
            Poll::Pending => meanwhile(cx).map(Err),
        })
        .await
    }
}

fn in_permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Chunk {
    /// Bytes whose room goes back when they are gone.
    pub(super) fn leased(bytes: Bytes, lease: OwnedSemaphorePermit) -> Self {
        Self { bytes, _lease: Some(lease) }
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, _lease: None }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_comes_back_with_the_bytes() {
        let room = Room::new(None);
        let never = |_: &mut Context<'_>| Poll::<()>::Pending;
        let lease = room.lease(UNSENT * 2, never).await.unwrap();
        assert_eq!(lease.num_permits(), UNSENT);
        assert!(!room.is_free());
        // Whoever waits can be called away.
        assert_eq!(room.lease(1, |_| Poll::Ready("gone")).await.unwrap_err(), "gone");
        let mut chunk = Chunk::leased(Bytes::from_static(b"abc"), lease);
        let waiting = tokio::spawn({
            let room = room.clone();
            async move { room.lease(UNSENT, |_| Poll::<()>::Pending).await.unwrap().num_permits() }
        });
        tokio::task::yield_now().await;
        chunk.advance(3);
        assert!(!waiting.is_finished() && !room.is_free());
        drop(chunk);
        assert_eq!(waiting.await.unwrap(), TURN, "who waited gets a turn, not all");
    }
}
