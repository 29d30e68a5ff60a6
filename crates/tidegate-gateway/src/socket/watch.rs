//! [`Watch`]: sees and steers a connection from beside, while somebody else owns its [`Socket`](super::Socket).

use std::io;
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::io::ioctl_fionread;
use socket2::SockRef;
use tidegate::budget::Lease;
use tokio::io::Interest;

use super::{Either, End, UNWRITTEN};
use crate::sight;
use crate::unsent;

/// Sees that the peer has gone, while somebody else owns the [`Socket`](super::Socket).
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    end: Arc<End>,
}

impl Watch {
    pub(super) fn new(end: Arc<End>) -> Self {
        Self { end }
    }

    /// Resolves when the peer has closed its side, or the connection is broken. Bytes that nobody has read yet do
    /// not hide it. Cancel safe.
    pub(crate) async fn gone(&self) {
        // PRIORITY is never registered for, so what ends this is the closed read side, which every interest
        // carries (EPOLLRDHUP, EPOLLHUP).
        while let Ok(ready) = on_end!(self.end, socket => socket.ready(Interest::PRIORITY).await) {
            if ready.is_read_closed() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Would [`gone`](Self::gone) be done? Once that has been polled, this is cheaper to ask.
    pub(crate) fn is_gone(&self) -> bool {
        // Nothing is attempted but when the read side is closed.
        on_end!(self.end, socket => socket.try_io(Interest::PRIORITY, || Ok(()))).is_ok()
    }

    /// Ready if bytes have come that nobody has read, and nobody reads. (Whoever reads the connection in this task hears of it in
    /// its place.)
    pub(crate) fn poll_come(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The second time after what was read before was found to be all.
        for _ in 0..2 {
            // An error would be the end, which is somebody else's.
            let _ = ready!(on_end!(self.end, socket => socket.poll_read_ready(cx)));
            let come = |any| if any { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
            let look = || on_end!(self.end, socket => ioctl_fionread(socket));
            let look = || look().map_err(io::Error::from).and_then(|bytes| come(bytes > 0));
            if on_end!(self.end, socket => socket.try_io(Interest::READABLE, look)).is_ok() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Nothing is read from now on, until [`read_at_once`](Self::read_at_once): bytes wait in the kernel, which stops
    /// the peer.
    pub(crate) fn hold(&self) {
        self.end.at_once.store(0, Ordering::Release);
    }

    /// From now on at most so many bytes are read at once.
    pub(crate) fn read_at_once(&self, most: usize) {
        if self.end.at_once.swap(most, Ordering::AcqRel) == 0 {
            let waiting = self.end.held.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waiting {
                waker.wake();
            }
        }
    }

    /// From now on what is read is of a body or a tunnel, of a large one or not: so much of it may deserve larger buffers.
    pub(crate) fn body_begins(&self, large: bool) {
        self.end.inflow(|inflow, tcp| inflow.begins(tcp, large));
    }

    /// From now on it is not.
    pub(crate) fn body_ends(&self) {
        self.end.inflow.body_ends();
    }

    /// Ready when whoever writes to this connection may be handed more: it holds less than `most` unwritten,
    /// [`UNWRITTEN`] at least, so that a peer that does not read costs no more.
    pub(crate) fn poll_owed(&self, most: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.end.owed.load(Ordering::Acquire) < most {
            return Poll::Ready(());
        }
        let mut owing = self.end.owing.lock().unwrap_or_else(PoisonError::into_inner);
        // Said under the lock, so that nobody waits who was let go in between.
        if self.end.owed.load(Ordering::Acquire) < most {
            return Poll::Ready(());
        }
        let before = owing.waiting.replace(cx.waker().clone());
        drop(owing);
        drop(before);
        Poll::Pending
    }

    /// Bytes were handed to whoever writes.
    pub(crate) fn owes(&self, bytes: usize) {
        self.end.owed.fetch_add(bytes, Ordering::AcqRel);
    }

    /// `lease` pays for what was handed over and is not written, until it is. What is less than [`UNWRITTEN`] every connection
    /// has paid for.
    pub(crate) fn pay_until_written(&self, lease: Lease) {
        let mut owing = self.end.owing.lock().unwrap_or_else(PoisonError::into_inner);
        // Said under the lock, which whoever has written it takes after that.
        let unwritten = self.end.owed.load(Ordering::Acquire) >= UNWRITTEN;
        let over = if unwritten { owing.paid.replace(lease) } else { Some(lease) };
        drop(owing);
        drop(over);
    }

    /// Whoever reads has a larger buffer since a body flowed freely, and keeps it: `lease` pays for that.
    pub(crate) fn has_grown(&self, lease: Lease) {
        let before = {
            let mut owing = self.end.owing.lock().unwrap_or_else(PoisonError::into_inner);
            owing.grown.replace(lease)
        };
        drop(before);
        self.end.grown.store(true, Ordering::Release);
    }

    /// Was that said, and not that it is over?
    pub(crate) fn is_grown(&self) -> bool {
        self.end.grown.load(Ordering::Acquire)
    }

    /// Whoever reads has the smallest buffer again.
    pub(crate) fn has_shrunk(&self) {
        if self.end.grown.swap(false, Ordering::AcqRel) {
            let lease = self.end.owing.lock().unwrap_or_else(PoisonError::into_inner).grown.take();
            drop(lease);
        }
    }

    /// From now on the kernel may hold more unsent, as `mark` says if that is more than at the begin; `lease` pays for that,
    /// and for what may wait unwritten besides.
    pub(crate) fn widen(&self, mark: u32, lease: Lease) {
        self.end.wide.widen(mark, lease);
        if let Either::Tcp(tcp) = &self.end.either {
            unsent::tell(tcp, self.end.wide.mark());
        }
    }

    /// May the kernel hold more than at the begin, or does it still?
    pub(crate) fn is_wide(&self) -> bool {
        self.end.wide.is_wide()
    }

    /// No more may be held than at the begin. What is held beyond it stays charged.
    pub(crate) fn narrow(&self) {
        if !self.is_wide() {
            return;
        }
        self.end.wide.narrow(|first| {
            let held = match &self.end.either {
                Either::Tcp(tcp) => {
                    unsent::tell(tcp, first);
                    // Where nobody knows it, an exchange that is over has left nothing.
                    sight::look(tcp).map_or(0, |sight| sight.unsent)
                }
                Either::Unix(_) => 0,
            };
            self.end.owed.load(Ordering::Acquire) == 0 && u32::try_from(held).is_ok_and(|held| held <= first)
        });
    }

    /// Tells the peer that no more will be written. What it still sends can be read.
    pub(crate) fn half_close(&self) {
        // An error means the connection is gone already.
        let _ = on_end!(self.end, socket => SockRef::from(socket).shutdown(Shutdown::Write));
    }

    /// Reads and forgets until the peer closes, or `limit` bytes have come: closing with unread bytes would make
    /// the kernel send a reset, which can overtake the answer (RFC 9112 §9.6). Cancel safe.
    pub(crate) async fn discard(&self, limit: u64) {
        let mut left = limit;
        // Not an array: it would be part of every connection's future from its begin.
        let mut room = vec![0; 4096];
        while left > 0 && on_end!(self.end, socket => socket.readable().await).is_ok() {
            match on_end!(self.end, socket => socket.try_read(&mut room)) {
                Ok(0) => return,
                Ok(read) => left = left.saturating_sub(read as u64),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
