//! A connection (TCP or unix) that can be watched from beside, and that notices a reader which does not read.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::BufMut;
use socket2::SockRef;
use tidegate::budget::Lease;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;

use crate::beyond;
use crate::body::{Pace, PaceSettings};
use crate::inflow::{Inflow, Inflows};
use crate::memory::Account;
use crate::unsent::{self, Unsent};
use crate::wide::Wide;

/// Bytes of a body that may wait unwritten in user space, and the frame that exceeds them: two of the small reads with
/// which bodies begin, so that one is made while another is written.
pub(crate) const UNWRITTEN: usize = 8 * 1024;

/// One end of a connection, shared with a [`Watch`].
#[derive(Debug)]
pub(crate) struct Socket {
    end: Arc<End>,
    pace: Option<Pace>,
    unsent: Unsent,
    /// Nothing more can be read.
    read_over: bool,
}

#[derive(Debug)]
struct End {
    either: Either,
    /// The most bytes of one read; with 0 whoever reads waits in `held`.
    at_once: AtomicUsize,
    held: Mutex<Option<Waker>>,
    /// What the kernel may receive ahead, if that is bounded.
    inflow: Inflows,
    /// Bytes that were handed to whoever writes, since everything was last written.
    owed: AtomicUsize,
    owing: Mutex<Owing>,
    /// How much the kernel may hold unsent.
    wide: Wide,
    /// Is there a lease for what whoever reads has grown to?
    grown: AtomicBool,
    /// Its place among the open files, if they are counted. The last field, so that it goes back when the file is closed.
    _place: Option<OwnedSemaphorePermit>,
}

/// What ends when everything that was handed over is written.
#[derive(Debug, Default)]
struct Owing {
    /// The wait of whoever has more.
    waiting: Option<Waker>,
    /// What pays for it, since its body has ended.
    paid: Option<Lease>,
    /// What pays for the buffer of whoever reads, since a body that flowed freely has ended. Stays.
    grown: Option<Lease>,
}

#[derive(Debug)]
enum Either {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl End {
    fn new(
        either: Either,
        unsent: &Unsent,
        inflow: Option<Inflow>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Arc<Self> {
        Arc::new(Self {
            either,
            at_once: AtomicUsize::new(usize::MAX),
            held: Mutex::new(None),
            inflow: Inflows::new(inflow),
            owed: AtomicUsize::new(0),
            owing: Mutex::default(),
            wide: Wide::new(unsent.mark()),
            grown: AtomicBool::new(false),
            _place: place,
        })
    }

    /// Everything that was handed over is written.
    fn written(&self) {
        if self.owed.load(Ordering::Relaxed) > 0 && self.owed.swap(0, Ordering::AcqRel) >= UNWRITTEN {
            let (waiting, paid) = {
                let mut owing = self.owing.lock().unwrap_or_else(PoisonError::into_inner);
                (owing.waiting.take(), owing.paid.take())
            };
            drop(paid);
            if let Some(waker) = waiting {
                waker.wake();
            }
        }
    }

    /// Tells what bounds what the kernel receives, if something does.
    fn inflow(&self, something: impl FnOnce(&mut Inflow, &TcpStream)) {
        if let Either::Tcp(tcp) = &self.either {
            self.inflow.tell(|inflow| something(inflow, tcp));
        }
    }

    /// How much may be read now.
    fn poll_at_once(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let most = self.at_once.load(Ordering::Acquire);
        if most > 0 {
            return Poll::Ready(most);
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // Said under the lock, so that nobody waits who was let go in between.
        match self.at_once.load(Ordering::Acquire) {
            0 => {
                *held = Some(cx.waker().clone());
                Poll::Pending
            }
            most => Poll::Ready(most),
        }
    }
}

/// The same call on either kind of socket.
macro_rules! on_end {
    ($end:expr, $socket:ident => $call:expr) => {
        match &$end.either {
            Either::Tcp($socket) => $call,
            Either::Unix($socket) => $call,
        }
    };
}

// Below the macro, which they call.
mod asked;
mod gather;
mod watch;
use gather::{GATHERED, gather};
pub(crate) use watch::Watch;

impl Socket {
    /// A socket whose writes fail when the peer reads slower than it must, and of which the kernel receives no more ahead
    /// than the `account` has paid for.
    pub(crate) fn paced(
        tcp: TcpStream,
        unsent: Unsent,
        pace: PaceSettings,
        account: Option<&Arc<Account>>,
    ) -> Self {
        let inflow = account.and_then(|account| Inflow::new(&tcp, account));
        let end = End::new(Either::Tcp(tcp), &unsent, inflow, None);
        Self { end, pace: Some(Pace::new(pace)), unsent, read_over: false }
    }

    /// The kernel may receive what it does of itself: other credit bounds what comes, and everything is read at once.
    pub(crate) fn receives_freely(&self) {
        if let (Some(inflow), Either::Tcp(tcp)) = (self.end.inflow.take(), &self.end.either) {
            inflow.unbound(tcp);
        }
    }

    /// A socket whose writes wait as long as it takes. A peer that takes no more bytes may have answered already (it
    /// refuses an upload, say, and closes): until its side has been read to the end, what is written is dropped
    /// in silence, so that the answer is not lost for a failed write.
    pub(crate) fn tcp(tcp: TcpStream, unsent: Unsent, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { end: End::new(Either::Tcp(tcp), &unsent, None, place), pace: None, unsent, read_over: false }
    }

    /// The same of a unix socket, of which the kernel holds what it may without our asking (`wmem_default`, 208 KiB).
    pub(crate) fn unix(unix: UnixStream, place: Option<OwnedSemaphorePermit>) -> Self {
        let unsent = Unsent::unbounded();
        let end = End::new(Either::Unix(unix), &unsent, None, place);
        Self { end, pace: None, unsent, read_over: false }
    }

    /// Lets a test look at the options of a TCP connection.
    #[cfg(test)]
    pub(crate) fn with_tcp(&self, look: impl FnOnce(&TcpStream)) {
        match &self.end.either {
            Either::Tcp(tcp) => look(tcp),
            Either::Unix(_) => panic!("a unix socket"),
        }
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch::new(Arc::clone(&self.end))
    }

    /// `attempt`s a write, of no more bytes than it is told, until it does not block, or the peer has been too slow.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        attempt: impl Fn(&End, usize) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.unsent.follow(self.end.wide.mark());
        loop {
            match on_end!(self.end, socket => socket.poll_write_ready(cx)) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => match &mut self.pace {
                    Some(pace) => {
                        let slow = ready!(pace.poll_stalled(cx));
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, slow)));
                    }
                    None => return Poll::Pending,
                },
            }
            let end = &*self.end;
            match self.unsent.may(length, end).and_then(|most| attempt(end, most)) {
                Ok(sent) => {
                    self.unsent.handed(sent);
                    if let Some(pace) = &mut self.pace {
                        pace.moved(sent as u64)
                            .map_err(|slow| io::Error::new(io::ErrorKind::TimedOut, slow))?;
                    }
                    return Poll::Ready(Ok(sent));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if self.pace.is_none() && !self.read_over && takes_no_more(&error) => {
                    return Poll::Ready(Ok(length));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What was not written never will be, and is held no longer.
        self.end.written();
    }
}

fn takes_no_more(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn would_block() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

impl Socket {
    /// Reads into `buffer` and, in the same system call, what comes after it into `beyond`. Ready with how many bytes of that
    /// have come.
    pub(crate) fn poll_read_beyond(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        beyond: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let most = ready!(self.end.poll_at_once(cx));
        loop {
            match on_end!(self.end, socket => socket.poll_read_ready(cx)) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    self.inflow(|inflow, tcp| inflow.idle(tcp, cx));
                    return Poll::Pending;
                }
            }
            let before = buffer.filled().len();
            let room = buffer.remaining().min(most);
            let wants_more = !beyond.is_empty() && room == buffer.remaining();
            let all = room + if wants_more { beyond.len() } else { 0 };
            let mut after = 0;
            // What leaves room has emptied the socket: said to the runtime here, it spares the next poll a system call
            // that would find nothing.
            let emptied = |read: usize| if 0 < read && read < all { Err(would_block()) } else { Ok(()) };
            let read = on_end!(self.end, socket => socket.try_io(Interest::READABLE, || {
                if wants_more {
                    after = beyond::read(socket, buffer, beyond)?;
                    emptied(buffer.filled().len() - before + after)
                } else {
                    socket.try_read_buf(&mut (&mut *buffer).limit(room)).and_then(emptied)
                }
            }));
            match read {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    self.read_over = true;
                    return Poll::Ready(Err(error));
                }
                Err(_) if buffer.filled().len() == before => {}
                _ => {
                    let read = buffer.filled().len() - before;
                    self.read_over = room > 0 && read == 0;
                    self.inflow(|inflow, tcp| inflow.read(tcp, read + after, cx));
                    return Poll::Ready(Ok(after));
                }
            }
        }
    }
}

impl Socket {
    /// Tells what bounds what the kernel receives, if it heeds what is read.
    fn inflow(&self, something: impl FnOnce(&mut Inflow, &TcpStream)) {
        if self.end.inflow.heeds() {
            self.end.inflow(something);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_beyond(cx, buffer, &mut []).map_ok(|_| ())
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, bytes.len(), |end, most| {
            let bytes = bytes.get(..most).unwrap_or(bytes);
            on_end!(end, socket => socket.try_write(bytes))
        })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        let mut room = [MaybeUninit::uninit(); GATHERED];
        let mut room = ReadBuf::uninit(&mut room);
        let gathered = gather(slices, &mut room);
        self.poll_write_with(cx, length, |end, most| {
            if let Some(bytes) = gathered {
                let bytes = bytes.get(..most).unwrap_or(bytes);
                return on_end!(end, socket => socket.try_write(bytes));
            }
            if most == length {
                return on_end!(end, socket => socket.try_write_vectored(slices));
            }
            let (pieces, count) = unsent::first(slices, most);
            let pieces = pieces.get(..count).unwrap_or_default();
            on_end!(end, socket => socket.try_write_vectored(pieces))
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Whoever flushes has written everything it was handed.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(on_end!(self.end, socket => SockRef::from(socket).shutdown(Shutdown::Write)))
    }
}
